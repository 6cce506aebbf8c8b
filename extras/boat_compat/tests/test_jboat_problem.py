"""What a script may do with `Problem`: feeds, variables, optimizers, flags. The numbers are right in each case."""

from __future__ import annotations

import gc
import json

import jboat_quadratic as quadratic
import jittor as jt
import numpy as np
import pytest
from jboat_material import L2, Parameter, loss_config, problem
from jboat_quadratic import CASE

import boat_core as boat
from boat_core.testing import assert_close

pytestmark = pytest.mark.usefixtures("single_operators")
LOSSES = loss_config("jboat_quadratic")
META_LOSSES = loss_config("jboat_quadratic", lower="meta_lower", upper="meta_upper")


@pytest.fixture
def models():
    return Parameter(CASE.x), Parameter(CASE.y)


def own_solver(**more):
    optimizers = {"lower_optimizer": boat.sgd(0.1), "upper_optimizer": boat.sgd(0.05)}
    return boat.Solver(quadratic.bilevel(), **{"lower_steps": 5, **optimizers, **more})


# What run_iter returns and leaves


def test_run_iter_returns_a_log_and_seconds(models, capsys, tmp_path):
    path = tmp_path / "log.json"
    built = problem(L2, LOSSES, *models, ("NGD", "PTT,RAD"), return_grad=False, loss_log_path=str(path))
    for k in range(3):
        log, seconds = built.run_iter({}, {}, current_iter=k)
    assert [list(entry) for entry in log] == [["dynamic_results_0"], ["gradient_operator_results"]]
    assert 1 <= log[0]["dynamic_results_0"] <= 5
    loss = log[-1]["gradient_operator_results"]["upper_loss"]
    assert f"{log:.4f}" == f"{loss:.4f}" and float(log) == loss and seconds > 0
    assert capsys.readouterr().out.count("\n") == 1, "one notice, and nothing else"
    assert json.loads(path.read_text()) == built.loss_history and len(built.loss_history) == 3
    built.plot_losses()
    assert (tmp_path / "loss_curve.png").read_bytes()[:4] == b"\x89PNG"


def test_the_callers_dictionaries_are_not_changed(models):
    feeds, before = {"data": 1}, {"data": 1}
    built = problem(L2, LOSSES, *models, ("GDA,NGD", "RAD"), return_grad=False)
    config = dict(built.boat_configs)
    built.run_iter(feeds, feeds, current_iter=0)
    assert feeds == before and built.boat_configs == config


def test_return_grad_leaves_x_and_does_not_add_up(models):
    built = problem(L2, LOSSES, *models, copy_last_param=False)
    (first,), _ = built.run_iter({}, {}, current_iter=0)
    (second,), _ = built.run_iter({}, {}, current_iter=1)
    assert_close(second.numpy(), first.numpy())
    assert_close(models[0].value.numpy(), CASE.x)
    assert_close(models[1].value.numpy(), CASE.y)


@pytest.mark.parametrize("keep", [True, False])
def test_copy_last_param(models, keep):
    built = problem(L2, LOSSES, *models, return_grad=False, copy_last_param=keep)
    built.run_iter({}, {}, current_iter=0)
    assert_close(models[1].value.numpy(), CASE.iterates(5, 0.1)[-1] if keep else CASE.y)


@pytest.mark.parametrize("maps", ["NGD", "DI,NGD"])
def test_weights_that_the_script_writes_are_where_y_starts(models, maps):
    """Also with DI, whose start is else the one that it has learned."""
    built = problem(L2, LOSSES, *models, (maps, "RAD"))
    built.run_iter({}, {}, current_iter=0)
    models[1].value.update(jt.array(CASE.y, dtype="float64"))
    (gradient,), _ = built.run_iter({}, {}, current_iter=1)
    assert_close(gradient.numpy(), own_solver().hypergradient().upper[0].numpy())


# Feeds


def shifted(name):
    """The loss of this name, with y moved by the feed's "shift"."""

    def loss(feed, upper_model, lower_model, weights=0.0, **kwargs):
        y = lower_model(**kwargs) + feed["shift"]
        x = upper_model()
        return {"lower": quadratic._f, "upper": quadratic._F}[name](x, y)

    return loss


lower, upper = shifted("lower"), shifted("upper")


def task(shift):
    return {"shift": jt.array(np.full(2, shift), dtype="float64")}


def shifted_losses(monkeypatch):
    monkeypatch.setattr(quadratic, "shifted_lower", lower, raising=False)
    monkeypatch.setattr(quadratic, "shifted_upper", upper, raising=False)
    return loss_config("jboat_quadratic", lower="shifted_lower", upper="shifted_upper")


def test_accumulate_grad_sums_over_tasks(models, monkeypatch):
    losses = shifted_losses(monkeypatch)
    shifts = (0.0, 0.3, -0.2)
    separate = [
        problem(L2, losses, Parameter(CASE.x), Parameter(CASE.y)).run_iter(task(s), task(-s), 0)[0][0].numpy()
        for s in shifts
    ]
    built = problem(L2, losses, *models, accumulate_grad=True)
    (total,), _ = built.run_iter([task(s) for s in shifts], [task(-s) for s in shifts], current_iter=0)
    assert_close(total.numpy(), sum(separate))
    assert_close(models[1].value.numpy(), CASE.y)


def test_batches_of_first_order_methods_come_one_after_another(models, monkeypatch):
    losses = shifted_losses(monkeypatch)
    alone = Parameter(CASE.x), Parameter(CASE.y)
    one = problem(L2, losses, *alone, "MESO")
    gradients = [one.run_iter(task(s), task(-s), 0)[0][0].numpy() for s in (0.1, 0.4)]
    built = problem(L2, losses, *models, "MESO", fogm_batch_input=True)
    (total,), _ = built.run_iter([task(0.1), task(0.4)], [task(-0.1), task(-0.4)], current_iter=0)
    assert_close(total.numpy(), sum(gradients))
    assert_close(models[1].value.numpy(), alone[1].value.numpy())


def inverted(ll_feed_dict, ul_feed_dict, upper_model, lower_model, weights=0.0, **kwargs):
    """As the shipped L2 and NAS losses: here α weighs f."""
    alpha = ll_feed_dict["alpha"]
    f, F = (loss({}, upper_model, lower_model) for loss in (quadratic.lower, quadratic.upper))
    return boat.scaled(alpha, f) + boat.scaled(1 - alpha, F)


@pytest.mark.parametrize("ends", ["RAD", "CG"])
def test_the_users_gda_loss_decides_what_alpha_weighs(models, monkeypatch, ends):
    monkeypatch.setattr(quadratic, "inverted", inverted, raising=False)
    losses = loss_config("jboat_quadratic", aggregate="inverted")
    (gradient,), _ = problem(L2, losses, *models, ("GDA,NGD", ends)).run_iter({}, {}, current_iter=0)

    def psi(x, y, batch):
        return boat.scaled(batch["a"], quadratic._f(x[0], y[0])) + boat.scaled(1 - batch["a"], quadratic._F(x[0], y[0]))

    own = boat.Problem(quadratic.bilevel().upper_objective, psi, [CASE.x], [CASE.y])
    options = {"CG": {"max_iterations": 2, "tolerance": 1e-10}} if ends == "CG" else {}
    rates = {"lower_optimizer": boat.sgd(0.1), "upper_optimizer": boat.sgd(0.1)}
    solver = boat.Solver(own, approximate=[ends], options=options, lower_steps=5, **rates)
    alphas = boat.PerStep([{"a": 0.5 * 0.9**t} for t in range(5)])
    assert_close(gradient.numpy(), solver.hypergradient(alphas).upper[0].numpy())


# Optimizers


@pytest.mark.parametrize(
    "make",
    [
        lambda p: jt.nn.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda p: jt.nn.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: jt.nn.SGD(p, lr=0.1, momentum=0.9, dampening=0.3),
        lambda p: jt.nn.Adam(p, lr=0.1, weight_decay=0.1),
        lambda p: jt.nn.AdamW(p, lr=0.1, weight_decay=0.1),
        lambda p: jt.nn.RMSprop(p, lr=0.05),
    ],
    ids=["momentum", "nesterov", "dampening", "adam", "adamw", "rmsprop"],
)
def test_derivatives_through_the_users_lower_optimizer(make):
    """Against central differences of F after five steps of Jittor's optimizer, which rounds some numbers to float32."""

    def value(x):
        model = Parameter(CASE.y)
        optimizer = make([model.value])
        upper_value = jt.array(x, dtype="float64")
        for _ in range(5):
            optimizer.step(quadratic._f(upper_value, model.value))
        return float(quadratic._F(upper_value, model.value).numpy()[0])

    h = 1e-3
    truth = np.array([(value(CASE.x + h * e) - value(CASE.x - h * e)) / (2 * h) for e in np.eye(2)])
    lower_model = Parameter(CASE.y)
    optimizer = make([lower_model.value])
    (gradient,), _ = problem(L2, LOSSES, Parameter(CASE.x), lower_model, lower_level_opt=optimizer).run_iter({}, {}, 0)
    assert_close(gradient.numpy(), truth, 2e-4)
    assert optimizer.n_step == 0, "the script's own lower optimizer is read, not stepped"


def test_the_upper_optimizer_takes_its_own_steps(models):
    """Adam with its state; the gradients are those of a problem that returns them."""
    built = problem(L2, LOSSES, *models, return_grad=False)
    built.boat_configs["upper_level_opt"] = jt.nn.Adam([models[0].value], lr=0.01)
    twin = Parameter(CASE.x), Parameter(CASE.y)
    returning = problem(L2, LOSSES, *twin)
    adam = jt.nn.Adam([twin[0].value], lr=0.01)
    for k in range(3):
        built.run_iter({}, {}, current_iter=k)
        (gradient,), _ = returning.run_iter({}, {}, current_iter=k)
        adam.step((twin[0].value * gradient).sum())
        assert_close(models[0].value.numpy(), twin[0].value.numpy())


class Pair(jt.Module):
    """Two parameters that stand for one vector."""

    def __init__(self, value):
        self.first, self.second = (jt.array(part, dtype="float64") for part in np.split(value, 2))

    def execute(self):
        return jt.concat([self.first, self.second])


def test_parameter_groups():
    """Each group has its own step size on both levels."""
    upper_model, lower_model = Pair(CASE.x), Pair(CASE.y)
    optimizers = {
        f"{level}_level_opt": jt.nn.SGD(
            [{"params": [model.first], "lr": 0.125}, {"params": [model.second], "lr": 0.25}], lr=1.0
        )
        for level, model in (("upper", upper_model), ("lower", lower_model))
    }
    built = problem(L2, LOSSES, upper_model, lower_model, return_grad=False, **optimizers)
    built.run_iter({}, {}, current_iter=0)
    rates = [np.array([0.125]), np.array([0.25])]
    joined = quadratic.bilevel()
    own = boat.Problem(
        lambda x, y, batch: joined.upper_objective([jt.concat(x)], [jt.concat(y)], None),
        lambda x, y, batch: joined.lower_objective([jt.concat(x)], [jt.concat(y)], None),
        np.split(CASE.x, 2),
        np.split(CASE.y, 2),
    )
    solver = boat.Solver(own, lower_optimizer=boat.sgd(rates), upper_optimizer=boat.sgd(rates), lower_steps=5)
    solver.step()
    for model, values in ((upper_model, solver.upper), (lower_model, solver.lower)):
        assert_close(model().numpy(), np.concatenate([value.numpy() for value in values]))


def test_a_schedule_of_the_lower_step_size_acts(models):
    built = problem(L2, LOSSES, *models, copy_last_param=False)
    built.run_iter({}, {}, current_iter=0)
    built.boat_configs["lower_level_opt"].lr = 0.05
    (gradient,), _ = built.run_iter({}, {}, current_iter=1)
    own = own_solver(lower_optimizer=boat.sgd(0.05))
    assert_close(gradient.numpy(), own.hypergradient().upper[0].numpy())


def test_builders_take_optimizers_as_in_2024(models):
    config = problem(L2, LOSSES, *models).boat_configs
    optimizers = [config.pop(f"{level}_level_opt") for level in ("lower", "upper")]
    built = type(problem(L2, LOSSES, *models))(config, LOSSES)
    built.build_ll_solver(optimizers[0])
    built.build_ul_solver(optimizers[1])
    assert len(built.run_iter({}, {}, current_iter=0)[0]) == 1


# Models and variables


class Net(jt.Module):
    """A network with BatchNorm and, in a plain list as in DARTS, parameters that `parameters()` does not find."""

    def __init__(self, dropout=0.0):
        rng = np.random.default_rng(0)
        self.first, self.norm, self.last = jt.nn.Linear(3, 4), jt.nn.BatchNorm1d(4), jt.nn.Linear(4, 2)
        self.dropout = jt.nn.Dropout(dropout, is_train=True)
        self._architecture = [jt.array(rng.normal(size=4).astype("float32"))]

    def arch_parameters(self):
        return self._architecture

    def execute(self, data):
        mixed = self.norm(self.first(data)) * jt.sigmoid(self._architecture[0])
        return self.last(self.dropout(jt.tanh(mixed)))


def net_loss(feed, upper_model, lower_model, weights=0.0, **kwargs):
    error = lower_model(feed["data"], **kwargs) - feed["target"]
    return (error * error).mean()


def net_problem(monkeypatch, chain=("NGD", "RAD"), dropout=0.0, **changes):
    monkeypatch.setattr(quadratic, "net_loss", net_loss, raising=False)
    losses = loss_config("jboat_quadratic", lower="net_loss", upper="net_loss")
    jt.set_global_seed(0)
    net = Net(dropout)
    variables = {"upper_level_var": net.arch_parameters(), "upper_level_opt": jt.nn.SGD(net.arch_parameters(), lr=0.5)}
    return net, problem(L2, losses, net, net, chain, **{"return_grad": False, **variables, **changes})


def net_feeds():
    rng = np.random.default_rng(1)
    rows = [{"data": rng.normal(size=(4, 3)), "target": rng.normal(size=(4, 2))} for _ in range(2)]
    return [{key: jt.array(value.astype("float32")) for key, value in row.items()} for row in rows]


def test_one_model_for_both_levels_and_its_statistics(monkeypatch):
    """x is not among `parameters()`. Statistics move by one evaluation of each loss, as if both were called once."""
    net, built = net_problem(monkeypatch)
    lower_feed, upper_feed = net_feeds()
    start, weight = net.arch_parameters()[0].numpy(), net.first.weight.numpy()
    built.run_iter(lower_feed, upper_feed, current_iter=0)
    assert np.abs(net.arch_parameters()[0].numpy() - start).max() > 1e-6
    assert np.abs(net.first.weight.numpy() - weight).max() > 1e-6
    mean, features = (
        np.zeros(4),
        {key: net.first(feed["data"]).numpy() for key, feed in {"lower": lower_feed, "upper": upper_feed}.items()},
    )
    for rows in features.values():
        mean = mean + 0.1 * (rows.mean(0) - mean)
    assert_close(net.norm.running_mean.numpy(), mean, 1e-5)
    assert not net.first.weight.is_stop_grad() and net.norm.running_mean.is_stop_grad()


def test_random_numbers_are_drawn_anew_in_every_iteration(monkeypatch):
    _net, built = net_problem(monkeypatch, dropout=0.5, return_grad=True, copy_last_param=False)
    gradients = [built.run_iter(*net_feeds(), current_iter=k)[0][0].numpy() for k in range(2)]
    assert np.isfinite(gradients).all() and np.abs(gradients[0] - gradients[1]).max() > 1e-6


def test_evaluation_mode_does_not_stop_the_variables(models):
    """A script that calls eval() for its accuracy, and forgets train()."""
    built = problem(L2, LOSSES, *models, return_grad=False)
    for model in models:
        model.eval()
    built.run_iter({}, {}, current_iter=0)
    own = own_solver()
    own.step()
    assert_close(models[0].value.numpy(), own.upper[0].numpy(), 1e-8)
    assert models[0].value.is_stop_grad()


@pytest.mark.parametrize("chain", [("NGD", "IAD"), ("DI,NGD", "RAD"), "MESO"])
def test_nothing_piles_up_over_iterations(chain):
    """Also where a script writes into its models between iterations."""
    lower_model = Parameter(CASE.y)
    upper_model = lower_model if "IAD" in chain else Parameter(CASE.x)
    built = problem(
        L2, LOSSES if chain[1] != "IAD" else META_LOSSES, upper_model, lower_model, chain, return_grad=False
    )
    living = []
    for k in range(9):
        built.run_iter({}, {}, current_iter=k)
        lower_model.value.update(lower_model.value * 1.0)
        gc.collect()
        living.append(jt.liveness_info()["lived_vars"])
    assert living[3] == living[-1]


def test_inside_no_grad(models):
    built = problem(L2, LOSSES, *models, return_grad=False)
    with jt.no_grad():
        built.run_iter({}, {}, current_iter=0)
    assert np.abs(models[0].value.numpy() - CASE.x).max() > 1e-3 and not models[0].value.is_stop_grad()


def test_a_nan_in_a_feed_is_named_and_changes_nothing(models, monkeypatch):
    losses = shifted_losses(monkeypatch)
    built = problem(L2, losses, *models, return_grad=False)
    with pytest.raises(boat.NonFiniteError, match=r"in ll_feed_dict\['shift'\]"):
        built.run_iter(task(np.nan), task(0.0), current_iter=0)
    assert_close(models[0].value.numpy(), CASE.x)
    assert_close(models[1].value.numpy(), CASE.y)


def test_arrays_in_both_lists_belong_to_the_upper_level(capsys):
    both = Pair(CASE.x)
    lower_model = Parameter(CASE.y)
    lower_model.extra = both.first
    built = problem(L2, LOSSES, both, lower_model)
    assert len(built._engine.levels.y.handles) == 1
    built.run_iter({}, {}, current_iter=0)
    assert "1 arrays of both levels" in capsys.readouterr().out


def proximal(feed, upper_model, lower_model, weights=0.0, **kwargs):
    """iMAML's lower loss: the upper model stands for x while the lower one stands for y."""
    distance = lower_model(**kwargs) - upper_model()
    return quadratic.meta_lower(feed, upper_model, lower_model) + upper_model.strength * (distance * distance).sum()


def test_one_model_holds_x_and_y_at_once(monkeypatch):
    """The upper model that a loss gets is at x, though both levels have the same arrays."""
    monkeypatch.setattr(quadratic, "proximal", proximal, raising=False)
    losses = loss_config("jboat_quadratic", lower="proximal", upper="meta_upper")
    model = Parameter(CASE.y)
    model.strength = 1.0
    built = problem(L2, losses, model, model, ("NGD", "IAD,RAD"))
    (gradient,), _ = built.run_iter({}, {}, current_iter=0)

    def lower_objective(x, y, batch):
        return quadratic._f(None, y[0]) + ((y[0] - x[0]) * (y[0] - x[0])).sum()

    own = boat.Problem(quadratic.bilevel(meta=True).upper_objective, lower_objective, [CASE.y], [CASE.y])
    rates = {"lower_optimizer": boat.sgd(0.1), "upper_optimizer": boat.sgd(0.1)}
    solver = boat.Solver(own, approximate=["IAD", "RAD"], lower_steps=5, **rates)
    assert_close(gradient.numpy(), solver.hypergradient().upper[0].numpy())
    model.strength = 0.0  # what a script sets on its model is seen on both sides
    (without,), _ = built.run_iter({}, {}, current_iter=1)
    y = CASE.y
    for _ in range(5):
        y = y - 0.1 * (CASE.A @ y - CASE.b)
    assert_close(without.numpy(), np.linalg.matrix_power(np.eye(2) - 0.1 * CASE.A, 5) @ (y - CASE.c))


# Names


def test_names_from_before_2025_12_31(models):
    today = problem(L2, LOSSES, *models, "PGDO").boat_configs
    names = {"fo_op": "fo_gm", "gm_op": "dynamic_op", "na_op": "hyper_op", "PGDO": "PGDM", "VSO": "VSM"}
    old = {names.get(key, key): "PGDM" if value == "PGDO" else value for key, value in today.items()}
    old["fo_gm"] = "PGDM"
    built = type(problem(L2, LOSSES, *models))(old, LOSSES).build_ll_solver().build_ul_solver()
    assert len(built.run_iter({}, {}, current_iter=0)[0]) == 1


@pytest.mark.parametrize("chain", [("NGD", "NYSTROM"), ("NGD", "ES"), ("ngd", "rad"), "F2SA", "ALTO", "GAFFO"])
def test_operations_that_jboat_does_not_have(models, chain):
    if {"NYSTROM", "F2SA"} & {chain, chain[-1]}:
        pytest.importorskip("boat_plugins_example")
    sections = {"NYSTROM": {"rank": 2}, "CG": {**L2["CG"], "damping": 0.1}}
    (gradient,), _ = problem(L2, LOSSES, *models, chain, **sections).run_iter({}, {}, current_iter=0)
    assert np.isfinite(gradient.numpy()).all()


def test_settings_of_boat_in_the_configuration(models):
    built = problem(L2, LOSSES, *models, ("NGD", "CG"), CG={**L2["CG"], "damping": 0.5}, boat={"segment": 2})
    (gradient,), _ = built.run_iter({}, {}, current_iter=0)
    truth = CASE.implicit_hypergradient(CASE.iterates(5, 0.1)[-1], damping=0.5)
    assert_close(gradient.numpy(), truth)
