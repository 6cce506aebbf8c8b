"""The heart: problem, trajectory, outer step and solver."""
