"""Kinds of runs: those of one kind need the same kernels. Which kinds have compiled theirs on this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from ..config.schema import Config
from ..config.yaml_core import to_text
from ..plugins.registry import Registry
from ..runtime.machine import boat_folder
from ..runtime.toolchain import OWN_KERNELS, VARIABLE, digest


def kind_of(config: Config, registry: Registry) -> str:
    """Return a name for the kernels that a run needs, as far as its configuration tells.

    It depends on all words of the configuration and not on its numbers, which most kernels read when they run. The
    versions of the packs and the file of the problem are part of it, and so is the folder of the kernels.
    """
    values = _without_numbers({**config.as_dict(), "run": config.run.device})
    versions = to_text(dict(sorted(registry.packs.items())))
    return digest(to_text(values), versions, _state_of_module(config), *map(_variable, (OWN_KERNELS, VARIABLE)))


class CompiledKinds:
    """The kinds whose kernels are compiled, by an earlier sweep or by this one.

    A file for each kind, beside the kernels, keeps what earlier sweeps compiled. Where it is wrong, because kernels
    were removed or because numbers mattered, processes compile what is missing, one after the other.
    """

    def __init__(self) -> None:
        self._folder = boat_folder() / "compiled-kinds"
        self._here: set[str] = set()

    def __contains__(self, kind: str) -> bool:
        return kind in self._here or (self._folder / kind).exists()

    def let_go(self, kind: str) -> None:
        """Let runs of this kind start, since the one that went ahead has ended before it compiled all."""
        self._here.add(kind)

    def add(self, kind: str) -> None:
        """Note that a run of this kind has compiled its kernels."""
        self._here.add(kind)
        with contextlib.suppress(OSError):  # a cache that cannot be written: the next sweep waits once more
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / kind).touch()


def _state_of_module(config: Config) -> str:
    """Return when the file of the problem was changed; empty if there is no such file."""
    module = config.problem.partition(":")[0].replace(".", "/")
    for path in (config.module_folder / f"{module}.py", config.module_folder / module / "__init__.py"):
        with contextlib.suppress(OSError):
            return str(path.stat().st_mtime_ns)
    return ""


def _variable(name: str) -> str:
    return f"{name}={os.environ.get(name, '')}"


def _without_numbers(value: Any) -> Any:
    """Return a value with its structure, its words and truth values, but without its numbers."""
    if isinstance(value, Mapping):
        return {str(key): _without_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_numbers(item) for item in value]
    return 0 if isinstance(value, (int, float)) and not isinstance(value, bool) else value
