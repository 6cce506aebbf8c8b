"""What a pack declares of its operations: what is missing, and names that nothing has."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from boat_core import Operation, Registry
from boat_core.testing import Finding, published_operations

#: The roles of operations whose gradients and products count as the cost of a solver.
_COSTLY = ("base", "estimator", "method")
_ROLES = ("modifier", "selector", *_COSTLY)
_NO_COST = {field.name: field.default for field in dataclasses.fields(Operation)}["cost"]


def check_operation(entry: Any, registry: Registry) -> Iterator[Finding]:
    """Yield what the declaration of one operation lacks, and what it names that does not exist."""
    operation = entry.operation

    def finding(what: str, remedy: str) -> Finding:
        return Finding(entry.distribution, entry.version, f"operation {entry.name}: {what}", remedy)

    for field in dataclasses.fields(operation.options):
        if not field.metadata.get("doc"):
            yield finding(f"option {field.name!r} is not explained", "Declare it with option(…, doc=…)")
    if operation.role in _COSTLY and operation.cost is _NO_COST:
        yield finding("it declares no cost, so it counts as free, and as taking second derivatives", "Give it a cost")
    if operation.apply and not inspect.getdoc(inspect.getmodule(operation.apply)):
        yield finding("its module has no docstring, which `boat ops show` prints", "Write formula and source there")
    for field_name, word, known in _names(operation, registry):
        if word not in known:
            what = f"its {field_name} name {word!r}, and nothing goes by that{_nearest(word, known)}"
            yield finding(what, "Mend the name")
    for kernel in operation.kernels:
        if not kernel.source.is_file():
            what = f"the source of its kernel {kernel.name} is not there: {kernel.source}"
            yield finding(what, "Put it into the wheel")


def _names(operation: Any, registry: Registry) -> Iterator[tuple[str, str, set[str]]]:
    """Yield each name in a declaration: its field, the name, and the names that are valid there."""
    operations = {entry.name for entry in registry.entries}
    operations |= {name for names in published_operations().values() for name in names}
    labels = operations.union(_ROLES, *(entry.operation.tags for entry in registry.entries))
    for need in operation.needs:
        yield from (("needs", name, operations) for name in need.names)
    for rule in operation.excludes:
        yield from (("excludes", name, labels) for name in (*rule.what, *rule.unless))
    yield from (("claims", name, labels) for name in operation.claims)
    for alias in operation.aliases:
        yield from (("aliases", name, operations) for name in alias.operations)


def _nearest(name: str, names: set[str]) -> str:
    folded = {known.lower(): known for known in sorted(names, reverse=True)}
    close = get_close_matches(name.lower(), list(folded), n=1)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""
