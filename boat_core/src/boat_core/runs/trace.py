"""Traces one outer step: which hooks and operations run, in which order, and which distribution provides each."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..config.build import Job
from ..config.schema import Config
from ..plugins.entries import Call
from ..plugins.observers import tallied
from ..plugins.registry import Registry
from .run import run


def trace_run(config: Config, registry: Registry) -> list[dict[str, Any]]:
    """Do one outer step in a folder that is removed afterwards; return what ran, in the order of the first calls.

    Observers that the configuration names take no part, for they may write elsewhere.

    Returns:
        One row for each hook of each pack and each operation: what, distribution, version, times, gave.
    """
    with tempfile.TemporaryDirectory() as folder:
        once = replace(config.run, steps=1, out=str(Path(folder) / "run"), observers=None, checkpoint_every=0)
        tally: dict[Call, int] = dict.fromkeys(registry.calls, 1)
        with tallied(tally):
            run(Job(replace(config, run=once), registry))
    return [{**asdict(call), "times": times} for call, times in tally.items()]
