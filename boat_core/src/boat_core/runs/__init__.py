"""Runs: a configuration carried out and recorded in a folder of its own."""
