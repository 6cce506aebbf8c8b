"""Discovery: a broken pack is set aside with one warning and named; everything else works as if it were not there."""

from __future__ import annotations

import types
from dataclasses import replace

import pytest

import boat_core
from boat_core import CompositionError, Operation, compose, hookimpl
from boat_core.plugins.discovery import load_registry
from boat_core.plugins.entries import PackWarning
from boat_core.plugins.observers import Observers

TEXT = {"summary": "s", "formula": "f", "source": "t"}


class Distribution:
    def __init__(self, name, requires=()):
        self.name, self.version, self.requires = name, "1.2", list(requires)


class EntryPoint:
    """What importlib.metadata gives, with the module made here."""

    def __init__(self, dist, load, name="pack"):
        self.dist, self.name, self.module, self._load = dist, name, "module", load

    def load(self):
        return self._load()


def operation(name="GOOD", stage="map", role="base"):
    return Operation(name=name, stage=stage, role=role, apply=lambda *a: None, **TEXT)


def plugin(operations=None, api=boat_core.HOOK_API, hook="boat_map_operations", mark=hookimpl):
    module = types.ModuleType("plugin")
    module.BOAT_HOOK_API = api
    setattr(module, hook, mark(lambda: [operation()] if operations is None else operations))
    return module


def raising(error):
    def load():
        raise error

    return load


def names(registry):
    return [e.name for e in registry.operations()]


def test_a_good_pack():
    registry = load_registry([EntryPoint(Distribution("good"), plugin)])
    assert names(registry) == ["GOOD"]
    assert (registry.find("GOOD").distribution, registry.find("GOOD").version) == ("good", "1.2")


@pytest.mark.parametrize(
    ("load", "requires", "cause"),
    [
        (raising(ImportError("no module named nothing")), (), "its import failed with ImportError: no module named"),
        (raising(SystemExit(3)), (), "its import failed with SystemExit"),
        (lambda: plugin(api=99), (), "its BOAT_HOOK_API is 99"),
        (lambda: types.ModuleType("empty"), (), "its BOAT_HOOK_API is None"),
        (lambda: plugin(mark=lambda f: f), (), "boat_map_operations lacks the mark"),
        (lambda: plugin(hook="boat_map_operation"), (), "there is no hook 'boat_map_operation'; did you mean"),
        (lambda: plugin([1]), (), "DeclarationError: boat_map_operations must return Operation values (got 1)"),
        (lambda: plugin(7), (), "DeclarationError: boat_map_operations must return a list of Operation"),
        (lambda: plugin([operation(stage="approximate", role="estimator")]), (), "of stage 'approximate'"),
        (lambda: plugin(hook="boat_optimizers"), (), "must return OptimizerDeclaration values"),
        (raising(AssertionError("imported all the same")), ("boat_core>=99",), "made for boat-core >=99"),
        (plugin, ("boat-core>=0.1", 'boat-core>=99; python_version >= "3"'), "made for boat-core >=99"),
        (plugin, ('boat-core[plots]~=99.0; extra != "gpu"',), "made for boat-core ~=99.0"),
    ],
)
def test_a_broken_pack_is_set_aside(load, requires, cause):
    points = [EntryPoint(Distribution("bad", requires), load), EntryPoint(Distribution("good"), plugin)]
    with pytest.warns(PackWarning) as caught:
        registry = load_registry(points)
    assert len(caught) == 1
    assert str(caught[0].message).startswith("bad 1.2 (pack) was set aside: ")
    assert names(registry) == ["GOOD"]
    (broken,) = registry.broken
    assert cause in broken.cause
    assert broken.remedy


@pytest.mark.parametrize(
    "requirement",
    [
        'boat-core>=9; python_version < "3"',
        'boat-core (>=9) ; python_version < "3"',
        'boat-core>=9; extra == "gpu"',
        'boat-core[plots]>=9; extra == "gpu" and python_version >= "3"',
        'boat-core>=9; sys_platform == "win32" or implementation_name == "jython"',
        'boat-core>=9; python_version ~= "many"',
        "boat-core>=9; colour == 'red'",
        "boat-core @ https://example.org/boat_core.whl",
        "boat-core-extras>=9",
    ],
)
def test_a_requirement_that_does_not_hold_here_excludes_no_pack(requirement):
    registry = load_registry([EntryPoint(Distribution("good", [requirement, "boat-core>=0.1"]), plugin)])
    assert (names(registry), registry.broken) == (["GOOD"], ())


def test_a_hook_with_a_wrong_signature_leaves_nothing_behind():
    def load():
        module = plugin()
        module.boat_problems = hookimpl(lambda wrong: [])
        return module

    with pytest.warns(PackWarning, match="wrong"):
        registry = load_registry([EntryPoint(Distribution("bad"), load)])
    assert names(registry) == []
    assert [name for name, _ in registry.plugins if "bad" in name] == []


def test_the_observer_hooks_of_a_pack_that_is_set_aside_take_no_part():
    def load():
        module = plugin([1])
        module.boat_step_finished = hookimpl(lambda step: None)
        return module

    with pytest.warns(PackWarning, match="must return Operation values"):
        registry = load_registry([EntryPoint(Distribution("bad"), load)])
    assert [name for name, _ in registry.plugins if "bad" in name] == []


def test_one_pack_with_one_name_at_two_entry_points():
    points = [EntryPoint(Distribution("one"), plugin, name) for name in ("first", "second")]
    with pytest.warns(PackWarning, match="operation 'GOOD' is declared twice by this pack"):
        registry = load_registry(points)
    assert names(registry) == ["GOOD"]
    assert [pack.entry_point for pack in registry.broken] == ["second"]


def test_two_packs_with_one_name():
    registry = load_registry([EntryPoint(Distribution(d), plugin) for d in ("one", "two")])
    assert [registry.label(e) for e in registry.entries] == ["one:GOOD", "two:GOOD"]
    assert registry.find("two:GOOD").distribution == "two"
    with pytest.raises(CompositionError, match="declared twice: write one:GOOD or two:GOOD"):
        registry.find("GOOD")


def test_two_operations_of_one_name_do_not_go_together():
    def modifiers():
        return plugin([operation(role="modifier")])

    registry = load_registry([EntryPoint(Distribution(d), modifiers) for d in ("one", "two")])
    with pytest.raises(CompositionError, match="map: GOOD is listed twice"):
        compose(registry, map=["one:GOOD", "two:GOOD"])


def test_a_second_default_does_not_change_chains_that_users_have():
    """Of several defaults, that of the pack which is known for the operation counts, also if its name is taken."""

    def bases(*names):
        return lambda: plugin([replace(operation(name), default=True) for name in names])

    registry = load_registry(
        [EntryPoint(Distribution("boat-ops-gm"), bases("NGD")), EntryPoint(Distribution("other"), bases("NGD", "BAD"))]
    )
    (default,) = registry.defaults("map", "base")
    assert default.origin == "NGD (boat-ops-gm 1.2)"
    with pytest.raises(CompositionError, match="'NGD' is declared twice"):
        registry.find("NGD")
    assert [entry.origin for entry in registry.operations("map", "base") if entry.name == "NGD"] == [default.origin]
    strangers = load_registry([EntryPoint(Distribution(name), bases(name.upper())) for name in ("one", "two")])
    assert len(strangers.defaults("map", "base")) == 2


@pytest.mark.parametrize(
    ("requirement", "fits"),
    [
        ("boat-core>=0.1,<0.2", True),
        ("boat_core[test] (>=0.1, <0.2) ; extra == 'test'", True),
        ("Boat.Core<0.1", False),
        ("boat-core~=0.1.0", True),
        ("boat-core!=0.1.0", False),
        ("boat-core-extra<0.1", True),
    ],
)
def test_a_pack_for_another_core_is_not_imported(requirement, fits, recwarn):
    loaded = []
    point = EntryPoint(Distribution("good", [requirement]), lambda: loaded.append(1) or plugin())
    registry = load_registry([point])
    assert (bool(loaded), len(registry.broken), len(recwarn)) == ((True, 0, 0) if fits else (False, 1, 1))


@pytest.mark.parametrize("value", ["good", "pack", "all"])
def test_packs_can_be_switched_off(monkeypatch, value):
    monkeypatch.setenv("BOAT_DISABLE_PLUGINS", value)
    with pytest.warns(PackWarning, match="BOAT_DISABLE_PLUGINS switched off good"):
        registry = load_registry([EntryPoint(Distribution("good"), plugin)])
    assert names(registry) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CG", "operation 'CG' is in boat-ops-na, which is not installed; pip install boat-ops-na"),
        ("GOOOD", "no operation 'GOOOD'; did you mean 'GOOD'?"),
    ],
)
def test_absent_operations(name, message):
    registry = load_registry([EntryPoint(Distribution("good"), plugin)])
    with pytest.raises(CompositionError) as caught:
        registry.find(name)
    assert str(caught.value) == message


def test_an_operation_in_a_broken_pack_says_so():
    with pytest.warns(PackWarning):
        registry = load_registry([EntryPoint(Distribution("boat-ops-na"), raising(ImportError("gone")))])
    with pytest.raises(CompositionError, match=r"'CG' is in a pack that was set aside: .*ImportError: gone"):
        registry.find("CG")


def test_an_observer_that_raises_is_switched_off_and_the_others_go_on():
    seen = []

    class Bad:
        @hookimpl
        def boat_step_finished(self, run, step):
            raise ValueError("broken")

    class Good:
        @hookimpl
        def boat_step_finished(self, step):
            seen.append(step)

    events = Observers(load_registry([]))
    bad, good = Bad(), Good()
    events.observe(good)
    events.observe(bad)
    with pytest.warns(PackWarning, match=r"Bad.* was switched off: ValueError in boat_step_finished: broken"):
        events.notify("boat_step_finished", run=None, step=1)
    events.notify("boat_step_finished", run=None, step=2)
    assert seen == [1, 2]
    events.forget(bad, good)
    events.notify("boat_step_finished", run=None, step=3)
    assert seen == [1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "two words"}, "name must be"),
        ({"stage": "maps"}, "stage must be one of map, approximate, first-order"),
        ({"role": "method"}, "role must be one of modifier, base"),
        ({"source": " "}, "source must be a text"),
        ({"options": dict}, "options must be a dataclass"),
        ({"apply": None}, r"apply must be a function \(got None\)"),
    ],
)
def test_nonsense_declarations(change, message):
    values = {"name": "X", "stage": "map", "role": "base", "apply": print} | TEXT | change
    with pytest.raises(boat_core.DeclarationError, match=message):
        Operation(**values)
