"""Writes the configuration and the module of a converted problem."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from boat_core import RunError

from .._layer.source import Source
from .files import folder_of_module
from .plan import Plan

_MODULE = Template('''\
"""The problem of $boat_config and $loss_config. $yaml runs it: boat run $yaml"""

from __future__ import annotations
$imports
import jittor as jt

import boat_compat.jboat as jboat
$losses
LOSSES = {
$functions
}
$models$feeds

def problem(seed$arguments):
    """Build the problem."""
    jt.set_global_seed(seed)
    upper_model, lower_model = models()
    return jboat.as_problem(upper_model, lower_model, LOSSES, feeds$keywords, name="$name")
''')
_MODELS = '''

def models():
    """Return (upper_model, lower_model): the lines of the script that build them."""
    raise NotImplementedError("put the lines of the script that build the models into models() of this file")
'''
_FEEDS = '''

def feeds(k, rng):
    """Return (ll_feed_dict, ul_feed_dict) of iteration k{lists}. Draw by the numpy generator rng."""
    raise NotImplementedError("put the lines of the script that make the feed dictionaries into feeds() of this file")
'''


_SCRIPT = Template('''\
"""The problem of $boat_config and $loss_config, as $script builds it. $yaml runs it: boat run $yaml"""

from __future__ import annotations

from pathlib import Path

import jittor as jt

import boat_compat.jboat as jboat

SCRIPT = Path(__file__).parent / "$path"
ARGUMENTS = $script_arguments


def problem(seed$arguments):
    """Build the problem: run the script until its first iteration. Its feeds serve all iterations."""
    jt.set_global_seed(seed)
    script = jboat.read_script(SCRIPT, ARGUMENTS)
    return jboat.as_problem(
        script.config["upper_level_model"],
        script.config["lower_level_model"],
        script.losses,
        script.feeds,
        upper_var=script.config["upper_level_var"],
        lower_var=script.config["lower_level_var"],
        name="$name",$keywords
    )
''')


@dataclass(frozen=True)
class Origin:
    """Where a problem's models and feeds come from.

    Args:
        models, feeds: MODULE:FUNCTION of the user's; None for functions to be filled in.
        script: a script and its arguments instead of both.
    """

    models: str | None = None
    feeds: str | None = None
    script: Sequence[str] | None = None

    @property
    def missing(self) -> list[str]:
        """The functions that are to be filled in."""
        if self.script:
            return []
        return [name for name, place in (("models", self.models), ("feeds", self.feeds)) if place is None]


def write(plan: Plan, source: Source, losses: Source, folder: Path, origin: Origin) -> tuple[Path, Path]:
    """Write both files into a folder, which is made if it is not there. Return their paths.

    Args:
        plan: what to write.
        source, losses: JBOAT's files.
        folder: where to write.
        origin: where models and feeds come from.

    Raises:
        RunError: one of the files exists, or cannot be written. Nothing is written then.
        ConfigError: the loss_config lacks a function.
    """
    stem = re.sub(r"\W", "_", Path(source.file).stem)
    yaml, module = folder / f"{stem}.yaml", folder / f"{stem}_problem.py"
    for path in (yaml, module):
        if path.exists():
            raise RunError(f"{path} exists; choose another folder with -o, or remove it")
    text = _from_script(plan, source, losses, yaml, origin.script) if origin.script else None
    texts = _yaml(plan, source, losses, module.stem), text or _module(plan, source, losses, yaml, origin)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip((yaml, module), texts):
            path.write_text(text, "utf8")
    except OSError as error:
        raise RunError(f"{folder}: {error.strerror}") from None
    return yaml, module


def _yaml(plan: Plan, source: Source, losses: Source, module: str) -> str:
    lines = [
        f"# From {Path(source.file).name} and {Path(losses.file).name}, by `boat convert`.",
        f"problem: {module}:problem",
    ]
    if plan.alpha:
        lines += [
            "# gda_loss gets alpha for each lower step: these must be as many as solver.lower_steps.",
            f"problem_options: {{lower_steps: {plan.solver['lower_steps']}}}",
        ]
    lines.append("solver:")
    for key, value in plan.solver.items():
        if key == "options":
            lines += ["  options:", *(f"    {name}: {_flow(values)}" for name, values in value.items())]
        else:
            lines.append(f"  {key}: {_flow(value)}")
    lines += [f"run: {_flow(plan.run)}", "", "# What changed:"]
    for reason in plan.reasons:
        change = " -> ".join(part for part in (reason.theirs, reason.ours) if part)
        lines.append("#   " + ": ".join(part for part in (change, reason.why) if part))
    return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    """Return a value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) and value.replace("_", "").isalnum() else json.dumps(value)


def _from_script(plan: Plan, source: Source, losses: Source, yaml: Path, script: Sequence[str]) -> str:
    path, *arguments = script
    alpha = f"\n        alpha={plan.alpha!r},\n        lower_steps=lower_steps," if plan.alpha else ""
    return _SCRIPT.substitute(
        boat_config=Path(source.file).name,
        loss_config=Path(losses.file).name,
        script=Path(path).name,
        yaml=yaml.name,
        path=os.path.relpath(Path(path).resolve(), yaml.parent.resolve()),
        script_arguments=json.dumps(arguments),
        arguments=", lower_steps" if plan.alpha else "",
        name=yaml.stem,
        keywords=alpha,
    )


def _module(plan: Plan, source: Source, losses: Source, yaml: Path, origin: Origin) -> str:
    keys = ["lower_level_loss", "upper_level_loss", *(["gda_loss"] if plan.alpha else [])]
    names = {key: losses.section(key).require("function", "the name of a function") for key in keys}
    parameters = {key: losses.section(key).find("params") or {} for key in keys}
    imports, lines, own = [], [], {}
    for key, path in names.items():
        module, _, name = str(path).rpartition(".")
        lines.append(f"from {module} import {name}")
        own[key] = name
    for role, place in (("models", origin.models), ("feeds", origin.feeds)):
        if place is not None:
            module, _, name = place.partition(":")
            lines.append(f"from {module} import {name}" + (f" as {role}" if name != role else ""))
    modules = [line.split()[1] for line in lines]
    folders = _folders(modules, source, losses, yaml.parent)
    if folders or any(parameters.values()):
        imports += ["import sys"] if folders else []
        imports += ["from functools import partial"] if any(parameters.values()) else []
        imports += ["from pathlib import Path"] if folders else []
    functions = "\n".join(f'    "{key}": {_call(own[key], parameters[key])},' for key in keys)
    alpha = f", alpha={plan.alpha!r}, lower_steps=lower_steps" if plan.alpha else ""
    before = [f'sys.path.insert(0, str(Path(__file__).parent / "{folder}"))' for folder in folders]
    return _MODULE.substitute(
        boat_config=Path(source.file).name,
        loss_config=Path(losses.file).name,
        yaml=yaml.name,
        imports="\n" + "\n".join(imports) + "\n" if imports else "",
        losses="\n" + "\n".join([*before, *lines]) + "\n",
        functions=functions,
        models="" if origin.models else _MODELS,
        feeds="" if origin.feeds else _FEEDS.format(lists=", each a list with a dictionary for each task" * plan.tasks),
        arguments=", lower_steps" if plan.alpha else "",
        keywords=alpha,
        name=yaml.stem,
    )


def _call(name: str, parameters: dict[str, object]) -> str:
    """Return a function with its `params`, as source."""
    bound = "".join(f", {key}={value!r}" for key, value in parameters.items())
    return f"partial({name}{bound})" if parameters else name


def _folders(modules: list[str], source: Source, losses: Source, target: Path) -> list[str]:
    """Return the folders, relative to the module, from which its imports are found."""
    near = [Path.cwd(), *(Path(file).resolve().parent for file in (losses.file, source.file))]
    found = [folder_of_module(name, near) for name in modules]
    target = target.resolve()
    return list(dict.fromkeys(os.path.relpath(folder, target) for folder in found if folder is not None))
