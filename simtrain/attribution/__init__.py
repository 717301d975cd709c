"""Which parts of the cortex a model relies on."""
