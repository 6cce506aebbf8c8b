"""Every error that BOAT raises on purpose.

All of them derive from `BoatError`. A message names the place, what was expected there, what was found, and the
nearest valid thing where there is one. The command line prints the message alone and exits with code 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BoatError(Exception):
    """Base of all errors raised on purpose."""


class OptionError(BoatError, ValueError):
    """An option is unknown, missing, of the wrong type or out of its range."""


class ConfigError(BoatError, ValueError):
    """A configuration cannot be read or does not fit; the message starts with file and line."""


class CompositionError(BoatError, ValueError):
    """Operations that do not form a solver: unknown, absent, incomplete or excluding one another."""


class DeclarationError(BoatError, TypeError):
    """A pack declares something that is not a valid operation, optimizer or problem."""


class OperationError(BoatError, RuntimeError):
    """An operation raised, returned what its role does not, or changed what it was given; names who brought it."""


class ObjectiveError(BoatError, ValueError):
    """An objective returned something that is not one reproducible floating-point number."""


class StructureError(BoatError, ValueError):
    """A pytree has another structure, shape or dtype than the one it stands for."""


class NonFiniteError(BoatError, ArithmeticError):
    """A NaN or an infinity, with the stage, step and leaf in which it first appears."""


class DoubtfulError(BoatError, ArithmeticError):
    """Under `strict`: an operation reported that its number may be wrong."""


class SecondOrderError(BoatError, TypeError):
    """An objective uses an operator whose second derivative Jittor would get wrong without a word."""


class SecondOrderWarning(UserWarning):
    """The same, where the user asked to be warned only."""


class DoubtfulWarning(UserWarning):
    """The same without `strict`: a solution or a linear solve that may be wrong, with its figure."""


class RunError(BoatError, RuntimeError):
    """A run cannot start or go on: its folder exists, its checkpoint does not fit, its problem is incomplete."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `"; did you mean 'X'?"`, or the valid names where none is near, or nothing where there are none."""
    names = sorted({str(v) for v in valid})
    folded = {n.lower(): n for n in reversed(names)}
    close = get_close_matches(str(name).lower(), list(folded), n=1, cutoff=0.6)
    if close:
        return f"; did you mean {folded[close[0]]!r}?"
    return f"; valid: {', '.join(names)}" if names else ""
