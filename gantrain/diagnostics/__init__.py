"""Diagnostics computed during training, and the doctor that interprets them."""
