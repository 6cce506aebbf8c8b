"""The events of a run: `Observers` passes each to the installed packs and to the observers of that run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pluggy

from ..errors import DeclarationError
from . import hookspecs
from .entries import Call, PackWarning
from .registry import Registry

_tally: ContextVar[dict[Call, int] | None] = ContextVar("boat_tally", default=None)


@contextmanager
def tallied(tally: dict[Call, int]) -> Iterator[None]:
    """Inside this block, count the calls of hooks and operations in `tally`."""
    token = _tally.set(tally)
    try:
        yield
    finally:
        _tally.reset(token)


def count_call(call: Call) -> None:
    """Count a call, if calls are being counted."""
    if (tally := _tally.get()) is not None:
        tally[call] = tally.get(call, 0) + 1


class Observers:
    """Calls observer hooks during one run. An observer that raises is reported once and takes no further part.

    Args:
        registry: its packs take part from the beginning.

    Attributes:
        switched_off: which observers raised and were switched off, and why.
    """

    def __init__(self, registry: Registry) -> None:
        self._manager = pluggy.PluginManager("boat")
        self._manager.add_hookspecs(hookspecs)
        for name, plugin in registry.plugins:
            self._manager.register(plugin, name=name)
        self.switched_off: list[str] = []

    def notify(self, hook: str, **values: Any) -> None:
        """Call an observer hook with these arguments, that of the observer that came last first.

        An observer that raises is reported, switched off, and does not hinder the run.
        """
        for implementation in reversed(getattr(self._manager.hook, hook).get_hookimpls()):
            self._count(hook, implementation.plugin)
            try:
                implementation.function(*(values[name] for name in implementation.argnames))
            except Exception as error:
                self._switch_off(implementation, hook, error)

    def _count(self, hook: str, plugin: Any) -> None:
        name = self._manager.get_name(plugin) or ""
        distribution, _, version = name.partition(" ")
        gave = ""
        if name.isdigit():  # an object that a program or a command handed over
            distribution, version, gave = type(plugin).__module__, "", type(plugin).__qualname__
        count_call(Call(hook, distribution, version.partition(" ")[0], gave))

    def _switch_off(self, implementation: Any, hook: str, error: Exception) -> None:
        plugin = implementation.plugin
        name = self._manager.get_name(plugin) or ""
        observer = type(plugin).__qualname__ if name.isdigit() else name
        message = f"observer {observer} was switched off: {type(error).__name__} in {hook}: {error}"
        self.switched_off.append(message)
        self._manager.unregister(plugin)
        warnings.warn(f"{message}. The run goes on without it", PackWarning, stacklevel=3)

    def observe(self, observer: Any, origin: str | None = None) -> None:
        """Let an object with marked observer hooks take part from now on.

        Args:
            observer: the object.
            origin: the distribution that provides it, for messages.

        Raises:
            DeclarationError: one of its hooks is unknown or takes an argument that there is not. It takes no part.
        """
        try:
            self._manager.register(observer, name=origin)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            self.forget(observer)
            raise DeclarationError(str(error), where=f"observer {origin or type(observer).__qualname__}") from None

    def forget(self, *observers: Any) -> None:
        """Undo `observe`. Observers that were switched off in the meantime may be among them."""
        for observer in observers:
            if self._manager.is_registered(observer):
                self._manager.unregister(observer)
