"""BOAT's numerical approximation operations: how the trajectory becomes a hypergradient."""
