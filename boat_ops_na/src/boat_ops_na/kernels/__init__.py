"""The vector work of the estimators, over all leaves at once: as compiled kernels and as plain operators."""
