"""The declarations of a pack besides operations: optimizers, problems, observers, executors, places, verbs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import DeclarationError
from .options import NoOptions, check_options_class


@dataclass(frozen=True)
class OptimizerDeclaration:
    """An optimizer by name. `build(options)` returns the `Optimizer`; only `build` may import Jittor.

    Raises:
        DeclarationError: A field is missing or invalid.
    """

    kind: ClassVar[str] = "optimizer"

    name: str
    summary: str
    source: str
    options: type
    build: Callable[[Any], Any]

    def __post_init__(self) -> None:
        check_declaration(self, "summary", "source")


@dataclass(frozen=True)
class ProblemDeclaration:
    """A bilevel problem by name. `build(options, seed)` returns the `Problem`.

    Raises:
        DeclarationError: A field is missing or invalid.
    """

    kind: ClassVar[str] = "problem"

    name: str
    summary: str
    build: Callable[[Any, int], Any]
    options: type = NoOptions

    def __post_init__(self) -> None:
        check_declaration(self, "summary")


@dataclass(frozen=True)
class _BuiltForRun:
    """What a run builds by name, from options of its own."""

    kind: ClassVar[str]

    name: str
    summary: str
    build: Callable[[Any], Any]
    options: type = NoOptions
    requires: str = ""

    def __post_init__(self) -> None:
        check_declaration(self, "summary")


class ObserverDeclaration(_BuiltForRun):
    """An observer of runs by name. `build(options)` returns an object with marked observer hooks.

    Args:
        name: The name that configurations use.
        summary: A summary of one line.
        build: The function that makes the observer.
        options: The dataclass of its options.
        requires: The argument of `pip install`, if `build` imports something that the pack does not depend on.

    Raises:
        DeclarationError: A field is missing or invalid.
    """

    kind: ClassVar[str] = "observer"


class ExecutorDeclaration(_BuiltForRun):
    """An executor by name, as in `run.executor`. `build(options)` returns the executor, see `boat_core.Executor`.

    A run calls `build` once. The arguments and errors are those of `ObserverDeclaration`.
    """

    kind: ClassVar[str] = "executor"


class SweepPlaceDeclaration(_BuiltForRun):
    """A place of sweeps by name, as in `boat sweep --on NAME`: where the runs of a sweep are carried out.

    `build(options)` returns the place, see `boat_core.SweepPlace`. A sweep calls `build` once. It sets two options if
    the place has them: `jobs` from `boat sweep --jobs N`, and `device` (auto, cpu, cuda) from `run.device` of the runs.
    The arguments and errors are those of `ObserverDeclaration`.
    """

    kind: ClassVar[str] = "place"


@dataclass(frozen=True)
class CommandDeclaration:
    """A verb of the command `boat`, such as `boat draw`, or of its group `ops`, such as `boat ops new`.

    Args:
        name: The verb, after its group if it has one: "draw", "ops new".
        summary: The line for `--help`.
        configure: A function `(parser) -> None` that adds the verb's arguments to an `argparse` parser. The parser
            already has `--json` and `--debug`. `boat` calls the function when a user calls the verb or asks for its
            help.
        run: A function `(arguments) -> int` that does the work and returns the exit code: 0 for success, 1 for a
            finding.
        function: The function by which scripts do the same. `boat_core.draw` calls that of the command "draw".

    Raises:
        DeclarationError: A field is missing or invalid.
    """

    kind: ClassVar[str] = "command"

    name: str
    summary: str
    configure: Callable[[Any], None]
    run: Callable[[Any], int]
    function: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        where = f"command {self.name!r}"
        words = self.name.split(" ") if isinstance(self.name, str) else []
        if not (0 < len(words) <= 2 and all(word.replace("-", "_").isidentifier() for word in words)):
            raise DeclarationError("name must be a verb, or a group and a verb, such as 'ops new'", where=where)
        if not (isinstance(self.summary, str) and self.summary.strip()):
            raise DeclarationError("summary must be a text that is not empty", where=where)
        for part in ("configure", "run", "function"):
            if not callable(getattr(self, part)) and (part, self.function) != ("function", None):
                raise DeclarationError(f"{part} must be callable", where=where, got=repr(getattr(self, part)))


def check_declaration(declaration: Any, *texts: str) -> None:
    """Raise `DeclarationError` unless the name, the texts, the options and `build` are valid."""
    where = f"{declaration.kind} {declaration.name!r}"
    if not (isinstance(declaration.name, str) and declaration.name.replace("-", "_").isidentifier()):
        raise DeclarationError("name must be letters, digits, '-' or '_'", where=where)
    for text in texts:
        if not (isinstance(getattr(declaration, text), str) and getattr(declaration, text).strip()):
            raise DeclarationError(f"{text} must be a text that is not empty", where=where)
    check_options_class(declaration.options, where)
    if not callable(declaration.build):
        raise DeclarationError("build must be callable", where=where, got=repr(declaration.build))
