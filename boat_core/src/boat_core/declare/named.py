"""What packs declare beside operations: optimizers, problems and observers that a configuration can name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import DeclarationError
from .options import NoOptions, check_options_class


@dataclass(frozen=True)
class OptimizerDeclaration:
    """An optimizer by name: `build(options) -> Optimizer`. `build` may import Jittor, the declaration may not.

    Raises:
        DeclarationError: a field is missing or makes no sense.
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
    """A bilevel problem by name: `build(options, seed) -> Problem`.

    Raises:
        DeclarationError: a field is missing or makes no sense.
    """

    kind: ClassVar[str] = "problem"

    name: str
    summary: str
    build: Callable[[Any, int], Any]
    options: type = NoOptions

    def __post_init__(self) -> None:
        check_declaration(self, "summary")


@dataclass(frozen=True)
class ObserverDeclaration:
    """An observer of runs by name: `build(options) -> object` with marked observer hooks.

    Args:
        requires: what pip installs for it, where `build` imports what its pack does not depend on.

    Raises:
        DeclarationError: a field is missing or makes no sense.
    """

    kind: ClassVar[str] = "observer"

    name: str
    summary: str
    build: Callable[[Any], Any]
    options: type = NoOptions
    requires: str = ""

    def __post_init__(self) -> None:
        check_declaration(self, "summary")


def check_declaration(declaration: Any, *texts: str) -> None:
    """Raise `DeclarationError` unless name, texts, options and build are what they must be."""
    where = f"{declaration.kind} {declaration.name!r}"
    if not (isinstance(declaration.name, str) and declaration.name.replace("-", "_").isidentifier()):
        raise DeclarationError(f"{where}: name must be letters, digits, '-' or '_'")
    for text in texts:
        if not (isinstance(getattr(declaration, text), str) and getattr(declaration, text).strip()):
            raise DeclarationError(f"{where}: {text} must be a text that is not empty")
    check_options_class(declaration.options, where)
    if not callable(declaration.build):
        raise DeclarationError(f"{where}: build must be callable (got {declaration.build!r})")
