"""Combinations of gradients, over all leaves at once: as compiled kernels and as plain operators."""
