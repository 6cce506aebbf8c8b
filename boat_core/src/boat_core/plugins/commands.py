"""The verbs that packs add to the command `boat`: which of them can be used, and what is wrong with the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ..declare.named import CommandDeclaration
from ..errors import RunError
from .entries import Declared
from .finding import Finding
from .known_packs import publisher
from .registry import Registry


def split_commands(registry: Registry, own: Mapping[str, bool]) -> tuple[list[Declared], list[Finding]]:
    """Return the usable verbs of packs, and a finding for each verb that is left out.

    A verb is left out if the core has it, or if two packs declare it: nobody could tell which of the two would run.

    Args:
        registry: where the packs' verbs are.
        own: the core's verbs, such as "run" and "ops list", and its groups, such as "ops"; the value says whether the
            name is a group, to which packs can add verbs.
    """
    commands = registry.commands()
    names = Counter(entry.name for entry in commands)
    usable, findings = [], []
    for entry in commands:
        reason = _refusal(entry.name, own, names)
        if not reason:
            usable.append(entry)
            continue
        remedy = f"pip uninstall {entry.distribution} if you do not need it; its author: rename the verb"
        what = f"its verb {entry.name!r} is not used: {reason}"
        findings.append(Finding(entry.distribution, entry.version, what, remedy))
    return usable, findings


def _refusal(name: str, own: Mapping[str, bool], names: Counter[str]) -> str:
    group = name.rpartition(" ")[0]
    if name in own or not own.get(group, True):
        return f"boat has a verb {name if name in own else group!r} of its own"
    if names[name] > 1:
        return "another pack declares it as well"
    if group in names or any(other.startswith(f"{name} ") for other in names):
        return f"{group or name!r} is a verb of one pack and a group of verbs of another"
    return ""


def explain_absent_command(registry: Registry, name: str) -> str | None:
    """Say why there is no verb of this name. Return None where no pack, installed or known, has one."""
    entries = [entry for entry in registry.commands() if entry.name == name]
    if len(entries) > 1:
        packs = " and ".join(f"{entry.distribution} {entry.version}" for entry in entries)
        return f"command {name!r} is declared by {packs}; uninstall one of them"
    if not entries and publisher("command", name):
        return "; ".join(filter(None, registry.explain_absent(CommandDeclaration, name)))
    return None


def command_function(registry: Registry, name: str) -> Callable[..., Any]:
    """Return the function by which scripts do what the command `name` does.

    Raises:
        RunError: no installed pack has that command, or more than one has; with what to install or uninstall.
    """
    declarations = [entry.declaration for entry in registry.commands() if entry.name == name]
    if len(declarations) == 1 and declarations[0].function is not None:
        function: Callable[..., Any] = declarations[0].function
        return function
    reason = explain_absent_command(registry, name)
    raise RunError(reason or f"no installed pack provides the function of the command {name!r}")
