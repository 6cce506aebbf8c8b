"""The argument parsers of `boat`: one for each verb, completed when the verb is used."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import BoatError, nearest
from ..plugins.commands import explain_absent_command, split_commands
from ..plugins.entries import Declared, PackWarning
from ..plugins.finding import Finding
from ..plugins.registry import Registry


class UsageError(BoatError):
    """The command line cannot be parsed."""


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors that name the nearest verb or flag.

    The parser of a verb gets its arguments when it is first needed. So `boat` starts without the modules of other
    verbs, and a pack whose verb cannot be set up does not affect the others.
    """

    #: Adds the arguments of the verb; None once it has.
    configure: Callable[[Parser], None] | None = None
    #: The verbs of a group.
    verbs: Any = None
    #: Where packs' verbs are looked up that are not there.
    registry: Registry | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def complete(self) -> Parser:
        """Add the verb's arguments, unless that has been done; return this parser."""
        configure, self.configure = self.configure, None
        if configure is not None:
            configure(self)
        return self

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.complete()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction) and self.registry is not None:
            reason = explain_absent_command(self.registry, " ".join([*self.prog.split()[1:], value]))
            if reason is not None:
                raise UsageError(reason)
        raise argparse.ArgumentError(action, f"no {value!r}{nearest(value, action.choices)}")


def add_group(parser: Parser, name: str, summary: str) -> Parser:
    """Add a verb that has verbs of its own, such as `boat ops`."""
    group: Parser = parser.verbs.add_parser(name, help=summary)
    group.set_defaults(parser=group)
    group.registry = parser.registry
    group.verbs = group.add_subparsers(metavar="VERB", title="verbs")
    return group


def add_verb(
    parser: Parser, name: str, summary: str, configure: Callable[[Parser], None], run: Callable[[Any], int]
) -> None:
    """Add one verb. `configure` adds its arguments; `run` takes the parsed arguments and returns the exit code."""
    verb: Parser = parser.verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    verb.set_defaults(run_verb=run, parser=verb)
    # A default of False would undo `boat --debug VERB`.
    debug: dict[str, Any] = {"action": "store_true", "default": argparse.SUPPRESS}
    verb.add_argument("--debug", **debug, help="show the traceback of an error")
    verb.add_argument("--json", action="store_true", help="print JSON")
    verb.configure = configure


def add_config_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the argument CONFIG and its overrides, as `arguments.config` and `arguments.overrides`."""
    parser.add_argument(
        "config", metavar="CONFIG", nargs=None if required else "?", help="YAML, or JSON of the same keys"
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a key, run.steps=9 say",
    )


def own_names(parser: Parser) -> dict[str, bool]:
    """Return the verbs and groups of this parser, such as "run", "ops" and "ops list", and whether each is a group."""
    names: dict[str, bool] = {}
    for name, verb in parser.verbs.choices.items():
        names[name] = verb.verbs is not None
        if verb.verbs is not None:
            names |= dict.fromkeys((f"{name} {inner}" for inner in verb.verbs.choices), False)
    return names


def add_pack_verbs(parser: Parser, registry: Registry) -> list[Finding]:
    """Add the verbs that packs bring. Warn about each that cannot be used, and return what is wrong with it."""
    usable, findings = split_commands(registry, own_names(parser))
    for finding in findings:
        warnings.warn(str(finding), PackWarning, stacklevel=2)
    for entry in usable:
        group, _, name = entry.name.rpartition(" ")
        place = parser
        if group:
            place = parser.verbs.choices.get(group) or add_group(parser, group, f"verbs of {entry.distribution}")
        command = entry.declaration
        add_verb(place, name, command.summary, _guarded(entry, command.configure), _checked(entry, command.run))
    return findings


def _guarded(entry: Declared, configure: Callable[[Any], None]) -> Callable[[Parser], None]:
    def run(parser: Parser) -> None:
        try:
            configure(parser)
        except BoatError:
            raise
        except Exception as error:
            cause = f"its arguments cannot be set up: {type(error).__name__}: {error}"
            raise BoatError(f"command {entry.origin}: {cause}") from error

    return run


def _checked(entry: Declared, run: Callable[[Any], int]) -> Callable[[Any], int]:
    def run_checked(arguments: Any) -> int:
        code = run(arguments)
        if not isinstance(code, int):
            raise BoatError(f"command {entry.origin}: run must return an exit code (got {code!r})")
        return code

    return run_checked
