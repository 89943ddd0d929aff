"""The iteration, the run around it, and its checkpoints."""
