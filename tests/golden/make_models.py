#!/usr/bin/env python3
"""Writes models.json: one forward and backward pass of every kind of model, by PyTorch.

    pip install torch==2.11.0 torchvision==0.26.0
    python tests/golden/make_models.py            (CPU, float64, about a minute)

ResNets from 18 layers on and VGG are torchvision's own modules; LeNet, Caffe's cifar10_full (cnn3)
and the CIFAR ResNets, which torchvision does not have, are written out below with plain PyTorch
operations. Weights and images come from fill(), which tests/nn/golden_models_test.cpp repeats, so
that none of them need be stored.
"""

import json
import math
import pathlib
import sys

import torch
import torchvision
from torch import nn
from torch.nn import functional as F

FILL = (
    "u(k, i) of parameter number k (then buffers, then the images as number 9999), element i in "
    "row-major order: h = (i * 2654435761 + k * 40503) mod 2^32; h ^= h >> 16; "
    "h = h * 73244475 mod 2^32; h ^= h >> 16; u = h / 2^32 - 0.5. Two and more dimensions: "
    "u * sqrt(24 / fan-in); .weight of one dimension and running_var: 1 + 0.4 u; other ones of one "
    "dimension: 0.2 u; images: u * sqrt(12)"
)
CHECKSUM = "sum over i, in row-major order, of g_i * cos(0.3 i)"


def uniform(k, shape):
    i = torch.arange(math.prod(shape), dtype=torch.int64)
    h = (i * 2654435761 + k * 40503) % 2**32
    h ^= h >> 16
    h = h * 73244475 % 2**32
    h ^= h >> 16
    return (h.double() / 2**32 - 0.5).reshape(shape)


def fill(model):
    tensors = list(model.named_parameters())
    tensors += [(n, b) for n, b in model.named_buffers() if b.is_floating_point()]
    with torch.no_grad():
        for k, (name, tensor) in enumerate(tensors):
            u = uniform(k, tensor.shape)
            if tensor.dim() >= 2:
                u *= math.sqrt(24 / tensor[0].numel())
            elif name.endswith((".weight", "running_var")):
                u = 1 + 0.4 * u
            else:
                u = 0.2 * u
            tensor.copy_(u)


def digest(tensor):
    flat = tensor.detach().reshape(-1).double()
    weights = torch.cos(0.3 * torch.arange(flat.numel(), dtype=torch.float64))
    return [flat.norm().item(), (flat * weights).sum().item()]


# Models that torchvision does not have.


class LeNet(nn.Module):
    def __init__(self, channels, side, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * (((side - 4) // 2 - 4) // 2) ** 2, 500)
        self.fc2 = nn.Linear(500, classes)

    def forward(self, x):
        x = F.max_pool2d(self.conv1(x), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class WithinChannelLRN(nn.Module):
    def forward(self, x):
        return x / (1 + 5e-5 * F.avg_pool2d(x * x, 3, 1, 1)) ** 0.75


class Cnn3(nn.Module):
    """Caffe's cifar10_full; with bn1 and bn2 in the place of the LRNs where `norm` is given."""

    def __init__(self, channels, side, classes, norm=None):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 5, padding=2)
        if norm:
            self.bn1 = norm(32)
        self.conv2 = nn.Conv2d(32, 32, 5, padding=2)
        if norm:
            self.bn2 = norm(32)
        self.conv3 = nn.Conv2d(32, 64, 5, padding=2)
        for _ in range(3):
            side = math.ceil((side - 3) / 2) + 1
        self.fc = nn.Linear(64 * side * side, classes)
        self.norms = [self.bn1, self.bn2] if norm else [WithinChannelLRN()] * 2

    def forward(self, x):
        x = self.norms[0](F.relu(F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)))
        x = F.avg_pool2d(F.relu(self.conv2(x)), 3, 2, ceil_mode=True)
        x = self.norms[1](x)
        x = F.avg_pool2d(F.relu(self.conv3(x)), 3, 2, ceil_mode=True)
        return self.fc(x.flatten(1))


class PadBlock(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.padding = stride, (out - channels) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = x[:, :, :: self.stride, :: self.stride]
        return F.relu(y + F.pad(x, (0, 0, 0, 0, self.padding, self.padding)))


class CifarResNet(nn.Module):
    """He et al. 2015, section 4.2, shortcuts by option A."""

    def __init__(self, channels, classes, depth, imagenet_stem=False):
        super().__init__()
        self.conv1 = nn.Conv2d(
            channels, 16, *((7, 2, 3) if imagenet_stem else (3, 1, 1)), bias=False
        )
        self.bn1 = nn.BatchNorm2d(16)
        self.imagenet_stem = imagenet_stem
        width = 16
        for stage in range(3):
            blocks = []
            for block in range((depth - 2) // 6):
                out = 16 << stage
                blocks.append(PadBlock(width, out, 2 if stage > 0 and block == 0 else 1))
                width = out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if self.imagenet_stem:
            x = F.max_pool2d(x, 3, 2, 1)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class StandardizedConv2d(nn.Conv2d):
    """Qiao et al. 2019: unbiased std over (in, height, width), 1e-5 added to it."""

    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        std = w.reshape(w.size(0), -1).std(dim=1).view(-1, 1, 1, 1) + 1e-5
        return self._conv_forward(x, w / std, self.bias)


def replace(module, kind, make):
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, make(child))
        else:
            replace(child, kind, make)
    return module


def standardize(model):
    def make(conv):
        return StandardizedConv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,
            bias=conv.bias is not None)  # fmt: skip

    return replace(model, nn.Conv2d, make)


def resnet(name, classes, **options):
    return getattr(torchvision.models, name)(num_classes=classes, **options)


def cifar_stem(model):
    model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    model.maxpool = nn.Identity()
    return model


def vgg16(classes, hidden, norm=True):
    """torchvision's vgg16_bn with fewer hidden units and without dropout."""
    model = torchvision.models.vgg16_bn(num_classes=classes, dropout=0.0)
    for number, (fan_in, out) in {0: (512 * 49, hidden), 3: (hidden, hidden), 6: (hidden, classes)}.items():
        model.classifier[number] = nn.Linear(fan_in, out)
    return model if norm else replace(model, nn.BatchNorm2d, lambda norm: nn.Identity())


CASES = [
    # name, options as in Largo's run file, images, classes, training, model
    ("lenet", {}, [3, 1, 20, 20], 10, True, lambda: LeNet(1, 20, 10)),
    ("cnn3", {}, [3, 3, 32, 32], 10, True, lambda: Cnn3(3, 32, 10)),
    ("cnn3", {}, [2, 3, 19, 19], 10, False, lambda: Cnn3(3, 19, 10)),
    ("cnn3", {"norm": "batch"}, [3, 3, 32, 32], 10, True, lambda: Cnn3(3, 32, 10, nn.BatchNorm2d)),
    ("resnet20", {}, [4, 3, 32, 32], 10, True, lambda: CifarResNet(3, 10, 20)),
    ("resnet20", {}, [4, 3, 32, 32], 10, False, lambda: CifarResNet(3, 10, 20)),
    ("resnet8", {"stem": "imagenet"}, [4, 3, 33, 33], 10, True,
     lambda: CifarResNet(3, 10, 8, imagenet_stem=True)),
    ("resnet18", {}, [3, 3, 64, 64], 10, True, lambda: resnet("resnet18", 10)),
    ("resnet18", {}, [3, 3, 64, 64], 10, False, lambda: resnet("resnet18", 10)),
    ("resnet18", {"stem": "cifar"}, [3, 3, 16, 16], 10, True,
     lambda: cifar_stem(resnet("resnet18", 10))),
    ("resnet18", {"norm": "group", "groups": 32, "weight_standardization": True}, [2, 3, 64, 64],
     10, True,
     lambda: standardize(resnet("resnet18", 10, norm_layer=lambda c: nn.GroupNorm(32, c)))),
    ("resnet50", {}, [3, 3, 64, 64], 10, True, lambda: resnet("resnet50", 10)),
    ("resnet50", {}, [2, 3, 64, 64], 10, False, lambda: resnet("resnet50", 10)),
    ("resnet50", {"weight_standardization": True}, [3, 3, 64, 64], 10, True,
     lambda: standardize(resnet("resnet50", 10))),
    ("vgg16", {"hidden": 64}, [4, 3, 32, 32], 10, True, lambda: vgg16(10, 64)),
    ("vgg16", {"hidden": 64}, [2, 3, 48, 48], 10, False, lambda: vgg16(10, 64)),
    ("vgg16", {"hidden": 64, "norm": "none"}, [2, 3, 32, 32], 10, True,
     lambda: vgg16(10, 64, norm=False)),
]  # fmt: skip


def run(name, options, shape, classes, training, make):
    model = make().double().train(training)
    fill(model)
    images = (uniform(9999, shape) * math.sqrt(12)).requires_grad_()
    labels = torch.tensor([(3 * j + 1) % classes for j in range(shape[0])])
    logits = model(images)
    loss = F.cross_entropy(logits, labels, reduction="sum")
    loss.backward()
    return {
        "model": {"name": name, **options},
        "images": shape,
        "classes": classes,
        "training": training,
        "loss": loss.item(),
        "logits": logits.tolist(),
        "image_gradient": digest(images.grad),
        "gradients": [[n, *digest(p.grad)] for n, p in model.named_parameters()],
        "buffers": [
            [n, *digest(b)] for n, b in model.named_buffers() if b.is_floating_point()
        ],
    }


def main():
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    header = {
        "made_by": "python tests/golden/make_models.py",
        "versions": f"Python {sys.version.split()[0]}, PyTorch {torch.__version__} on the CPU in "
        f"float64, torchvision {torchvision.__version__}",
        "fill": FILL,
        "loss": "cross-entropy summed over the samples; label of sample j: (3 j + 1) mod classes",
        "gradients": f"name, 2-norm, checksum = {CHECKSUM}; in torchvision's order",
        "buffers": "the same of the running statistics after the pass (momentum 0.1)",
    }
    lines = [json.dumps(header, indent=1)[:-2] + ',\n "cases": [']
    cases = [json.dumps(run(*case), separators=(",", ":")) for case in CASES]
    lines.append(",\n".join("  " + case for case in cases))
    lines.append(" ]\n}\n")
    pathlib.Path(__file__).with_name("models.json").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
