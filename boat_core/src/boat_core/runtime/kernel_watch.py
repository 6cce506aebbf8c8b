"""Counts the kernels that Jittor compiles, and the time that takes, by looking at its files.

For a kernel X Jittor writes X.cc, builds X.so from it, and writes X.so.key last. It builds several kernels at once, so
the time is the union of the intervals from X.cc to X.so, not their sum.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

_RECENT_NS = 50_000_000  # the clock of a file system ticks in milliseconds: a change just now may hide another


class KernelWatch:
    """Counts the kernels that were finished since this object was made.

    Args:
        folder: Jittor's `jit` folder. By default it is that of the Jittor in use, looked up at the first poll.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = Path(folder) if folder is not None else None
        self._start = time.time_ns()
        self._looked_at: int | None = None
        self._unfinished = False
        self._finished: dict[str, tuple[int, int]] = {}

    def poll(self) -> list[str]:
        """Return the names of the kernels finished since the last poll. Read the folder only if it changed."""
        folder = self._find_folder()
        if folder is None:
            return []
        try:
            changed = os.stat(folder).st_mtime_ns
        except FileNotFoundError:
            return []
        if changed == self._looked_at and not self._unfinished:
            return []
        fresh = self._scan(folder)
        self._looked_at = changed if time.time_ns() - changed > _RECENT_NS else None
        return [readable_name(name) for name in fresh]

    @property
    def count(self) -> int:
        return len(self._finished)

    @property
    def names(self) -> list[str]:
        return [readable_name(name) for name in self._finished]

    @property
    def seconds(self) -> float:
        """The time during which at least one kernel was being compiled."""
        total, reached = 0, 0
        for begin, end in sorted(self._finished.values()):
            total += max(0, end - max(begin, reached))
            reached = max(reached, end)
        return total / 1e9

    def _find_folder(self) -> Path | None:
        if self._folder is None:
            import sys

            flags = getattr(sys.modules.get("jittor"), "flags", None)
            if flags is None:
                return None
            self._folder = Path(flags.cache_path, "jit")
        return self._folder

    def _scan(self, folder: Path) -> list[str]:
        with os.scandir(folder) as entries:
            files = {entry.name: entry for entry in entries if entry.name.endswith((".so", ".so.key", ".cc", ".cu"))}
        fresh = []
        self._unfinished = False
        for filename, entry in files.items():
            if not filename.endswith(".so"):
                continue
            name = filename[:-3]
            built = _changed(entry)
            if built is None or built <= self._start or self._finished.get(name, (0, 0))[1] >= built:
                continue
            key = _changed(files.get(f"{filename}.key"))
            if key is None or key < built:
                self._unfinished = True
                continue
            source = _changed(files.get(f"{name}.cc") or files.get(f"{name}.cu"))
            # A process that loads a finished kernel writes its source again.
            begin = built if source is None else min(max(source, self._start), built)
            self._finished[name] = (begin, built)
            fresh.append(name)
        return fresh


def readable_name(filename: str) -> str:
    """`__opkey0_broadcast_to__Tx_…__opkey1_binary__…__OP_add__…_hash_12ab_op` → `broadcast_to+add`.

    Jittor cuts off long names and writes three underscores there. They are shown as an ellipsis.
    """
    body, _, _ = filename.partition("_hash_")
    parts = re.split(r"__opkey\d+_", body)
    operations = []
    for part in parts[1:] if len(parts) > 1 else parts:
        kind = part.split("__")[0]
        inner = re.search(r"__OP_([a-z_]+?)(?:__|$)", part)
        short = kind if inner is None else f"reduce_{inner.group(1)}" if kind == "reduce" else inner.group(1)
        operations.append(short.strip("_"))
    return "+".join(operation for operation in operations if operation) + ("…" if "___hash_" in filename else "")


def _changed(entry: os.DirEntry[str] | None) -> int | None:
    try:
        return entry.stat().st_mtime_ns if entry is not None else None
    except FileNotFoundError:
        return None
