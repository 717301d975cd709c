"""The networks: surface vision transformer, projectors, and SIM made of both."""
