"""A release as it lies on disk: its catalog, its runs and films, and what was not taken."""
