"""What is trained on both sides: the same model, shape of data, batch per rank and optimizer."""
from __future__ import annotations

from dataclasses import dataclass

WARMUP_STEPS = 10  # left out of every median, on both sides; Largo's summary.json leaves out as many
BATCHES = 8  # that a rank's data are; they are gone through again and again
GROUPS = 8  # of group norm


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    model: str
    batch: int  # per rank
    channels: int
    side: int
    classes: int
    steps: int  # timed ones, after the warm-up
    lr: float
    precision: str = "float32"
    norm: str = "batch"  # batch, sync_batch, group; LeNet has none
    noise_scale: str = "auto"

    def total_steps(self, quick: bool) -> int:
        return WARMUP_STEPS + (max(10, self.steps // 5) if quick else self.steps)


def _cifar(name: str, title: str, model: str, steps: int, **others: str) -> Case:
    return Case(name, title, model, batch=128, channels=3, side=32, classes=10, steps=steps, lr=0.05, **others)


LENET = Case("lenet", "LeNet, batch 64", "lenet", batch=64, channels=1, side=28, classes=10, steps=200, lr=0.002)
RESNET8 = _cifar("resnet8", "ResNet-8, batch 128", "resnet8", 40)
RESNET20 = _cifar("resnet20", "ResNet-20, batch 128", "resnet20", 20)
RESNET20_BF16 = _cifar("resnet20_bf16", "ResNet-20, bfloat16", "resnet20", 20, precision="bfloat16")
RESNET20_SYNC = _cifar("resnet20_sync", "ResNet-20, SyncBN", "resnet20", 20, norm="sync_batch")
RESNET20_GROUP = _cifar("resnet20_group", "ResNet-20, group norm", "resnet20", 20, norm="group")
RESNET20_QUIET = _cifar("resnet20_quiet", "ResNet-20, no noise scale", "resnet20", 20, noise_scale="off")
RESNET50 = Case("resnet50", "ResNet-50 at 64x64, batch 16", "resnet50", batch=16, channels=3, side=64, classes=100,
                steps=15, lr=0.005)
