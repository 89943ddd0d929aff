"""Files, locks, signals, processes, CUDA graphs and logging."""
