"""Figures that the theory predicts, computed from the same objective records that training uses."""
