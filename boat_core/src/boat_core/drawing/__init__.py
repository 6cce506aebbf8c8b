"""The graph of a hypergradient: what there is of it (`structure`), and a picture of that."""
