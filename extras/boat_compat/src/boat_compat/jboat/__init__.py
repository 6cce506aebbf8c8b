"""JBOAT's names and configurations, on BOAT's solvers."""
