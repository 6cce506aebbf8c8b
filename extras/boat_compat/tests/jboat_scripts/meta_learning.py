"""Few-shot learning in JBOAT's words: one convolutional net is both levels' model, and feeds are lists of tasks."""

import json

import boat_jit as boat
import jittor as jit
import numpy as np
from jittor import nn

WAYS, SIZE, TASKS = 2, 4, 2


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()
        self.head = nn.Linear(2 * SIZE, WAYS)
        self.criterion = nn.CrossEntropyLoss()

    def execute(self, images):
        features = self.relu(self.norm(self.conv(images)))
        return self.head(features.mean(dim=3).reshape((features.shape[0], -1)))


def ll_loss(ll_feed_dict, upper_model, lower_model, weights=0.0, **kwargs):
    return lower_model.criterion(lower_model(ll_feed_dict["data"], **kwargs), ll_feed_dict["target"])


def ul_loss(ul_feed_dict, upper_model, lower_model, weights=0.0, **kwargs):
    return lower_model.criterion(lower_model(ul_feed_dict["data"], **kwargs), ul_feed_dict["target"])


def main(config_path, na_op="IAD", iterations=3):
    np.random.seed(0)
    jit.set_global_seed(0)
    net = ConvNet()
    with open(config_path) as file:
        config = json.load(file)
    losses = {
        f"{k}_level_loss": {"function": f"meta_learning.{v}"} for k, v in (("lower", "ll_loss"), ("upper", "ul_loss"))
    }
    config.update(gm_op=["NGD"], na_op=na_op.split(","), accumulate_grad=True, copy_last_param=False)
    config["lower_level_model"] = config["upper_level_model"] = net
    config["lower_level_opt"] = nn.SGD(net.parameters(), lr=0.1)
    config["upper_level_opt"] = nn.Adam(net.parameters(), lr=0.01)
    config["lower_level_var"] = config["upper_level_var"] = list(net.parameters())
    config["return_grad"], config["loss_log_path"], config["lower_iters"] = False, None, 2
    b_optimizer = boat.Problem(config, losses).build_ll_solver().build_ul_solver()

    def tasks():
        images = np.random.rand(TASKS, 2 * WAYS, 1, SIZE, SIZE).astype("float32")
        images[:, WAYS:] += np.linspace(0, 1, SIZE, dtype="float32")
        target = jit.array(np.repeat(np.arange(WAYS), WAYS))
        return [{"data": jit.array(one), "target": target} for one in images]

    before = {name: value.numpy() for name, value in net.state_dict().items()}
    for it in range(iterations):
        loss, run_time = b_optimizer.run_iter(tasks(), tasks(), current_iter=it)
        print(f"{it}: {loss[-1]} in {run_time:.2f} s")
    return before, {name: value.numpy() for name, value in net.state_dict().items()}
