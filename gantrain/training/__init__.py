"""The training step, the training loop, and checkpoints."""
