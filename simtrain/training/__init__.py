"""Training and pretraining: loop, step, run folder, checkpoints, and weights to begin with."""
