"""The vector work of the operations, over all leaves at once: as a compiled kernel and as plain operators."""
