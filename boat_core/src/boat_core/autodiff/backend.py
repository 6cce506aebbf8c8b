"""Imports Jittor at the first use of one of its names, so that declaring and composing operations needs no Jittor."""

from __future__ import annotations

from typing import Any


class _Jittor:
    def __getattr__(self, name: str) -> Any:
        if "Var" not in self.__dict__:
            from ..runtime import select_device
            from .operators.library import start_build

            select_device([start_build])
        import jittor

        value = getattr(jittor, name)
        if name in ("Var", "array", "flags", "grad", "sync", "zeros"):
            self.__dict__[name] = value
        return value


jt = _Jittor()
