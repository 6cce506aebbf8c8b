"""Jittor, imported at the first use of one of its names: declaring and composing operations needs none of it."""

from __future__ import annotations

from typing import Any


class _Jittor:
    def __getattr__(self, name: str) -> Any:
        import jittor

        value = getattr(jittor, name)
        if name != "flags":
            self.__dict__[name] = value
        return value


jt = _Jittor()
