"""Classes that a script registers with `register_class` take part in chains, beside BOAT's operations."""

from __future__ import annotations

import jboat_quadratic as quadratic
import jittor as jt
import numpy as np
import pytest
from jboat_material import L2, Parameter, loss_config, problem
from jboat_quadratic import CASE

import boat_compat.jboat as jboat
import boat_core as boat
from boat_compat.jboat import utils
from boat_core.testing import assert_close

pytestmark = pytest.mark.usefixtures("single_operators")
LOSSES = loss_config("jboat_quadratic")


@pytest.fixture
def register():
    """`register(cls)`: register a class until the end of the test."""
    before = dict(jboat.Operation_REGISTRY)
    yield jboat.register_class
    jboat.Operation_REGISTRY.clear()
    jboat.Operation_REGISTRY.update(before)


def gradient_of(chain, **changes):
    built = problem(L2, LOSSES, Parameter(CASE.x), Parameter(CASE.y), chain, **changes)
    (gradient,), _ = built.run_iter({}, {}, current_iter=0)
    return gradient.numpy()


class Unrolled(jboat.HyperGradient):
    """RAD, as a script would write it: the derivative of F at the parameters that carry the graph of the steps."""

    def compute_gradients(
        self, ll_feed_dict, ul_feed_dict, auxiliary_model, max_loss_iter=0, next_operation=None, **kwargs
    ):
        assert next_operation is None
        loss = self.ul_objective(ul_feed_dict, self.ul_model, auxiliary_model, params=kwargs["lower_model_params"])
        utils.update_tensor_grads(self.ul_var, jt.grad(loss, self.ul_var))
        return {"upper_loss": loss.item(), "hyper_gradient_finished": True}


def test_an_estimator_whose_derivatives_go_through_the_steps(register):
    register(Unrolled)
    for ends in ("{}", "PTT,{}"):
        own, ours = (gradient_of(("GDA,NGD", ends.format(name))) for name in ("Unrolled", "RAD"))
        assert_close(own, ours)


class Implicit(jboat.HyperGradient):
    """CG from the helpers of `utils`: Φ = y - lr ∇f, products by `fp_map`."""

    def compute_gradients(self, ll_feed_dict, ul_feed_dict, auxiliary_model, **kwargs):
        y = [p.detach() for p in auxiliary_model.parameters()]
        models = self.ul_model, auxiliary_model
        upper_loss = self.ul_objective(ul_feed_dict, *models, params=y)
        lower_loss = self.ll_objective(ll_feed_dict, *models, params=y)

        def fp_map(params, loss):
            return [p - boat.scaled(0.1, g) for p, g in zip(params, jt.grad(loss, params, retain_graph=True))]

        solve = {"conjugate_gradient": 2, "neumann": 2}
        name = self.solver_configs["helper"]
        gradients = getattr(utils, name)(y, self.ul_var, upper_loss, lower_loss, solve[name], fp_map)
        utils.update_tensor_grads(self.ul_var, gradients)


@pytest.mark.parametrize(("helper", "ours"), [("conjugate_gradient", "CG"), ("neumann", "NS")])
def test_an_estimator_from_the_helpers(register, helper, ours):
    register(Implicit)
    assert_close(gradient_of(("NGD", "Implicit"), helper=helper), gradient_of(("NGD", ours)), 1e-7)


class Doubled(jboat.na_ol.CG):
    """BOAT's CG, twice."""

    def compute_gradients(self, **kwargs):
        result = super().compute_gradients(**kwargs)
        utils.update_tensor_grads(self.ul_var, [self.ul_var[0]._custom_grad])
        return result


def test_a_subclass_of_an_operation_of_ours(register):
    register(Doubled)
    assert_close(gradient_of(("NGD", "Doubled")), 2 * gradient_of(("NGD", "CG")))


class Half(jboat.HyperGradient):
    """A selector: the first two steps. The iterates are those of the trajectory."""

    def compute_gradients(self, auxiliary_model, next_operation=None, **kwargs):
        assert next_operation == "RAD"
        for t, iterate in enumerate(CASE.iterates(2, 0.1)):
            assert_close(auxiliary_model.parameters(time=t)[0].numpy(), iterate)
        return {**kwargs, "max_loss_iter": 2}


def test_a_selector(register):
    register(Half)
    assert_close(gradient_of(("NGD", "Half,RAD")), CASE.unrolled_hypergradient(2, 0.1))


class Proximal(jboat.DynamicalSystem):
    """Steps on f + ‖y‖²; a script's own map."""

    def optimize(self, ll_feed_dict, ul_feed_dict, auxiliary_model, auxiliary_opt, current_iter, **kwargs):
        for _ in range(self.lower_loop):
            loss = self.ll_objective(ll_feed_dict, self.ul_model, auxiliary_model)
            y = auxiliary_model()
            auxiliary_opt.step(loss + (y * y).sum())
        return {"auxiliary_model": auxiliary_model}


@pytest.mark.parametrize("ends", ["RAD", "CG", "PTT,RAD"])
def test_a_map_whose_loss_all_other_operations_see(register, ends):
    register(Proximal)
    own = boat.Problem(
        quadratic.bilevel().upper_objective,
        lambda x, y, batch: quadratic._f(x[0], y[0]) + (y[0] * y[0]).sum(),
        [CASE.x],
        [CASE.y],
    )
    options = {"CG": {"max_iterations": 2, "tolerance": 1e-10}} if ends == "CG" else {}
    rates = {"lower_optimizer": boat.sgd(0.1), "upper_optimizer": boat.sgd(0.1)}
    solver = boat.Solver(own, approximate=ends.split(","), options=options, lower_steps=5, **rates)
    assert_close(gradient_of(("Proximal", ends)), solver.hypergradient().upper[0].numpy())


class Aggregating(jboat.gm_ol.GDA):
    """GDA of the script's own: it hands the aggregate on, and another α."""

    def optimize(self, **kwargs):
        return {**super().optimize(**kwargs), "gda_loss": quadratic.aggregate, "alpha": 0.3}


def test_a_modifier_that_hands_an_aggregate_on(register):
    register(Aggregating)
    changed = gradient_of(("GDA,NGD", "RAD"), GDA={"alpha_init": 0.3, "alpha_decay": 0.9})
    assert_close(gradient_of(("Aggregating,NGD", "RAD")), changed)


class Alternating(jboat.DynamicalSystem):
    """A first-order method: y one step on f, x along ∇_x F."""

    def __init__(self, *arguments, ll_var, ul_var, **keywords):
        super().__init__(*arguments, **keywords)
        self.ll_var, self.ul_var = ll_var, ul_var

    def optimize(self, ll_feed_dict, ul_feed_dict, current_iter):
        loss = self.ll_objective(ll_feed_dict, self.ul_model, self.ll_model)
        utils.update_tensor_grads(self.ll_var, jt.grad(loss, self.ll_var))
        utils.manual_update(self.solver_config["lower_level_opt"], self.ll_var)
        loss = self.ul_objective(ul_feed_dict, self.ul_model, self.ll_model)
        utils.update_tensor_grads(self.ul_var, jt.grad(loss, self.ul_var))
        return {"upper_loss": loss.item()}


def test_a_first_order_method(register):
    register(Alternating)
    lower_model = Parameter(CASE.y)
    built = problem(L2, LOSSES, Parameter(CASE.x), lower_model, "Alternating")
    (gradient,), _ = built.run_iter({}, {}, current_iter=0)
    assert_close(gradient.numpy(), CASE.rho * CASE.x)
    assert_close(lower_model.value.numpy(), CASE.iterates(1, 0.1)[1], 1e-7)


def test_what_a_class_must_do(register):
    class Silent(jboat.HyperGradient):
        def compute_gradients(self, **kwargs):
            return {}

    class Short(jboat.DynamicalSystem):
        def optimize(self, auxiliary_opt, auxiliary_model, **kwargs):
            auxiliary_opt.step((auxiliary_model() ** 2).sum())

    register(Silent)
    register(Short)
    with pytest.raises(boat.OperationError, match="Silent.*_custom_grad"):
        gradient_of(("NGD", "Silent"))
    with pytest.raises(boat.OperationError, match="Short.optimize took 1 lower steps"):
        gradient_of(("Short", "RAD"))


def test_chains_of_classes():
    """The makers, the order of groups, and the rules that scripts change."""
    assert jboat.validate_and_adjust_order(["NGD", "DI", "Own"], [["GDA", "DI"], ["NGD", "DM"]]) == ["DI", "NGD", "Own"]
    rules = jboat.HyperGradientRules
    before = rules.get_gradient_order()
    rules.set_gradient_order([["CG"], ["PTT"]])
    arguments = {
        key: {} for key in ("ll_objective", "ul_objective", "ul_model", "ll_model", "ll_var", "ul_var", "solver_config")
    }
    chain = jboat.makes_functional_na_operation(["PTT", "CG"], **arguments)
    rules.set_gradient_order(before)
    assert [type(one).__name__ for one in chain.gradient_instances] == ["CG", "PTT"]
    assert chain.custom_order == ["PTT", "CG"]
    with pytest.raises(ValueError, match="list of lists"):
        rules.set_gradient_order(["CG"])
    with pytest.raises(ValueError, match="'CGG' is not registered; did you mean 'CG'"):
        jboat.get_registered_operation("CGG")


def test_helpers():
    a, b = jt.array([3.0, 4.0]), jt.array([1.0])
    assert utils.list_tensor_norm([a, b]).item() == pytest.approx(26**0.5)
    assert utils.list_tensor_matmul([a, b], [a, b]).item() == pytest.approx(26)
    assert utils.cat_list_to_tensor([a, b]).tolist() == [3.0, 4.0, 1.0]
    assert utils.l2_reg([a, b]).item() == pytest.approx(26)
    matrix = jt.array([[2.0, 0.5], [0.5, 1.0]])
    (solution,) = utils.cg_step(lambda v: [(matrix * v[0].reshape((1, -1))).sum(dim=1)], [a], epsilon=1e-6)
    assert_close(solution.numpy(), np.linalg.solve(matrix.numpy(), a.numpy()), 1e-5)
    # The factor is held fixed: d(a · a)/da with the factor a is a times the derivative of a, not 2a.
    (product,) = utils.custom_grad([a * a], [a], [a])
    assert_close(product.numpy(), 2 * a.numpy() ** 2, 1e-6)
    utils.update_tensor_grads([a], [jt.array([1.0, 2.0])])
    utils.manual_update(jt.nn.SGD([a], lr=0.5), [a])
    assert a.tolist() == [2.5, 3.0] and a._custom_grad is None
