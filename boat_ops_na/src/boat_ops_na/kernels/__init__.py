"""The vector work of the estimators, over all leaves at once: by kernels, and by plain operators."""
