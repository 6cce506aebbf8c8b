"""Configurations: their keys, their text with line numbers, and the objects that they name."""
