"""Data sets as YAML, by name."""
