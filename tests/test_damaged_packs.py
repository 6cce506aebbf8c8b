"""Packs with damaged metadata: whatever is wrong, the pack is used or set aside by name, and all others work."""

from __future__ import annotations

import random
import shutil
import sys
import warnings

import pytest

from boat_core.plugins.discovery import installed, load_registry
from boat_core.plugins.entries import PackWarning

PLUGIN = """\
from boat_core import Cost, Hypergradient, Operation, hookimpl
BOAT_HOOK_API = 1

def estimate(trajectory, options):
    return Hypergradient(trajectory.end.direct)

@hookimpl
def boat_approximate_operations():
    cost = lambda options, work: Cost(gradients=1)
    return [Operation("FRAGILE", "approximate", "estimator", "s", "f", "t", apply=estimate, cost=cost)]
"""
FILES = {
    "METADATA": "Metadata-Version: 2.1\nName: fragile-pack\nVersion: 1.0\nSummary: s\n"
    'Requires-Dist: boat-core>=0.1\nRequires-Dist: numpy; python_version >= "3"\n\nA description.\n',
    "entry_points.txt": "[console_scripts]\nfragile = fragile_pack:main\n\n[boat]\nfragile = fragile_pack.plugin\n",
    "RECORD": "fragile_pack/__init__.py,,\nfragile_pack/plugin.py,sha256=abc,10\nfragile_pack-1.0.dist-info/RECORD,,\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: hatchling\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
WORDS = (
    *(
        b"",
        b"\n",
        b"\r",
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b":",
        b"=",
        b"[",
        b"]",
        b";",
        b" ",
        b"\t",
        b"#",
        b"..",
        b"%",
    ),
    *(b"Name:", b"Name: \n", b"Version: one\n", b"Version: 1.0\nVersion: 2.0\n", b"Requires-Dist: boat-core>=99\n"),
    *(b"Requires-Dist: boat-core (>=\n", b"Requires-Dist: boat_core @ file:///x\n", b"Requires-Dist: ; extra == 'a'\n"),
    *(
        b"[boat]\n",
        b"[boat\n",
        b"[other]\n",
        b"x = :y\n",
        b"x = fragile_pack.plugin:absent\n",
        b"x = fragile_pack.plugin [extra]\n",
    ),
    *("é\n".encode(), "名 = 前\n".encode(), b"9" * 5000, b"boat-ops-na", b"../../", b"\xc3\x28"),
)


def mutated(content, draw):
    """Return the bytes of a file, changed at one or more places."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        at, to = sorted(draw.randrange(len(content) + 1) for _ in range(2))
        word, lines = draw.choice(WORDS), content.split(b"\n")
        ways = (
            content[:at] + content[to:],
            content[:at],
            content[:at] + word + content[at:],
            content[:at] + word + content[to:],
            content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :],
            content + content[at:to],
            b"\n".join(draw.sample(lines, len(lines))),
        )
        content = draw.choice(ways)
    return content


def install(folder, draw):
    """Put the pack into the folder, with damaged metadata; return what was done."""
    info = folder / draw.choice(["fragile_pack-1.0.dist-info"] * 8 + ["fragile_pack.dist-info", "-.dist-info"])
    info.mkdir(parents=True)
    shutil.copytree(folder.parent / "fragile_pack", folder / "fragile_pack")
    contents = {name: text.encode() for name, text in FILES.items()}
    changed = draw.sample(list(FILES)[:3], draw.choice((1, 1, 2, 3)))
    for name in changed:
        contents[name] = mutated(contents[name], draw)
    for name, content in contents.items():
        way = draw.random() if name in changed else 1.0
        if way < 0.05:
            continue
        if way < 0.08:
            (info / name).mkdir()
        else:
            (info / name).write_bytes(content)
    return {name: contents[name] for name in changed}


def try_damages(number, seed, tmp_path, monkeypatch):
    """Discover packs beside `number` damaged ones. Return how many of those were used, and how many set aside."""
    draw, ours = random.Random(seed), {entry.origin for entry in installed().entries}
    (tmp_path / "fragile_pack").mkdir()
    (tmp_path / "fragile_pack" / "__init__.py").touch()
    (tmp_path / "fragile_pack" / "plugin.py").write_text(PLUGIN)
    used = aside = 0
    for place in range(number):
        folder = tmp_path / str(place)
        what = install(folder, draw)
        for name in [name for name in sys.modules if name.startswith("fragile_pack")]:
            del sys.modules[name]
        with monkeypatch.context() as context, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            context.syspath_prepend(folder)
            try:
                registry = load_registry()
            except Exception as error:
                pytest.fail(f"{type(error).__name__}: {error} from {what}")
        assert ours <= {entry.origin for entry in registry.entries}, what
        own = [entry for entry in registry.entries if entry.name == "FRAGILE"]
        broken = [pack for pack in registry.broken if pack not in installed().broken]
        warned = sum(issubclass(one.category, PackWarning) for one in caught)
        assert warned == len(registry.broken), what
        assert all(pack.cause and pack.remedy and pack.distribution for pack in broken), what
        assert all(len(str(pack)) < 2000 and "\n" not in str(pack) for pack in broken), (what, list(map(str, broken)))
        used, aside = used + bool(own), aside + bool(broken)
        shutil.rmtree(folder)
    return used, aside


def test_damaged_metadata(tmp_path, monkeypatch):
    used, aside = try_damages(100, 1, tmp_path, monkeypatch)
    assert used > 20 and aside > 15


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2, 7))
def test_much_damaged_metadata(tmp_path, monkeypatch, seed):
    used, aside = try_damages(400, seed, tmp_path, monkeypatch)
    assert used > 100 and aside > 60
