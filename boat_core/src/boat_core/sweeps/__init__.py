"""Sweeps: many runs of one configuration, side by side, and their results."""
