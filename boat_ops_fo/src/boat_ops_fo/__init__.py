"""BOAT's first-order operations: single-level surrogates."""
