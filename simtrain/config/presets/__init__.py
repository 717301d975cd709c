"""Presets: each states only what differs from the defaults of `simtrain.config.schema`."""
