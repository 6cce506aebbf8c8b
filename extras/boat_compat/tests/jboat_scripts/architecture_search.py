"""Architecture search in JBOAT's words: the weights are below, the mixture of operations above, in one model."""

import json

import boat_jit as boat
import jittor as jit
import numpy as np
from jittor import nn


class Cell(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.choices = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])

    def execute(self, data, weights):
        outputs = [weights[n] * choice(data) for n, choice in enumerate(self.choices)]
        return jit.tanh(outputs[0] + outputs[1] + weights[2] * data)


class Network(nn.Module):
    def __init__(self, width=3, classes=2):
        super().__init__()
        self._criterion = nn.CrossEntropyLoss()
        self.cells = nn.ModuleList([Cell(width), Cell(width)])
        self.classifier = nn.Linear(width, classes)
        self._arch_parameters = [1e-3 * jit.randn(3), 1e-3 * jit.randn(3)]
        for parameter in self._arch_parameters:
            parameter.start_grad()

    def arch_parameters(self):
        return self._arch_parameters

    def execute(self, data):
        for cell, alpha in zip(self.cells, self._arch_parameters):
            data = cell(data, nn.softmax(alpha, dim=-1))
        return self.classifier(data)


def ll_loss(ll_feed_dict, upper_model, lower_model, weights=0.0, **kwargs):
    return lower_model._criterion(lower_model(ll_feed_dict["data"], **kwargs), ll_feed_dict["target"])


def ul_loss(ul_feed_dict, upper_model, lower_model, weights=0.0, **kwargs):
    return lower_model._criterion(lower_model(ul_feed_dict["data"], **kwargs), ul_feed_dict["target"])


def main(config_path, na_op="RAD", iterations=3):
    jit.set_global_seed(0)
    model = Network()
    with open(config_path) as file:
        config = json.load(file)
    entries = {"lower_level_loss": "ll_loss", "upper_level_loss": "ul_loss"}
    losses = {k: {"function": f"architecture_search.{v}", "params": {"weights": 0.0}} for k, v in entries.items()}
    config.update(gm_op=["NGD"], na_op=[na_op], lower_iters=1, return_grad=False, loss_log_path=None)
    config["lower_level_model"] = config["upper_level_model"] = model
    config["lower_level_var"], config["upper_level_var"] = list(model.parameters()), model.arch_parameters()
    config["lower_level_opt"] = nn.SGD(model.parameters(), 0.025, momentum=0.9, weight_decay=3e-4)
    config["upper_level_opt"] = nn.Adam(model.arch_parameters(), lr=3e-2, betas=(0.5, 0.999), weight_decay=1e-3)
    b_optimizer = boat.Problem(config, losses)
    b_optimizer.build_ll_solver()
    b_optimizer.build_ul_solver()
    rng = np.random.default_rng(0)
    before = [alpha.numpy() for alpha in model.arch_parameters()]
    for it in range(iterations):
        data = jit.array(rng.normal(size=(2, 6, 3)).astype("float32"))
        target = (data.sum(dim=2) > 0).int32()
        feeds = [{"data": data[n], "target": target[n]} for n in range(2)]
        loss, run_time = b_optimizer.run_iter(*feeds, current_iter=it)
        print("train", it, loss[0], loss[-1], run_time)
    b_optimizer.plot_losses()
    return before, [alpha.numpy() for alpha in model.arch_parameters()], model
