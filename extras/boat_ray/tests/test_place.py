"""Runs of a sweep as tasks of Ray."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import boat_core as boat
from boat_core.testing import check_place
from boat_ray.options import PlaceOptions
from boat_ray.place import RayPlace


def specs(make_job, tmp_path, **options):
    job = make_job(name="sweep", **options)
    config = Path(job.config.source.name).read_text()
    every = ("run.checkpoint_every=1",)
    return [boat.RunSpec(n, config, (*every, f"run.seed={n}"), str(tmp_path / "runs" / n)) for n in "01"]


def outcomes_of(place, runs):
    handles = {place.submit(spec): spec.name for spec in runs}
    outcomes = {}
    while len(outcomes) < len(handles):
        ended = place.wait([handle for handle in handles if handles[handle] not in outcomes], 5.0)
        outcomes |= {handles[handle]: outcome for handle, outcome in ended.items()}
    return outcomes


@pytest.mark.nightly
def test_the_place_does_what_a_sweep_requires(ray_here, make_job, tmp_path):
    config = Path(make_job(name="sweep").config.source.name).read_text()
    check_place(RayPlace(PlaceOptions(jobs=2)), config, tmp_path / "checked")


def test_a_run_whose_worker_is_killed_goes_on_from_its_checkpoint(ray_here, make_job, tmp_path):
    place = RayPlace(PlaceOptions(jobs=2))
    try:
        assert place.jobs == 2 and place.shares_kernels
        outcomes = outcomes_of(place, specs(make_job, tmp_path, fault="kill", step=2))
    finally:
        place.close()
    assert [outcomes[name].status for name in "01"] == ["finished", "finished"], outcomes
    resumed = [outcomes[name].summary["resumed_from"] for name in "01"]
    assert sorted(resumed, key=str) == [2, None]  # the fault struck one of them
    for name in "01":
        lines = (tmp_path / "runs" / name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["iteration"] for line in lines] == [0, 1, 2]
