"""What watches a run: the record of its steps, and what a user sees of it. Packs add observers by the same hooks.

The library of an observer is imported when the observer is built, never before.
"""

from __future__ import annotations

from ...declare.named import ObserverDeclaration
from ...declare.options import NoOptions
from . import progress

DECLARATIONS = [ObserverDeclaration("progress", "What boat run shows", progress.build, NoOptions)]
