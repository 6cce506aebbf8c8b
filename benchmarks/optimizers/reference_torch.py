"""The iterates of every case by `torch.optim`, as JSON. Needs PyTorch: `make peers`."""

from __future__ import annotations

import json

import numpy as np
import torch
from cases import CASES, START, STEPS, Case, gradient

torch.set_default_dtype(torch.float64)  # that of ASGD's step size, which would be rounded to float32


def run(case: Case) -> list[list[float]]:
    name, arguments = case.torch
    y = torch.tensor(START, requires_grad=True)
    optimizer = getattr(torch.optim, name)([y], **arguments)
    iterates = []
    for t in range(1, STEPS + 1):
        y.grad = torch.from_numpy(gradient(y.detach().numpy(), t))
        optimizer.step()
        seen = optimizer.state[y]["ax"] if case.average else y
        iterates.append(np.array(seen.detach()).tolist())
    return iterates


if __name__ == "__main__":
    iterates = {case.name: run(case) for case in CASES if case.torch}
    print(json.dumps({"version": torch.__version__.split("+")[0], "iterates": iterates}))
