"""Every error that BOAT raises on purpose.

All of them derive from `BoatError`. An error names the place, what was expected there, what was there, and the nearest
valid thing where there is one. The command line prints the message alone and exits with code 2.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

E = TypeVar("E", bound="BoatError")

#: The keys that lead to a place, outermost first. A single text is one key; an integer is an index.
Keys = str | tuple[str | int, ...]


def as_keys(where: Keys) -> tuple[str | int, ...]:
    """Return a place as a tuple of keys."""
    return where if isinstance(where, tuple) else (where,) if where else ()


def dotted(where: Keys) -> str:
    """Return a place as text: `("solver", "map", 1)` is "solver.map[1]"."""
    text = ""
    for key in as_keys(where):
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


#: Values longer than this are shortened in messages.
_LONG = 200
#: Where a message holds a value: in "(got …)", as a list or mapping, as a quoted text, or as one endless word, which a
#: path is not.
_VALUES = (
    re.compile(rf"(?<=\((?:got) ).{{{_LONG},}}(?=\))"),
    re.compile(rf"(?<!\w)[\[{{(](?=['\"\d\[{{(-]).{{{_LONG},}}[\]}})]"),
    re.compile(rf"(?<!\w)'(?:[^'\\\n]|\\.){{{_LONG},}}'(?!\w)"),
    re.compile(rf'(?<!\w)"(?:[^"\\\n]|\\.){{{_LONG},}}"(?!\w)'),
    re.compile(rf"[^\s/]{{{_LONG},}}"),
)


def shortened(text: str) -> str:
    """Return a text whose middle is left out if it is long: messages show values that may be of any size."""
    if len(text) <= _LONG:
        return text
    head, tail = text[: _LONG // 2], text[-_LONG // 4 :]
    return f"{head}[... {len(text) - len(head) - len(tail):,} characters ...]{tail}"


def _with_short_values(text: str) -> str:
    if len(text) > _LONG:
        for values in _VALUES:
            text = values.sub(lambda value: shortened(value[0]), text)
    return text


def one_line(text: str) -> str:
    """Return a text that comes from elsewhere in one line, with long values in it shortened."""
    return _with_short_values(" ".join(text.split()))


def _dotted_short(where: Keys) -> str:
    return dotted(tuple(shortened(key) if isinstance(key, str) else key for key in as_keys(where)))


def shown(value: Any) -> str:
    """Return the `repr` of any value, also of one whose `repr` fails, such as that of an integer of 5,000 digits."""
    try:
        return repr(value)
    except Exception:
        return f"a value of type {type(value).__name__} that cannot be printed"


class BoatError(Exception):
    """Base of all errors raised on purpose. They can be pickled and copied.

    Args:
        message: what is wrong, without the place.
        where: the keys that lead to the value at fault, such as `("options", "CG", "tolerance")`.
        expected: what is valid there.
        got: what was there, as text.
        hint: what may help, such as "did you mean 'CG'?".

    The text is `WHERE: MESSAGE: expected EXPECTED (got GOT); HINT`, without the parts that are not given. It shows the
    beginning and the end of a long value. The attributes hold all of it.
    """

    # A subclass of a third party may forget to call `__init__`.
    message: str | None = None
    where: tuple[str | int, ...] = ()
    expected: str | None = None
    got: str | None = None
    hint: str | None = None

    def __init__(
        self,
        message: str | None = None,
        *,
        where: Keys = (),
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message, self.where, self.expected, self.got, self.hint = message, as_keys(where), expected, got, hint
        super().__init__(str(self))

    def __str__(self) -> str:
        if self.message is None and self.expected is None:
            return super().__str__()
        expected = self.expected and f"expected {self.expected}"
        message = self.message and _with_short_values(self.message)
        text = ": ".join(part for part in (self._place(), message, expected) if part)
        text += f" (got {shortened(self.got)})" if self.got is not None else ""
        return text + (f"; {_with_short_values(self.hint)}" if self.hint else "")

    def _place(self) -> str:
        return _dotted_short(self.where)

    def within(self: E, *keys: str | int) -> E:
        """Return this error for a place that lies under `keys`."""
        error = copy.copy(self)
        if error.message is None and error.expected is None:
            error.message = str(self)
        error.where = (*keys, *self.where)
        error.args = (str(error),)
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        # Not through __init__, whose arguments a subclass may have changed.
        return _restored, (type(self), self.args), self.__dict__


def _restored(cls: type[BoatError], args: tuple[Any, ...]) -> BoatError:
    error = cls.__new__(cls, *args)
    error.args = args
    return error


class OptionError(BoatError, ValueError):
    """An option is unknown, missing, of the wrong type or out of its range."""


class ConfigError(BoatError, ValueError):
    """A configuration cannot be read or does not fit; the text starts with file and line.

    Args:
        place: the file and line, or `--set KEY`, at which the value stands.
    """

    place: str = ""

    def __init__(self, message: str | None = None, *, place: str = "", **parts: Any) -> None:
        self.place = place
        super().__init__(message, **parts)

    def _place(self) -> str:
        if self.place.startswith("--set "):
            place = shortened(self.place)
            return place if self.place == f"--set {dotted(self.where)}" or not self.where else self._both(place)
        return self._both(self.place)

    def _both(self, place: str) -> str:
        return ": ".join(part for part in (place, _dotted_short(self.where)) if part)


class CompositionError(BoatError, ValueError):
    """Operations do not form a solver: one is unknown or absent, a chain is incomplete, or two exclude each other."""


class DeclarationError(BoatError, TypeError):
    """A pack declares something that is not a valid operation, optimizer or problem."""


class OperationError(BoatError, RuntimeError):
    """An operation raised, returned the wrong type or changed its inputs; the error names its distribution."""


class ObjectiveError(BoatError, ValueError):
    """An objective returned something that is not one reproducible floating-point number."""


class StructureError(BoatError, ValueError):
    """A pytree has another structure, shape or dtype than it must have."""


class NonFiniteError(BoatError, ArithmeticError):
    """A NaN or an infinity, with the stage, step and leaf in which it first appears."""


class DoubtfulError(BoatError, ArithmeticError):
    """Under `strict`: an operation reported that its number may be wrong."""


class EngineError(BoatError, ArithmeticError):
    """Under `check: replay`: a program of the lower steps computed other numbers than the ordinary steps."""


class SecondOrderError(BoatError, TypeError):
    """An objective uses an operator whose second derivative Jittor would compute wrongly, without an error."""


class SecondOrderWarning(UserWarning):
    """Such an operator, where the user asked for a warning only."""


class DoubtfulWarning(UserWarning):
    """A solution or a linear solve that may be wrong, with its figure; without `strict` it is a warning only."""


class RunError(BoatError, RuntimeError):
    """A run cannot start or go on: its folder exists, its checkpoint does not fit, its problem is incomplete."""


def closest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name that is nearest to `name`, or None where none is near."""
    folded = {n.lower(): n for n in sorted({str(v) for v in valid}, reverse=True)}
    close = get_close_matches(str(name).lower(), sorted(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def suggestion(name: str, valid: Iterable[str]) -> str | None:
    """Return "did you mean 'X'?", or the valid names where none is near, or None where there are none."""
    names = sorted({str(v) for v in valid})
    if near := closest(name, names):
        return f"did you mean {near!r}?"
    return f"valid: {', '.join(names)}" if names else None


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return the suggestion after "; ", to be appended to a message, or an empty text."""
    text = suggestion(name, valid)
    return f"; {text}" if text else ""
