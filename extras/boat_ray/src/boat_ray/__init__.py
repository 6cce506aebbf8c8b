"""An executor of tasks, and a place for sweeps, on Ray."""
