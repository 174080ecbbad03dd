"""Images per second of a ResNet in PyTorch, as launch/gpu_check sets them beside Largo's.

    torch_bench.py --model resnet50|resnet20 --batch N [--steps 30] [--warmup 10] [--precision bfloat16|float32]
                   [--device cuda|cpu]

One training step as Largo's: forward, cross entropy, backward, SGD with Nesterov's momentum and weight decay (fused). Data
made once on the device; channels_last; autocast for bfloat16; TF32 and cuDNN's autotuning on. The models are written
here, with torchvision's and the CIFAR paper's shapes, so that torchvision is not needed. Prints one line of JSON. Exit
code 3: out of the device's memory.
"""
import argparse
import json
import sys
import time

import torch
from torch import nn


def conv_bn(inputs, outputs, size, stride=1):
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    def __init__(self, inputs, width, stride, bottleneck, paper_shortcut):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        if bottleneck:
            layers = [*conv_bn(inputs, width, 1), nn.ReLU(inplace=True), *conv_bn(width, width, 3, stride),
                      nn.ReLU(inplace=True), *conv_bn(width, outputs, 1)]
        else:
            layers = [*conv_bn(inputs, width, 3, stride), nn.ReLU(inplace=True), *conv_bn(width, width, 3)]
        self.body = nn.Sequential(*layers)
        self.stride, self.more = stride, outputs - inputs
        self.projects = (stride != 1 or inputs != outputs) and not paper_shortcut
        self.shortcut = nn.Sequential(*conv_bn(inputs, outputs, 1, stride)) if self.projects else None

    def forward(self, x):
        if self.projects:
            short = self.shortcut(x)
        elif self.more:  # the CIFAR form: every second pixel, zeros for the new channels
            half = self.more // 2
            short = nn.functional.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, half, self.more - half))
        else:
            short = x
        return torch.relu(self.body(x) + short)


def make_model(name):
    if name == "resnet50":
        stem = [*conv_bn(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
        widths, depths, inputs, bottleneck, classes = (64, 128, 256, 512), (3, 4, 6, 3), 64, True, 1000
    else:
        stem = [*conv_bn(3, 16, 3), nn.ReLU(inplace=True)]
        widths, depths, inputs, bottleneck, classes = (16, 32, 64), (3, 3, 3), 16, False, 10
    layers = stem
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        for block in range(depth):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(Block(inputs, width, stride, bottleneck, paper_shortcut=name != "resnet50"))
            inputs = 4 * width if bottleneck else width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)), classes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("resnet50", "resnet20"), required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments = parser.parse_args()

    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    device = torch.device(arguments.device)
    model, classes = make_model(arguments.model)
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    side = 224 if arguments.model == "resnet50" else 32
    images = torch.rand(arguments.batch, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(classes, (arguments.batch,), device=device)
    on_gpu = device.type == "cuda"
    seconds = []
    try:
        for step in range(arguments.warmup + arguments.steps):
            if on_gpu:
                begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                begin.record()
            start = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=arguments.precision == "bfloat16"):
                loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if on_gpu:
                end.record()
                seconds.append((begin, end))
            else:
                seconds.append(time.perf_counter() - start)
        if on_gpu:
            torch.cuda.synchronize()
            seconds = [begin.elapsed_time(end) / 1e3 for begin, end in seconds]
    except torch.OutOfMemoryError as error:
        print(str(error).splitlines()[0], file=sys.stderr)
        return 3
    timed = sorted(seconds[arguments.warmup:])
    print(json.dumps({
        "images_per_s": arguments.batch / timed[len(timed) // 2],
        "step_s_p5": timed[len(timed) // 20],
        "step_s_p50": timed[len(timed) // 2],
        "step_s_p95": timed[len(timed) - 1 - len(timed) // 20],
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if on_gpu else 0,
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
    }))
    return 0


if __name__ == "__main__":
    sys.exit(main())
