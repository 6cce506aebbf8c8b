"""The command `boat`. Each verb group is one file that adds its parsers and returns an exit code.

Exit codes: 0 done, 1 a finding (a broken pack, a wrong derivative, an unfit machine), 2 an error in what was given or
while running, 130 interrupted (and, during a run, 143 after SIGTERM and 129 after SIGHUP).
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from ..errors import BoatError, nearest
from ..plugins.discovery import limited_imports


class _UsageError(BoatError):
    """The command line itself does not parse."""


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors that name the nearest verb or flag."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message} (see {self.prog} --help)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"no {value!r}{nearest(value, action.choices)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Errors of BOAT's are one line on stderr, unless `--debug`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    with warnings.catch_warnings():
        _show_warnings()
        try:
            with limited_imports():
                code = _run(arguments)
            sys.stdout.flush()
            return code
        except SystemExit as leaving:  # --help and --version
            return leaving.code if isinstance(leaving.code, int) else 2
        except KeyboardInterrupt:
            print("boat: interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:
            # Whoever read our output has left; Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except BoatError as error:
            if debug:
                traceback.print_exc()
            print(f"boat: error: {' '.join(str(error).splitlines())}", file=sys.stderr)
            return 2
        except Exception:  # not foreseen, or the problem's own: whoever mends it needs to see where
            traceback.print_exc()
            return 2


def _run(arguments: list[str]) -> int:
    parser = _parser()
    given, extra = parser.parse_known_args(arguments)
    verb = getattr(given, "parser", parser)
    if extra:
        near = nearest(extra[0], verb._option_string_actions) if extra[0].startswith("-") else ""
        verb.error(f"unrecognized argument {extra[0]!r}{near}")
    if not hasattr(given, "act"):
        verb.print_help(sys.stderr)
        return 2
    code: int = given.act(given)
    return code


def _parser() -> Parser:
    from . import doctor, draw, ops, optimizers, problem, run, solvers

    parser = Parser(prog="boat", description="Gradient-based bilevel optimization on Jittor.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(metavar="VERB", title="verbs")
    for group in (ops, optimizers, solvers, draw, problem, run, doctor):
        group.add_parsers(verbs)
    return parser


def add_verb(verbs: Any, name: str, act: Any, summary: str) -> Parser:
    """Add the parser of one verb; `act` takes the parsed arguments and returns the exit code."""
    parser: Parser = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(act=act, parser=parser)
    # A default of False would undo `boat --debug VERB`.
    debug: dict[str, Any] = {"action": "store_true", "default": argparse.SUPPRESS}
    parser.add_argument("--debug", **debug, help="show the traceback of an error")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def add_config(parser: Parser, *, required: bool = True) -> None:
    """Add the argument CONFIG and its overrides."""
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


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"boat {version('boat-core')}")
        parser.exit()


def _show_warnings() -> None:
    """Warnings of BOAT's are one line, each shown whenever it is raised; others stay as they are."""
    show = warnings.showwarning

    def show_ours(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if category.__module__.startswith("boat_core"):
            print(f"boat: warning: {' '.join(str(message).split())}", file=sys.stderr)
        else:
            show(message, category, *where, **more)

    warnings.showwarning = show_ours
    from ..plugins.registry import PackWarning

    warnings.simplefilter("always", PackWarning)
    # Jittor's import switches denormal numbers off, and numpy remarks on that.
    warnings.filterwarnings("ignore", message="The value of the smallest subnormal")
