"""The picture of a hypergradient: `picture` lays it out, `steps` draws the lower steps, `sheet` is the paper."""
