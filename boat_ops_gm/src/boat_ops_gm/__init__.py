"""BOAT's gradient mapping operations: how the lower trajectory is built."""
