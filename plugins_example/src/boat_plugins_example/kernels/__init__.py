"""The vector work of the operations, over all leaves at once: by a kernel, and by plain operators."""
