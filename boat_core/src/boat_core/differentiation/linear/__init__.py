"""Linear systems (A + δI) q = b on `Vector`s, A known by its products alone: one method a file, `solver.py` what they
share."""
