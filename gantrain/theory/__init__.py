"""Figures of theoretical predictions, computed from the objective records that training uses."""
