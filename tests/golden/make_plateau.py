"""Writes plateau.json: what PyTorch's ReduceLROnPlateau makes of a few metrics, step by step.

  python3 tests/golden/make_plateau.py >tests/golden/plateau.json      (made with PyTorch 2.11.0)
"""

import json
import math
import random

import torch

CASES = [
    {},
    {"patience": 2},
    {"patience": 0, "threshold": 0.0},
    {"patience": 1, "threshold": 0.05, "factor": 0.5},
    {"patience": 1, "cooldown": 3, "factor": 0.3},
    {"patience": 0, "factor": 0.2, "min_lr": 0.003},
    {"patience": 0, "factor": 0.01, "cooldown": 1},  # down to where a change is too small to be made
    {"mode": "max", "patience": 2, "threshold": 0.02, "cooldown": 1},
]


def metrics_of(mode, seed):
    """Falls (rises) towards a level, with noise."""
    noise = random.Random(seed)
    values = [2.0 * math.exp(-i / 12) + 0.3 + 0.1 * noise.random() for i in range(80)]
    return [round(v if mode == "min" else 1 / v, 6) for v in values]


def run(case, seed):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **case)
    metrics = metrics_of(case.get("mode", "min"), seed)
    lrs = []
    for metric in metrics:
        scheduler.step(metric)
        lrs.append(optimizer.param_groups[0]["lr"])
    return {"options": case, "metrics": metrics, "lrs": lrs}


print("[")
print(",\n".join(json.dumps(run(case, seed)) for seed, case in enumerate(CASES)))
print("]")
