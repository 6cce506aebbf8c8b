"""What watches a run: the record of its steps and the progress that a user sees. Packs add theirs by the same hooks."""

from __future__ import annotations

from ..declarations import ObserverDeclaration

DECLARATIONS: list[ObserverDeclaration] = []
