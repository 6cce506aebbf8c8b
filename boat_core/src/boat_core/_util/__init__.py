"""Helpers that know nothing of BOAT: atomic files, text, a time limit."""
