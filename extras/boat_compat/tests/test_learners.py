"""Meta-SGD, MT-net and WarpGrad on a small network of the user's, against central differences in float64."""

from __future__ import annotations

from dataclasses import replace

import boat_core as boat

import jittor as jt  # isort: skip
import numpy as np
import pytest
from jittor import nn

from boat_compat import boml
from boat_core.testing import assert_close, central_differences, flat, upper_value

pytestmark = pytest.mark.usefixtures("single_operators")
RNG = np.random.default_rng(0)
BATCHES = tuple(tuple(jt.array(RNG.normal(size=(5, 2)), dtype="float64") for _ in "xy") for _ in range(2))


def network():
    """A network of the user's in float64, with a layer that is an attribute and two in a sequence."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(2, 3)
            self.rest = nn.Sequential(nn.Tanh(), nn.Linear(3, 2))

        def execute(self, rows):
            return self.rest(self.first(rows))

    net = Net()
    rng = np.random.default_rng(1)
    for layer in (net.first, net.rest[1]):
        layer.weight = jt.array(rng.normal(size=tuple(layer.weight.shape)), dtype="float64")
        layer.bias = jt.array(rng.normal(size=tuple(layer.bias.shape)), dtype="float64")
    return net


def loss(net, batch):
    rows, targets = batch
    error = net(rows) - targets
    return 0.1 * (error * error).sum()


def value(objective, x, y, batch):
    """The value of an objective as a solver evaluates it: exact in float64."""
    return float(boat.value_and_grad(objective, 1)(x, boml.as_jittor(y), boml.as_jittor(batch))[0].numpy()[0])


def settings(name, **more):
    chosen = boml.method(name, **({} if name == "Meta-SGD" else {"learning_rate": 0.3}), **more)
    return {**chosen, "upper_optimizer": boat.sgd(0.1)}


def perturbed(tree, scale=0.3):
    """The same pytree away from the special values at which learners begin."""
    rng = np.random.default_rng(2)
    return (
        boat.Vector.of(tree, "tree")
        .map(lambda leaf: leaf + jt.array(scale * rng.normal(size=tuple(leaf.shape)), dtype="float64"))
        .tree
    )


def at(problem, x):
    return replace(problem, upper=x)


def total_derivative(problem, batches, solver):
    return central_differences(lambda x: upper_value(problem, x, batches, **solver), problem.upper)


def iterates(learner, x, steps, step):
    """y_0 … y_T by hand, in numpy, from the gradient of the plain loss in the weights."""
    net, weights = learner.network, {name: leaf.numpy() for name, leaf in learner.weights(x, learner.lower).items()}
    for _ in range(steps):
        gradient = boat.value_and_grad(lambda w: loss(lambda rows: boat.call(net, w, rows), BATCHES[0]))
        _, g = gradient({name: jt.array(leaf, dtype="float64") for name, leaf in weights.items()})
        weights = {name: leaf - step(name) * g[name].numpy() for name, leaf in weights.items()}
    return weights


def end_of(learner, solver, x):
    return {name: leaf.numpy() for name, leaf in learner.weights(x, solver.lower).items()}


@pytest.mark.parametrize("steps", [1, 3])
def test_rates_of_meta_sgd(steps):
    """Every entry of the start and of the rates has the derivative of F(x, y_T(x)), also where a rate is negative."""
    learner = boml.meta_sgd_learner(network(), 0.1, 0.5, seed=3)
    x = perturbed(learner.upper, 0.4)
    problem, solver = at(learner.problem(loss), x), settings("Meta-SGD", T=steps)
    assert any((leaf.numpy() < 0).any() for leaf in x["rates"].values())
    solved = boat.Solver(problem, **solver)
    assert_close(solved.hypergradient(*BATCHES).upper, total_derivative(problem, BATCHES, solver), 1e-8)
    solved.step(*BATCHES)
    wanted = iterates(learner, x, steps, lambda name: x["rates"][name].numpy())
    assert_close(end_of(learner, solved, x), wanted, 1e-10)


def masked(hard, logit=0.4):
    learner = boml.masked_learner(boml.with_transforms(network()), logit=logit, hard=hard)
    x = perturbed(learner.upper)
    lower = learner.lower_batch(BATCHES[0], np.random.default_rng(5))
    return learner, x, at(learner.problem(loss), x), (lower, BATCHES[1])


def rows_of(learner, x, noise, hard):
    """M in numpy, by layer."""
    soft = {layer: 1 / (1 + np.exp(-(zeta.numpy() + noise[layer]))) for layer, zeta in x["mask_logits"].items()}
    return {layer: np.round(m) if hard else m for layer, m in soft.items()}


@pytest.mark.parametrize("hard", [True, False])
def test_masked_steps_of_mt_net(hard):
    """The steps are W ← W - α M ∘ ∇f, where T stays, and the term that carries the mask leaves f's value alone."""
    learner, x, problem, batches = masked(hard)
    solved = boat.Solver(problem, **settings("MT-net", T=3))
    solved.step(*batches)
    rows = rows_of(learner, x, batches[0][1], hard)
    assert hard <= (0 < sum(m.sum() for m in rows.values()) < sum(map(len, rows.values())))

    def step(name):
        if "transform" in name:
            return 0.0
        m = rows[name.rpartition(".")[0]]
        return 0.3 * (m[:, None] if name.endswith("weight") else m)

    assert_close(end_of(learner, solved, x), iterates(learner, x, 3, step), 1e-10)
    y = solved.lower
    assert all((u.numpy() == 0).all() for u in y["mask"].values())
    plain = value(learner.upper_objective(loss), x, y, BATCHES[0])
    assert value(problem.lower_objective, x, y, batches[0]) == pytest.approx(plain, rel=1e-12)


def test_soft_mask_has_the_derivative_of_the_loss_at_the_end():
    _, _, problem, batches = masked(hard=False)
    solver = settings("MT-net", T=2)
    h = boat.Solver(problem, **solver).hypergradient(*batches).upper
    assert_close(h, total_derivative(problem, batches, solver), 1e-8)


def test_hard_mask_has_the_derivative_of_the_loss_in_m_times_that_of_the_soft_mask():
    """Straight through: dF/dζ = dF/dM at the 0/1 mask, also at rows that are 0, times dσ/dζ."""
    learner, x, problem, batches = masked(hard=True)
    solver, noise = settings("MT-net", T=2), batches[0][1]
    h = boat.Solver(problem, **solver).hypergradient(*batches).upper

    def at_weights(_, weights, batch):
        return loss(lambda u: boat.call(learner.network, weights, u), batch)

    rows = rows_of(learner, x, noise, hard=True)
    for layer, m in rows.items():
        for j in range(len(m)):
            ends = []
            for moved in (1e-5, -1e-5):
                changed = {**rows, layer: m + moved * (np.arange(len(m)) == j)}

                def step(name, changed=changed):
                    if "transform" in name:
                        return 0.0
                    row = changed[name.rpartition(".")[0]]
                    return 0.3 * (row[:, None] if name.endswith("weight") else row)

                end = iterates(learner, x, 2, step)
                ends.append(
                    value(
                        lambda _, weights, batch: loss(lambda u: boat.call(learner.network, weights, u), batch),
                        None,
                        end,
                        BATCHES[1],
                    )
                )
            soft = 1 / (1 + np.exp(-(x["mask_logits"][layer].numpy()[j] + noise[layer][j])))
            wanted = (ends[0] - ends[1]) / 2e-5 * soft * (1 - soft)
            assert h["mask_logits"][layer].numpy()[j] == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    # The start and T are not touched by the rounding: theirs is the derivative of F(x, y_T(x)) itself.
    numbers = total_derivative(problem, batches, solver)
    logits = sum(len(m) for m in rows.values())
    assert_close(flat({k: v for k, v in h.items() if k != "mask_logits"}), numbers[logits:], 1e-8)
    assert np.abs(numbers[:logits]).max() == 0  # a rounded mask does not move with its logits


def test_warp_layers_descend_one_step_ahead_of_every_iterate():
    learner = boml.warped_learner(boml.with_warps(network()))
    x = perturbed(learner.upper)
    problem, solver = at(learner.problem(loss), x), settings("WarpGrad", T=3)
    solved = boat.Solver(problem, **solver)
    h = solved.hypergradient(*BATCHES).upper
    points = [boml.adapt(problem.lower_objective, boat.sgd(0.3), x, learner.lower, BATCHES[0], t) for t in range(3)]

    def objective(x):
        """Σ_t F(x, y_t - α∇f(x, y_t)), y_t as it is at the point."""
        total = 0.0
        for y in points:
            ahead = boml.adapt(problem.lower_objective, boat.sgd(0.3), x, y, BATCHES[0], 1)
            total += value(problem.upper_objective, x, ahead, BATCHES[1])
        return total

    assert_close(h["warp"], central_differences(lambda warp: objective({**x, "warp": warp}), x["warp"]), 1e-8)
    start = central_differences(
        lambda start: upper_value(problem, {**x, "start": start}, BATCHES, **solver), x["start"]
    )
    assert_close(h["start"], start, 1e-8)


def convolutional():
    """A convolutional network in float64."""
    flat = [nn.Tanh(), lambda u: u.reshape((u.shape[0], -1))]
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), *flat, nn.Linear(18, 2))
    rng = np.random.default_rng(4)
    for layer in (net[0], net[3]):
        for name in ("weight", "bias"):
            shape = tuple(getattr(layer, name).shape)
            setattr(layer, name, jt.array(0.5 * rng.normal(size=shape), dtype="float64"))
    return net


@pytest.mark.parametrize("name", ["Meta-SGD", "MT-net", "WarpGrad"])
def test_convolutions_with_layers_behind_them_have_the_right_derivative(name):
    """Along a random direction of x. With one lower step WarpGrad's objective is F(x, y_1(x)), as the others' is."""
    if name == "Meta-SGD":
        learner = boml.meta_sgd_learner(convolutional(), 0.1)
    elif name == "MT-net":
        learner = boml.masked_learner(boml.with_transforms(convolutional()), hard=False)
    else:
        learner = boml.warped_learner(boml.with_warps(convolutional()))
    rng = np.random.default_rng(6)
    batches = [tuple(jt.array(rng.normal(size=s), dtype="float64") for s in ((3, 1, 3, 3), (3, 2))) for _ in range(2)]
    batches[0] = learner.lower_batch(batches[0], rng)
    x = boat.Vector.of(perturbed(learner.upper, 0.1), "x")
    problem, solver = at(learner.problem(loss), x.tree), settings(name, T=1)
    direction = x.map(lambda leaf: jt.array(rng.normal(size=tuple(leaf.shape)), dtype="float64"))
    ends = [upper_value(problem, (x + h * direction).tree, batches, **solver) for h in (1e-5, -1e-5)]
    h = boat.Vector.of(boat.Solver(problem, **solver).hypergradient(*batches).upper, "h")
    assert boat.dot(h, direction) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-7)


def test_layers_behind_others_are_the_identity_at_first():
    rows = tuple(jt.array(RNG.normal(size=shape), dtype="float64") for shape in ((3, 2), (3, 2)))
    images = tuple(jt.array(RNG.normal(size=shape), dtype="float64") for shape in ((3, 1, 3, 3), (3, 2)))
    for make, batch in ((network, rows), (convolutional, images)):
        losses = []
        for change in (lambda net: net, boml.with_warps, boml.with_transforms):
            learner = boml.start_learner(change(make()))
            losses.append(value(learner.upper_objective(loss), None, learner.lower, batch))
        assert losses == pytest.approx([losses[0]] * 3, rel=1e-12)
    names = set(boat.parameters(boml.with_transforms(network())))
    assert {"first.layer.weight", "first.transform.weight", "rest.1.layer.bias", "rest.1.transform.weight"} <= names


def test_batches_are_one_pair_or_tasks_and_get_noise_only_with_a_mask():
    pairs = {"a": (1, 2), "b": (3, 4)}
    for learner in (masked(hard=True)[0], boml.start_learner(network())):
        one = learner.problem(loss, lambda k, rng: (k, 7)).batches(5, np.random.default_rng(0))
        several = learner.problem(loss, lambda k, rng: boat.Tasks(pairs)).batches(5, np.random.default_rng(0)).by_name()
        lowers = [one[0], *(lower for lower, _ in several.values())]
        assert [one[1], *(upper for _, upper in several.values())] == [7, 2, 4]
        assert [lower[0] if learner.masked else lower for lower in lowers] == [5, 1, 3]
        if learner.masked:  # each task has noise of its own
            assert len({str(noise) for _, noise in lowers[1:]}) == 2


def test_a_layer_in_two_places_keeps_one_warp():
    net = network()
    net.again = net.first
    boml.with_warps(net, after=lambda name, layer: layer is net.first)
    assert net.again is net.first and [name for name, _ in net.first.named_children()] == ["layer", "warp"]


def test_wrong_networks_are_refused_with_the_remedy():
    with pytest.raises(boat.StructureError, match=r"expected a network with convolutions.*\(got Tanh\); see `after`"):
        boml.with_warps(nn.Sequential(nn.Tanh()))
    with pytest.raises(boat.StructureError, match=r"expected a convolution or a linear layer \(got Tanh\); see `make`"):
        boml.with_warps(network(), after=lambda name, layer: isinstance(layer, nn.Tanh))
    with pytest.raises(boat.StructureError, match="warp parameters: expected at least one"):
        boml.warped_learner(network())
    with pytest.raises(boat.StructureError, match="head parameters: expected at least one"):
        boml.feature_learner(network(), "heads")
    learner = boml.meta_sgd_learner(network())
    with pytest.raises(boat.BoatError, match="masked_sgd: expected lower variables with the entries"):
        boat.Solver(learner.problem(loss), **settings("MT-net")).step(*BATCHES)
