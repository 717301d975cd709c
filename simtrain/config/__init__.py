"""The configuration: its schema, and the presets."""
