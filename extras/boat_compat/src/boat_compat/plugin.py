"""What this pack brings: BOAT finds it through the entry point of group "boat"."""

from __future__ import annotations

BOAT_HOOK_API = 1
