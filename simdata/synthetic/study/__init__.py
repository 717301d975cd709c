"""A miniature for the comparison of methods, whose properties can be turned off one at a time."""
