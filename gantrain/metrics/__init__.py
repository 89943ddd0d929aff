"""Evidence about an objective: metrics and their protocols."""
