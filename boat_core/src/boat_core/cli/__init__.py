"""The command `boat`: parsers, warnings, errors and exit codes. Each verb, or group of verbs, is one file beside this.

Exit codes: 0 done, 1 a finding (a broken pack, a wrong derivative, an unfit machine), 2 an error in the input or while
running, 130 interrupted (and, during a run, 143 after SIGTERM and 129 after SIGHUP).

A pack adds a verb with the hook `boat_commands`. The names in `__all__` are for such verbs.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ..errors import BoatError, nearest
from .output import print_facts, print_json, print_table
from .parsing import Parser, add_config_arguments, add_group, add_pack_verbs, add_verb
from .streams import failure_of, streams

__all__ = ["add_config_arguments", "main", "print_facts", "print_json", "print_table"]

#: The groups of verbs, and what each is.
GROUPS = {
    "ops": "the operations that are installed",
    "optimizers": "the optimizers, transforms and schedules that are installed",
    "problems": "the problems that are installed",
}
#: The verbs: name, file, function and summary. The file is imported when the verb is used. A function `list_operations`
#: may have a `list_operations_arguments` beside it, which adds the arguments to the parser of the verb.
VERBS = (
    ("ops list", "ops", "list_operations", "list the operations that are installed"),
    ("ops show", "ops", "show_operation", "show one operation: formula, options, what it composes with"),
    ("ops doctor", "packs", "doctor", "list packs that did not load, or do not work; exit 1 if there are any"),
    ("ops trace", "packs", "trace", "do one outer step and say which hooks and operations ran, and whose"),
    (
        "optimizers list",
        "optimizers",
        "list_optimizers",
        "list the optimizers, transforms and schedules that can be named",
    ),
    ("optimizers show", "optimizers", "show_optimizer", "show one of them: formula, source, options"),
    ("problems list", "problems", "list_problems", "list the problems that installed packs declare"),
    ("problems show", "problems", "show_problem", "show one of them: what it is, and its options"),
    ("solvers", "solvers", "list_solvers", "list every valid solver over the operations installed"),
    ("explain", "solvers", "explain_config", "say what a configuration would run, or why it is refused"),
    (
        "check",
        "problem",
        "check_derivatives",
        "compare the objectives' derivatives with differences; exit 1 if one is wrong",
    ),
    ("run", "run", "run_config", "run a configuration; --json: the last line is the summary"),
    ("sweep", "sweep", "sweep_config", "run a configuration with other values and seeds, several runs at once"),
    ("doctor", "doctor", "doctor", "look at the machine: compiler, oneDNN, CUDA, caches; exit 1 if it is unfit"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. An error of BOAT's own is one line on stderr, unless `--debug`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings(), streams():
        _show_warnings()
        code = _code_of(arguments)
        failure = failure_of(sys.stdout)
        if failure is None:
            return code
        if isinstance(failure, BrokenPipeError):  # nobody reads our output any more
            return 141
        print(f"boat: error: the output cannot be written: {failure.strerror or failure}", file=sys.stderr)
        return code or 2


def _code_of(arguments: list[str]) -> int:
    """Run the command and return its exit code, whatever happens."""
    from ..plugins.discovery import limited_imports

    try:
        with limited_imports():
            return _run(arguments)
    except SystemExit as leaving:  # --help and --version
        return leaving.code if isinstance(leaving.code, int) else 2
    except KeyboardInterrupt:
        print("boat: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if failure_of(sys.stdout) is None and failure_of(sys.stderr) is None:  # another pipe, such as one of the user's
            _print_traceback()
            return 2
        return 141
    except BoatError as error:
        if "--debug" in arguments:
            _print_traceback()
        print(f"boat: error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 2
    except Exception:  # a fault of ours, or of the user's own code: its author needs the whole traceback
        _print_traceback()
        return 2


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()


def _run(arguments: list[str]) -> int:
    # The version is there without a look at packs, so also if one of them hangs.
    parser = _core_parser() if arguments[:1] == ["--version"] else make_parser()
    parsed, rest = parser.parse_known_args(arguments)
    verb = getattr(parsed, "parser", parser)
    if rest:
        near = nearest(rest[0], verb._option_string_actions) if rest[0].startswith("-") else ""
        verb.error(f"unrecognized argument {rest[0]!r}{near}")
    if not hasattr(parsed, "run_verb"):
        verb.print_help(sys.stderr)
        return 2
    code: int = parsed.run_verb(parsed)
    return code


def make_parser() -> Parser:
    """Return the parser of `boat` with the verbs of the core and of all installed packs."""
    from ..plugins.discovery import installed

    parser = _core_parser()
    parser.registry = installed()
    for group in GROUPS:
        parser.verbs.choices[group].registry = parser.registry
    add_pack_verbs(parser, parser.registry)
    return parser


def _core_parser() -> Parser:
    parser = Parser(prog="boat", description="Gradient-based bilevel optimization on Jittor.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.verbs = parser.add_subparsers(metavar="VERB", title="verbs")
    for name, file, function, summary in VERBS:
        group, _, verb = name.rpartition(" ")
        if group and group not in parser.verbs.choices:
            add_group(parser, group, GROUPS[group])
        place = parser.verbs.choices[group] if group else parser
        add_verb(place, verb, summary, _configured_by(file, function), _run_by(file, function))
    return parser


def _configured_by(file: str, function: str) -> Callable[[Parser], None]:
    def configure(parser: Parser) -> None:
        add_arguments = getattr(import_module(f".{file}", __name__), f"{function}_arguments", None)
        if add_arguments is not None:
            add_arguments(parser)

    return configure


def _run_by(file: str, function: str) -> Callable[[Any], int]:
    def run(arguments: Any) -> int:
        code: int = getattr(import_module(f".{file}", __name__), function)(arguments)
        return code

    return run


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from .. import __version__

        print(f"boat {__version__}")
        parser.exit()


def _show_warnings() -> None:
    """Print a warning of BOAT's as one line, whenever it is raised; leave others as they are."""
    show = warnings.showwarning

    def show_ours(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if category.__module__.startswith("boat_core"):
            print(f"boat: warning: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            show(message, category, *where, **more)

    warnings.showwarning = show_ours
    from ..plugins.entries import PackWarning

    warnings.simplefilter("always", PackWarning)
    # Jittor's import switches denormal numbers off, and numpy warns about that.
    warnings.filterwarnings("ignore", message="The value of the smallest subnormal")
