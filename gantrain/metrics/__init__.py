"""Metrics of generated images and points; each is a class with a `MetricSpec`, listed in registry.py."""
