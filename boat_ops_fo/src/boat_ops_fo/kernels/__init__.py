"""What the methods make of gradients, over all leaves at once: by kernels, and by plain operators."""
