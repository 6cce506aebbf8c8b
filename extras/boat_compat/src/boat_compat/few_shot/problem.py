"""The problem "few-shot": tasks from Omniglot or mini-ImageNet, and a learner of BOML's methods.

    problem: few-shot
    problem_options: {data: …, learner: start, ways: 5, shots: 1, rate: 0.1, steps: 5}

f is the cross-entropy of a task's support images, F that of its query images. `evaluate` adapts to tasks of classes
that training never sees, always the same ones, with `steps` steps at `rate`. It returns the mean accuracy with half the
width of its 95 % interval.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boat_core import ProblemDeclaration, option

from .errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from boat_core import Problem

    from ..boml import Learner
    from .classes import ImageClasses

#: The variable of the environment that names the folder of the data.
VARIABLE = "BOAT_FEW_SHOT_DATA"
LEARNERS = ("start", "features", "meta_sgd", "masked", "warped")
#: Numbers that keep the random numbers of evaluations apart from those of a run.
STREAMS = {"validation": 1, "test": 2}


@dataclass(frozen=True)
class Options:
    data: str | None = option(None, doc=f"folder or zip archive of the images; without it ${VARIABLE}")
    dataset: str = option("omniglot", choices=("omniglot", "mini-imagenet"), doc="what lies there")
    learner: str = option(
        "start", choices=LEARNERS, doc="what x and y are: the learner of a method, see boat_compat.boml"
    )
    ways: int = option(5, ge=2, doc="classes of a task")
    shots: int = option(1, ge=1, doc="support images of each class")
    queries: int = option(15, ge=1, doc="query images of each class in training")
    test_queries: int = option(15, ge=1, doc="query images of each class in an evaluation")
    tasks: int = option(4, ge=1, doc="tasks of an outer step")
    filters: int = option(32, ge=1, doc="filters of each of the four convolutions")
    rate: float = option(0.1, gt=0, doc="rate of the steps of an evaluation; Meta-SGD's rates at first")
    steps: int = option(5, ge=1, doc="steps of an evaluation")
    train_classes: int = option(1100, ge=2, doc="Omniglot: characters for training")
    validation_classes: int = option(100, ge=0, doc="Omniglot: characters for validation; all others are for the test")
    rotations: bool = option(True, doc="Omniglot: turned characters are further classes for training")
    test_tasks: int = option(600, ge=2, doc="tasks of an evaluation")
    score: str = option("test", choices=("test", "validation"), doc="which classes an evaluation draws from")


def classes_of(options: Options) -> tuple[ImageClasses, ImageClasses]:
    """Return the classes for training and for the evaluation.

    Raises:
        DataError: no folder is named, or it does not hold the data.
    """
    from .mini_imagenet import load_mini_imagenet
    from .omniglot import load_omniglot

    folder = options.data or os.environ.get(VARIABLE)
    if not folder:
        expected, hint = f"the folder of {options.dataset}", f"or set the variable {VARIABLE}; nothing is downloaded"
        raise DataError(where="data", expected=expected, got="none", hint=hint)
    if options.dataset == "mini-imagenet":
        return load_mini_imagenet(folder, "train"), load_mini_imagenet(folder, options.score)
    splits = load_omniglot(folder).split(options.train_classes, options.validation_classes)
    training, held_out = splits.part("train"), splits.part(options.score)
    return (training.rotated() if options.rotations else training), held_out


def learner_of(options: Options, channels: int, size: int, seed: int) -> Learner:
    """Return the learner with a new network."""
    import numpy as np

    from .. import boml

    rng = np.random.default_rng([seed, 0])
    pool = options.dataset == "mini-imagenet"
    network = boml.four_blocks(options.ways, options.filters, channels, size, pool, rng)
    if options.learner == "features":
        return boml.feature_learner(network, "head")
    if options.learner == "meta_sgd":
        return boml.meta_sgd_learner(network, options.rate)
    if options.learner == "masked":
        return boml.masked_learner(boml.with_transforms(network))
    if options.learner == "warped":
        return boml.warped_learner(boml.with_warps(network))
    return boml.start_learner(network)


def lower_optimizer(options: Options) -> Any:
    """Return the optimizer of the steps of an evaluation."""
    import boat_core as boat

    from .. import boml

    if options.learner == "meta_sgd":
        return lambda x: boml.meta_sgd(x["rates"])
    return boml.masked_sgd(options.rate) if options.learner == "masked" else boat.sgd(options.rate)


def build(options: Options, seed: int) -> Problem:
    """Return the problem. Reads the images."""
    import boat_core as boat

    from .. import boml
    from .episodes import Episodes

    training, held_out = classes_of(options)
    learner = learner_of(options, training.channels, training.size, seed)
    drawn = Episodes(training, options.ways, options.shots, options.queries)
    fixed = Episodes(held_out, options.ways, options.shots, options.test_queries, seed=STREAMS[options.score])

    def loss(net: Any, batch: Any) -> Any:
        images, labels = batch
        return boml.cross_entropy(net(images), labels)

    def batches(k: int, rng: np.random.Generator) -> boat.Tasks:
        return boat.Tasks([drawn.draw(rng).pair for _ in range(options.tasks)])

    def evaluate(x: Any, y: Any) -> dict[str, float]:
        accuracies = accuracies_of(learner, learner.lower_objective(loss), x, fixed, options)
        return {"accuracy": float(accuracies.mean()), "interval": interval(accuracies)}

    return learner.problem(loss, batches, evaluate=evaluate, name="few-shot")


def accuracies_of(learner: Learner, objective: Any, x: Any, episodes: Any, options: Options) -> np.ndarray:
    """Return the accuracy on the query images of each of the `test_tasks` tasks, after adaptation from x."""
    import numpy as np

    from .. import boml

    optimizer, start = lower_optimizer(options), x if options.learner == "start" else learner.lower
    accuracies = []
    for number in range(options.test_tasks):
        episode = episodes.episode(number)
        support, (images, _) = boml.as_jittor(episode.pair)
        batch = learner.lower_batch(support, np.random.default_rng([STREAMS[options.score], number]))
        y = boml.adapt(objective, optimizer, x, start, batch, options.steps)
        predicted = learner(x, y, images).numpy().argmax(axis=1)
        accuracies.append((predicted == episode.query_labels).mean())
    return np.array(accuracies)


def interval(accuracies: np.ndarray) -> float:
    """Return half the width of the 95 % interval of the mean."""
    return float(1.96 * accuracies.std(ddof=1) / len(accuracies) ** 0.5)


FEW_SHOT = ProblemDeclaration("few-shot", "tasks from Omniglot or mini-ImageNet, for BOML's methods", build, Options)
