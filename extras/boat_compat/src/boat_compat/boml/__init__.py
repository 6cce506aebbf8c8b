"""BOML's methods as settings of BOAT's solvers."""
