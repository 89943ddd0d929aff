"""Sweeps: one job, many of them in one folder, what ends one early, and which GPU each takes."""
