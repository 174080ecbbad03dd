"""Largo's models in PyTorch: the same layers, parameters and initial distributions."""
from __future__ import annotations

import math
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F


class LeNet(nn.Module):
    """Caffe's: no ReLU after the convolutions."""

    def __init__(self, channels: int, side: int, classes: int):
        super().__init__()
        after = ((side - 4) // 2 - 4) // 2
        self.conv1, self.conv2 = nn.Conv2d(channels, 20, 5), nn.Conv2d(20, 50, 5)
        self.fc1, self.fc2 = nn.Linear(50 * after * after, 500), nn.Linear(500, classes)
        for parameter in self.parameters():
            bound = math.sqrt(3 / (parameter.numel() / len(parameter))) if parameter.dim() > 1 else 0
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.conv1(x), 2, 2)
        x = F.max_pool2d(self.conv2(x), 2, 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1)), inplace=True))


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut that has no parameters, or a bottleneck with a projection."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool, norm):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        relu = partial(nn.ReLU, inplace=True)
        if bottleneck:
            layers = [conv(inputs, width, 1), norm(width), relu(), conv(width, width, 3, stride), norm(width), relu(),
                      conv(width, outputs, 1), norm(outputs)]
        else:
            layers = [conv(inputs, width, 3, stride), norm(width), relu(), conv(width, outputs, 3), norm(outputs)]
        self.body = nn.Sequential(*layers)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = (nn.Sequential(conv(inputs, outputs, 1, stride), norm(outputs)) if bottleneck
                             else Subsample(stride, outputs - inputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x).add_(self.shortcut(x)), inplace=True)


class Subsample(nn.Module):
    """Every `stride`-th pixel, with zeros for the new channels."""

    def __init__(self, stride: int, more: int):
        super().__init__()
        self.stride, self.before, self.after = stride, more // 2, more - more // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.before, self.after))


def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def resnet(blocks: list[int], width: int, bottleneck: bool, channels: int, classes: int, norm) -> nn.Module:
    """With ImageNet's stem for bottlenecks, with CIFAR's otherwise."""
    stem = [conv(channels, width, 7, 2) if bottleneck else conv(channels, width, 3), norm(width), nn.ReLU(inplace=True)]
    layers = [*stem, nn.MaxPool2d(3, 2, 1)] if bottleneck else stem
    inputs = width
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(Block(inputs, width << stage, stride, bottleneck, norm))
            inputs = (4 if bottleneck else 1) * (width << stage)
    head = nn.Linear(inputs, classes)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def make_model(name: str, channels: int, side: int, classes: int, norm: str, groups: int) -> nn.Module:
    if name == "lenet":
        return LeNet(channels, side, classes)
    make_norm = partial(nn.GroupNorm, groups) if norm == "group" else nn.BatchNorm2d
    if name == "resnet50":
        return resnet([3, 4, 6, 3], 64, True, channels, classes, make_norm)
    depth = int(name.removeprefix("resnet"))
    return resnet(3 * [(depth - 2) // 6], 16, False, channels, classes, make_norm)
