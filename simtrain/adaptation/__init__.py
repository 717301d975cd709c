"""A trained model for a new subject, from minutes of their BOLD."""
