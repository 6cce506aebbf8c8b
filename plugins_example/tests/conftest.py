"""Import BOAT before any test imports Jittor: Jittor's environment is then prepared (see `boat doctor`)."""

import boat_core  # noqa: F401
