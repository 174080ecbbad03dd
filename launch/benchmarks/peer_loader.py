"""Images/s of PyTorch's DataLoader over an ImageFolder, with the transforms of ImageNet training.

    peer_loader.py write FOLDER                                     makes the JPEGs that both sides read
    peer_loader.py read FOLDER --workers N --batch B --seconds S --way pil|tensor      prints one line of JSON

Ways: `pil` is torchvision's default, Pillow; `tensor` decodes with torchvision.io and transforms tensors.
"""
import argparse
import json
import time
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch.utils.data import DataLoader, RandomSampler
from torchvision import io
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

CLASSES, IMAGES_PER_CLASS, HEIGHT, WIDTH, QUALITY = 10, 32, 375, 500, 90
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def write(folder: Path) -> None:
    """Of ImageNet's usual size: soft shapes under a grain, from a fixed seed; the same files every time."""
    random = numpy.random.Generator(numpy.random.PCG64(1))
    for part, count in (("train", IMAGES_PER_CLASS), ("val", 1)):
        for label in range(CLASSES):
            home = folder / part / f"class{label}"
            home.mkdir(parents=True)
            for number in range(count):
                small = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=numpy.uint8))
                soft = numpy.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=numpy.int16)
                grain = random.integers(-12, 13, soft.shape, dtype=numpy.int16)
                pixels = numpy.clip(soft + grain, 0, 255).astype(numpy.uint8)
                Image.fromarray(pixels).save(home / f"{number:03}.jpg", quality=QUALITY)


def open_set(folder: Path, way: str) -> ImageFolder:
    common = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    random = [v2.RandomResizedCrop(224, antialias=True), v2.RandomHorizontalFlip()]
    if way == "pil":
        return ImageFolder(str(folder / "train"), v2.Compose([*random, v2.PILToTensor(), *common]))
    return ImageFolder(str(folder / "train"), v2.Compose([*random, *common]),
                       loader=lambda path: io.decode_jpeg(io.read_file(path)))


def read(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    images = open_set(options.folder, options.way)
    endless = RandomSampler(images, replacement=True, num_samples=10**9)  # the end of an epoch would empty the queues
    batches = iter(DataLoader(images, options.batch, sampler=endless, num_workers=options.workers, prefetch_factor=4))
    for _ in range(4 * options.workers):  # those that are made ahead
        next(batches)
    count, start, seconds = 0, time.perf_counter(), 0.0
    while seconds < options.seconds:
        count += len(next(batches)[1])
        seconds = time.perf_counter() - start
    print(json.dumps({"images_per_s": count / seconds}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("write", "read"):
        commands.add_parser(name).add_argument("folder", type=Path)
    reader = commands.choices["read"]
    reader.add_argument("--workers", type=int, required=True)
    reader.add_argument("--batch", type=int, required=True)
    reader.add_argument("--seconds", type=float, required=True)
    reader.add_argument("--way", choices=("pil", "tensor"), required=True)
    options = parser.parse_args()
    write(options.folder) if options.command == "write" else read(options)


if __name__ == "__main__":
    main()
