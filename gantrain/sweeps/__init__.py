"""Sweeps: the driver, single jobs, pruning, and the assignment of GPUs."""
