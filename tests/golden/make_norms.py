#!/usr/bin/env python3
"""Writes norms.json: every kind of normalization as PyTorch computes it, in float64.

    python3 tests/golden/make_norms.py > tests/golden/norms.json      (PyTorch 2.11, CPU)

Each case is one training step of one layer: output, gradients of the input, weight and bias, running statistics after
the step, and the output in evaluation with these. PyTorch has no layer for
  sync_batch   it equals BatchNorm2d on the samples of all ranks; `ranks` says how a test may spread them
  ghost_batch  BatchNorm2d on each virtual batch, from the same running statistics; theirs are averaged by samples
  layer        layer_norm over (channels, height, width), then a weight and bias per channel
"""

import json

import torch

SHAPE = [4, 6, 2, 2]


def spread(count, factor, modulus, center):
    """(factor * i + 3) mod modulus, as numbers around zero that are exact in both languages."""
    values = [((factor * i + 3) % modulus - center) / 32 for i in range(count)]
    return torch.tensor(values, dtype=torch.float64)


def problem():
    count = torch.Size(SHAPE).numel()
    return {
        "x": spread(count, 37, 101, 40).reshape(SHAPE),
        "dy": spread(count, 29, 97, 48).reshape(SHAPE),
        "weight": spread(SHAPE[1], 11, 61, 20),
        "bias": spread(SHAPE[1], 17, 59, 30),
        "running_mean": spread(SHAPE[1], 13, 31, 15),
        "running_var": spread(SHAPE[1], 7, 41, -5),
    }


def batch_norm(options, given):
    affine = options.get("affine", True)
    layer = torch.nn.BatchNorm2d(SHAPE[1], options.get("epsilon", 1e-5), options.get("momentum", 0.1), affine=affine,
                                 dtype=torch.float64)
    layer.running_mean.copy_(given["running_mean"])
    layer.running_var.copy_(given["running_var"])
    return set_affine(layer, given, affine)


def set_affine(layer, given, affine=True):
    if affine:
        with torch.no_grad():
            layer.weight.copy_(given["weight"])
            layer.bias.copy_(given["bias"])
    return layer


class Ghost(torch.nn.Module):
    def __init__(self, options, given):
        super().__init__()
        self.size = options["virtual_batch"]
        self.layer = batch_norm(options, given)

    def forward(self, x):
        if not self.training:
            return self.layer(x)
        start = {name: value.clone() for name, value in self.layer.named_buffers()}
        mean, var, parts = 0, 0, []
        for part in x.split(self.size):
            self.layer.running_mean, self.layer.running_var = start["running_mean"].clone(), start["running_var"].clone()
            parts.append(self.layer(part))
            mean = mean + len(part) / len(x) * self.layer.running_mean
            var = var + len(part) / len(x) * self.layer.running_var
        self.layer.running_mean, self.layer.running_var = mean, var
        return torch.cat(parts)


class Layer(torch.nn.Module):
    def __init__(self, options, given):
        super().__init__()
        self.epsilon = options.get("epsilon", 1e-5)
        self.weight = torch.nn.Parameter(given["weight"].clone())
        self.bias = torch.nn.Parameter(given["bias"].clone())

    def forward(self, x):
        y = torch.nn.functional.layer_norm(x, x.shape[1:], eps=self.epsilon)
        return y * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def make_layer(options, given):
    kind, epsilon, affine = options["kind"], options.get("epsilon", 1e-5), options.get("affine", True)
    channels = SHAPE[1]
    if kind in ("batch", "sync_batch"):
        return batch_norm(options, given)
    if kind == "ghost_batch":
        return Ghost(options, given)
    if kind == "group":
        groups = options["groups"] if "groups" in options else channels // options["channels_per_group"]
        return set_affine(torch.nn.GroupNorm(groups, channels, epsilon, affine, dtype=torch.float64), given, affine)
    if kind == "layer":
        return Layer(options, given)
    if kind == "instance":
        return set_affine(torch.nn.InstanceNorm2d(channels, epsilon, affine=affine, dtype=torch.float64), given, affine)
    assert kind == "none"
    return torch.nn.Identity()


def numbers(tensor):
    return [float("%.14g" % value) for value in tensor.detach().flatten()]


def case(options, given, ranks):
    layer = make_layer(options, given).train()
    x = given["x"].clone().requires_grad_()
    y = layer(x)
    y.backward(given["dy"])
    result = {"options": options, "ranks": ranks, "y": numbers(y), "dx": numbers(x.grad)}
    for name, value in layer.named_parameters():
        result["d" + name.split(".")[-1]] = numbers(value.grad)
    for name, value in layer.named_buffers():
        if "running" in name:
            result[name.split(".")[-1]] = numbers(value)
    result["eval_y"] = numbers(layer.eval()(given["x"]))
    return result


def main():
    given = problem()
    one = [4]
    cases = [
        case({"kind": "batch"}, given, one),
        case({"kind": "batch", "momentum": 0.3, "epsilon": 0.01}, given, one),
        case({"kind": "batch", "affine": False}, given, one),
        case({"kind": "sync_batch"}, given, [1, 3]),
        case({"kind": "sync_batch", "momentum": 0.05, "epsilon": 0.001, "affine": False}, given, [2, 0, 2]),
        case({"kind": "ghost_batch", "virtual_batch": 2}, given, one),
        case({"kind": "ghost_batch", "virtual_batch": 3, "momentum": 0.2, "epsilon": 0.01}, given, one),
        case({"kind": "ghost_batch", "virtual_batch": 1, "affine": False}, given, one),
        case({"kind": "group", "groups": 2}, given, one),
        case({"kind": "group", "channels_per_group": 2, "epsilon": 0.01}, given, one),
        case({"kind": "group", "groups": 3, "affine": False}, given, one),
        case({"kind": "layer"}, given, one),
        case({"kind": "layer", "epsilon": 0.1}, given, one),
        case({"kind": "instance"}, given, one),
        case({"kind": "instance", "epsilon": 0.01, "affine": False}, given, one),
        case({"kind": "none"}, given, one),
    ]
    print('{"made_by": "tests/golden/make_norms.py, PyTorch %s, CPU, float64",' % torch.__version__)
    print(' "problem": %s,' % json.dumps({"shape": SHAPE, **{name: numbers(value) for name, value in given.items()}}))
    print(' "cases": [\n  %s\n]}' % ",\n  ".join(json.dumps(entry) for entry in cases))


main()
