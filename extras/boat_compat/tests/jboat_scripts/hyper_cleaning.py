"""Data hyper-cleaning in JBOAT's words: one weight for each training row, a linear classifier below."""

import json

import jboat as boat
import jittor as jit
import numpy as np
from jittor import nn

ROWS, FEATURES, CLASSES = 12, 4, 3


class Net_x(jit.Module):
    def __init__(self, rows):
        self.x = jit.zeros([rows])

    def execute(self, losses):
        return (jit.sigmoid(self.x) * losses).mean()


def ll_loss(ll_feed_dict, upper_model, lower_model, weights=0.0, **kwargs):
    out = lower_model(ll_feed_dict["data"], **kwargs)
    return upper_model(nn.cross_entropy_loss(out, ll_feed_dict["target"], reduction="none"))


def ul_loss(ul_feed_dict, upper_model, lower_model, weights=0.0, **kwargs):
    return nn.cross_entropy_loss(lower_model(ul_feed_dict["data"], **kwargs), ul_feed_dict["target"])


def gda_loss(ll_feed_dict, ul_feed_dict, upper_model, lower_model, weights=0.0, **kwargs):
    alpha = ll_feed_dict["alpha"]
    upper = ul_loss(ul_feed_dict, upper_model, lower_model, **kwargs)
    return alpha * upper + (1 - alpha) * ll_loss(ll_feed_dict, upper_model, lower_model, **kwargs)


def main(config_path, gm_op="NGD", na_op="RAD", iterations=30):
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(CLASSES, FEATURES))
    labels = np.arange(ROWS) % CLASSES
    rows = [(centres[labels] + 0.3 * rng.normal(size=(ROWS, FEATURES))).astype("float32") for _ in range(2)]
    noisy = labels.copy()
    corrupt = np.arange(ROWS) < 4
    noisy[corrupt] = (labels[corrupt] + 1) % CLASSES

    jit.set_global_seed(0)
    x, y = Net_x(ROWS), nn.Sequential(nn.Linear(FEATURES, CLASSES))
    with open(config_path) as file:
        config = json.load(file)
    names = {"lower_level_loss": "ll_loss", "upper_level_loss": "ul_loss", "gda_loss": "gda_loss"}
    losses = {k: {"function": f"hyper_cleaning.{v}", "params": {"weights": 0.0}} for k, v in names.items()}
    config.update(gm_op=gm_op.split(","), na_op=na_op.split(","), lower_level_model=y, upper_level_model=x)
    config["lower_level_opt"] = nn.SGD(y.parameters(), lr=0.5)
    config["upper_level_opt"] = nn.Adam(x.parameters(), lr=0.3)
    config["lower_level_var"], config["upper_level_var"] = y.parameters(), x.parameters()
    config["return_grad"], config["loss_log_path"] = False, None
    solver = boat.Problem(config, losses)
    solver.build_ll_solver()
    solver.build_ul_solver()
    for it in range(iterations):
        ll = {"data": jit.array(rows[0]), "target": jit.array(noisy)}
        ul = {"data": jit.array(rows[1]), "target": jit.array(labels)}
        loss, run_time = solver.run_iter(ll, ul, current_iter=it)
        if it % 10 == 0:
            print(f"Iteration {it}: Loss = {loss:.4f}, Time = {run_time:.4f}")
    return jit.sigmoid(x.x).numpy(), corrupt
