"""What a run needs from the machine: files, locks, signals, processes, CUDA graphs and logging."""
