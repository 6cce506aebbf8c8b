"""Three ways to differentiate what an algorithm returns: through its steps, through what its solution satisfies, and
through its values alone."""
