"""From the store to batches on the device: what it holds, windows, their order, and feeds."""
