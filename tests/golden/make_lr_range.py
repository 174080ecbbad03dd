#!/usr/bin/env python3
"""Writes lr_range.json: LR range tests and what fastai's finder (v2) suggests for them.

    python3 tests/golden/make_lr_range.py > tests/golden/lr_range.json      (Python 3, nothing else)

A second implementation of the published procedure, in other words than trainer/optim/lr_range.cpp:
  ramp       lr_i = from (to/from)^(i/n), or linear
  smoothing  value = beta value + (1 - beta) loss from 0, divided by 1 - beta^count; beta = 0.98
  stop       smoothed > 4 best; here not within the first n//10 points
  kept       points n//10 to -5 of the record; of a record that ends with NaN all before it, where
             the record is thought to go on with NaN to its n points
  valley, slide, minimum, steep of the kept, smoothed losses
Losses are exact in binary or come from a generator that both languages have no part in: they stand in the file.
"""

import json
import math


class Noise:
    """Numbers in (-1, 1), the same everywhere."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state * 1103515245 + 12345) % 2**31
        return self.state / 2**30 - 1


def ramp(case):
    a, b, n = case["from"], case["to"], case["steps"]
    if case["ramp"] == "linear":
        return [a + (b - a) * i / n for i in range(n)]
    return [math.exp(math.log(a) + (math.log(b) - math.log(a)) * i / n) for i in range(n)]


def record(case):
    """Smoothed losses up to where the test stops, and why it did."""
    n, value, best, smoothed = case["steps"], 0.0, math.inf, []
    for count, loss in enumerate(case["losses"][:n], start=1):
        if loss is None:
            return smoothed, "not_finite"
        value = 0.98 * value + 0.02 * loss
        smoothed.append(value / (1 - 0.98**count))
        best = min(best, smoothed[-1])
        if smoothed[-1] > 4 * best and count > n // 10:
            return smoothed, "diverged"
    return smoothed, "whole"


def kept(smoothed, why, n):
    if why == "not_finite":
        padded = smoothed + [math.nan] * (n - len(smoothed))
        return [x for x in padded[n // 10 : -5] if not math.isnan(x)]
    return smoothed[n // 10 : -5]


def valley(losses):
    """Index, -1 for the one before the first."""
    longest = []
    for i, loss in enumerate(losses):
        longest.append(1 + max((longest[j] for j in range(i) if losses[j] > loss), default=0))
    most = max(longest)
    if most == 1:
        return 0
    end = longest.index(most)
    start = end - most
    sections = (end - start) / 3
    return start + int(sections) + int(sections / 2)


def steep(lrs, losses):
    grads = [(b - a) / math.log(r / q) for a, b, q, r in zip(losses, losses[1:], lrs, lrs[1:])]
    return grads.index(min(grads))


def slide(losses, lr_diff=15, threshold=0.005):
    n = len(losses)
    if n <= lr_diff:
        return None
    grad = [(losses[min(i + 1, n - 1)] - losses[max(i - 1, 0)]) / (min(i + 1, n - 1) - max(i - 1, 0)) for i in range(n)]
    answer, right = n - 1 - lr_diff, n - 1
    for left in range(n - 1 - lr_diff, -1, -1):
        if abs(grad[right] - grad[left]) <= threshold:
            break
        answer, right = left, right - 1
    return answer


def bowl(lr, lowest_at, depth, start=2.3):
    """Falls in log lr down to lowest_at, rises steeply after it."""
    x = math.log10(lr / lowest_at)
    return start - depth * math.exp(-0.5 * x * x) if x < 0 else start - depth + depth * x * x * (1 + x)


def make(name, lowest_at=0.1, depth=2.0, noise=0.05, seed=1, nan_at=None, **changes):
    case = {"name": name, "ramp": "exponential", "from": 1e-5, "to": 10.0, "steps": 100, **changes}
    source = Noise(seed)
    case["losses"] = [round(bowl(lr, lowest_at, depth) + noise * source.next(), 6) for lr in ramp(case)]
    if nan_at is not None:
        case["losses"][nan_at] = None
    return case


def answers(case):
    lrs, n = ramp(case), case["steps"]
    smoothed, why = record(case)
    points = kept(smoothed, why, n)
    at = valley(points)
    lowest = points.index(min(points))
    first = n // 10
    found = slide(points)
    return {**case, "smoothed": smoothed, "end": why, "kept": len(points),
            "valley": lrs[first + max(at, 0)],
            "steepest": lrs[first + steep(lrs[first:], points)],
            "minimum": max(lrs[first + lowest] / 10, case["from"]),
            "slide": None if found is None else lrs[first + found]}


def arrays():
    source = Noise(7)
    for count in (1, 2, 3, 4, 5, 7, 15, 16, 17, 18, 24, 40):
        for trend in (-0.4, 0.0, 0.3):
            losses = [round(3 + trend * i / 4 + source.next(), 6) for i in range(count)]
            lrs = [1e-4 * 1.5**i for i in range(count)]
            yield {"lrs": lrs, "losses": losses, "valley": max(valley(losses), 0),
                   "steepest": steep(lrs, losses) if count > 1 else None, "slide": slide(losses)}


CASES = [
    make("usual"),
    make("quiet", noise=0.0),
    make("noisy", noise=0.4, seed=5),
    make("finer ramp", steps=400, seed=3),
    make("coarse ramp", steps=30, noise=0.02, seed=4),
    make("no divergence", lowest_at=8.0),
    make("low minimum", lowest_at=5e-4, depth=2.2, noise=0.01, seed=8),
    make("linear", ramp="linear", **{"from": 0.001, "to": 0.5}),
    make("NaN late", nan_at=97, lowest_at=2.0),
    make("NaN early", nan_at=60, lowest_at=0.02),
]
print(json.dumps({"cases": [answers(case) for case in CASES], "arrays": list(arrays())}))
