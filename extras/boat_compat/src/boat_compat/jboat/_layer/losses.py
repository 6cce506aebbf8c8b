"""The loss functions that a loss_config names: {"lower_level_loss": {"function": "package.module.name", …}, …}."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Any

from boat_core import BoatError

from .source import Source


@dataclass(frozen=True)
class Losses:
    """The user's functions, each with the `params` of its entry bound as keyword arguments.

    Args:
        lower, upper: `f(feed_dict, upper_model, lower_model, **keywords) -> scalar`.
        gda: `f(ll_feed_dict, ul_feed_dict, upper_model, lower_model, **keywords) -> scalar`, or None.
    """

    lower: Callable[..., Any]
    upper: Callable[..., Any]
    gda: Callable[..., Any] | None = None


def load_losses(source: Source, with_gda: bool) -> Losses:
    """Import the functions.

    Args:
        source: the loss_config.
        with_gda: whether `gda_loss` is needed.

    Raises:
        ConfigError: an entry is missing, or its function cannot be imported; with its key.
    """
    return Losses(
        _load(source, "lower_level_loss"),
        _load(source, "upper_level_loss"),
        _load(source, "gda_loss") if with_gda else None,
    )


def _load(source: Source, key: str) -> Callable[..., Any]:
    entry = source.section(key)
    path = entry.require("function", 'a name such as "package.module.function"')
    module_name, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    if not module_name or not name:
        raise entry.error("function", expected='a name such as "package.module.function"', got=repr(path))
    try:
        module = import_module(module_name)
    except BoatError:
        raise
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise entry.error("function", f"importing {module_name} failed: {error}") from error
        hint = "a module is looked up in the folder of the script and on Python's path (sys.path)"
        raise entry.error("function", f"there is no module {error.name!r}", got=repr(path), hint=hint) from error
    except Exception as error:
        message = f"importing {module_name} failed: {type(error).__name__}: {error}"
        raise entry.error("function", message) from error
    function = getattr(module, name, None)
    if not callable(function):
        near = get_close_matches(name, [n for n, value in vars(module).items() if callable(value)], n=1)
        message = f"{module.__name__} has no function {name!r}"
        raise entry.error("function", message, hint=f"did you mean {near[0]!r}?" if near else None)
    parameters = entry.find("params") or {}
    if not isinstance(parameters, Mapping):
        raise entry.error("params", expected="a mapping of keyword arguments", got=repr(parameters))
    return Loss(entry, path, partial(function, **parameters))


class Loss:
    """A user's loss function. An error in it names the file, the key and what its feeds hold.

    Args:
        entry: its entry of the loss_config.
        path: its name there.
        function: the function, with its `params`.
    """

    def __init__(self, entry: Source, path: str, function: Callable[..., Any]) -> None:
        self._entry, self._path, self._function = entry, path, function

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the function.

        Raises:
            ConfigError: it raised an error, which is the cause of this one, or did not return one number.
        """
        import jittor

        try:
            value = self._function(*arguments, **keywords)
        except BoatError:
            raise
        except Exception as error:
            message = f"{self._path} raised {type(error).__name__}: {error}"
            feeds = [argument for argument in arguments if isinstance(argument, Mapping)]
            holds = "; ".join(f"a feed holds {', '.join(map(repr, feed)) or 'nothing'}" for feed in feeds)
            raise self._entry.error("function", message, hint=holds or None) from error
        if not isinstance(value, jittor.Var) or value.numel() != 1:
            shape = f" of shape {list(value.shape)}" if isinstance(value, jittor.Var) else ""
            expected = f"{self._path} to return a jittor array with one number"
            raise self._entry.error("function", expected=expected, got=f"{type(value).__name__}{shape}")
        return value
