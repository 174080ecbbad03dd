"""Images/s of the loaders alone: the same JPEGs, random crops of 224, flips, batch and number of workers."""
from __future__ import annotations

import json
from pathlib import Path

from . import processes
from .training import Numbers

PEER_LOADER = Path(__file__).with_name("peer_loader.py")
WORKERS, BATCH = 2, 32

_RUN_FILE = """\
run: {{seed: 1, device: cpu}}
data: {{kind: image_folder, path: "{images}", workers: {workers}, augment: {{resized_crop: 224, flip: true}}}}
model: {{name: resnet50}}
batch: {{per_rank: {batch}}}
lr: {{base: 0.1, base_batch: 256}}
train: {{length: 1ep}}
"""


def write_images(python: Path, images: Path, folder: Path) -> None:
    """Unless they are there."""
    if not images.exists():
        processes.run_alone([str(python), str(PEER_LOADER), "write", str(images)], folder)


def seconds(quick: bool) -> float:
    return 1 if quick else 4


def load_largo(largo: str, images: Path, folder: Path, quick: bool) -> Numbers:
    (folder / "data.yaml").write_text(_RUN_FILE.format(images=images, workers=WORKERS, batch=BATCH))
    command = [largo, "data-bench", str(folder / "data.yaml"), "--seconds", str(seconds(quick))]
    found = json.loads(processes.run_alone(command, folder).stdout)
    shares = {name: value for name, value in found.items() if name.endswith("_share")}
    return {"images_per_s": found["images_per_s"], **shares}


def load_peer(python: Path, images: Path, folder: Path, quick: bool) -> Numbers:
    """Of its two ways to decode and transform, the faster one."""
    found = {}
    for way in ("pil", "tensor"):
        done = processes.run_alone([
            str(python), str(PEER_LOADER), "read", str(images), "--workers", str(WORKERS), "--batch", str(BATCH),
            "--seconds", str(seconds(quick)), "--way", way], folder)
        found[way] = json.loads(done.stdout)["images_per_s"]
    return {"images_per_s": max(found.values()), **{f"{way}_images_per_s": rate for way, rate in found.items()}}
