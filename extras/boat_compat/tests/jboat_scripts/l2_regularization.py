"""JBOAT's L2 example on a small text data set: one penalty for each word, learned on a validation half."""

import argparse
import json
import os

import boat_jit as boat
import jittor as jit
import numpy as np

TEXTS = (
    "the team won the game in the last minute and the coach praised the players",
    "a late goal gave the visitors the match and the league title this season",
    "the goalkeeper saved two shots and the players celebrated the win",
    "fans cheered as the coach and the team lifted the cup after the game",
    "the rocket reached orbit and the satellite opened its solar panels",
    "astronauts on the station repaired the telescope during a long space walk",
    "the probe sent images of the planet and its moon back to earth",
    "a new telescope in orbit will look at the light of distant galaxies",
    "the compiler reports an error when the program calls an unknown function",
    "this patch fixes a bug in the driver and makes the disk faster",
    "install the new software and restart the machine to load the driver",
    "the program reads a file from the disk and prints every line of text",
)
BASE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(BASE, "configs_jit/boat_config_l2.json")) as f:
    boat_config = json.load(f)
with open(os.path.join(BASE, "configs_jit/loss_config_l2.json")) as f:
    loss_config = json.load(f)


def get_data():
    words = sorted({word for text in TEXTS for word in text.split()})
    counts = np.array([[text.split().count(word) for word in words] for text in TEXTS], dtype=np.float32)
    counts /= np.linalg.norm(counts, axis=1, keepdims=True)
    labels = np.repeat(np.arange(3), 4)
    train, val = np.arange(0, 12, 2), np.arange(1, 12, 2)
    return [(jit.array(counts[rows]), jit.array(labels[rows])) for rows in (train, val)]


def evaluate(y, testset):
    with jit.no_grad():
        data, labels = testset
        logits = data @ y
        loss = jit.nn.cross_entropy_loss(logits, labels).item()
        accuracy = (logits.numpy().argmax(axis=-1) == labels.numpy()).mean()
    return loss, accuracy


class UpperModel(jit.Module):
    def __init__(self, n_feats):
        self.x = jit.init.constant([n_feats], "float32", 0.0).clone()

    def execute(self):
        return self.x


class LowerModel(jit.Module):
    def __init__(self, n_feats, num_classes):
        self.y = jit.zeros([n_feats, num_classes])
        jit.init.kaiming_normal_(self.y, a=0, mode="fan_in", nonlinearity="leaky_relu")

    def execute(self):
        return self.y


def main(argv=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--gm_op", type=str, default="DI,GDA,NGD")
    parser.add_argument("--na_op", type=str, default="CG")
    parser.add_argument("--fo_op", type=str, default=None)
    args = parser.parse_args(argv)
    np.random.seed(1)
    jit.set_global_seed(1)

    trainset, valset = get_data()
    upper_model = UpperModel(trainset[0].shape[-1])
    lower_model = LowerModel(trainset[0].shape[-1], int(trainset[1].max().item()) + 1)
    upper_opt = jit.nn.Adam(upper_model.parameters(), lr=0.01)
    lower_opt = jit.nn.SGD(lower_model.parameters(), lr=0.01)
    gm_op = args.gm_op.split(",") if args.gm_op else None
    na_op = args.na_op.split(",") if args.na_op else None

    if na_op is not None and "RGT" in na_op:
        boat_config["RGT"]["truncate_iter"] = 1
    boat_config["gm_op"] = gm_op
    boat_config["na_op"] = na_op
    boat_config["fo_op"] = args.fo_op
    boat_config["lower_level_model"] = lower_model
    boat_config["upper_level_model"] = upper_model
    boat_config["lower_level_opt"] = lower_opt
    boat_config["upper_level_opt"] = upper_opt
    boat_config["lower_level_var"] = list(lower_model.parameters())
    boat_config["upper_level_var"] = list(upper_model.parameters())

    b_optimizer = boat.Problem(boat_config, loss_config)
    b_optimizer.build_ll_solver()
    b_optimizer.build_ul_solver()

    ul_feed_dict = {"data": trainset[0], "target": trainset[1]}
    ll_feed_dict = {"data": valset[0], "target": valset[1]}
    maps = boat_config["gm_op"] or []
    iterations = 3 if "DM" in maps and "GDA" in maps else 2
    for x_itr in range(iterations):
        if "DM" in maps and boat_config["fo_op"] is None:
            strategy = "s" + str(x_itr % 3 + 1) if "GDA" in maps else "s1"
            b_optimizer._ll_solver.gradient_instances[-1].strategy = strategy
        loss, run_time = b_optimizer.run_iter(ll_feed_dict, ul_feed_dict, current_iter=x_itr)
        test_loss, test_acc = evaluate(lower_model(), valset)
        print(f"iteration {x_itr}: {len(loss)} {run_time:.3f} s, test loss {test_loss:.4f}, accuracy {test_acc:.2f}")
    return upper_model, lower_model


if __name__ == "__main__":
    main()
