"""Trains a case for some steps with Largo or with PyTorch, and returns what was measured.

Both sides count images/s as global batch / median step of rank 0 after the first steps, by the host's clock and without
evaluation; both are asked whether they really trained.
"""
from __future__ import annotations

import json
import math
import struct
from pathlib import Path

from . import cases, processes
from .processes import MeasurementFailed

RANKS = 2
PEER_TRAIN = Path(__file__).with_name("peer_train.py")

Numbers = dict[str, float]

_RUN_FILE = """\
run: {{name: run, output: "{output}", seed: 1, device: cpu, threads: 1}}
data: {{kind: synthetic, shape: [{c.channels}, {c.side}, {c.side}], classes: {c.classes}, limit: {samples}}}
model: {{name: {c.model}{norm}}}
batch: {{per_rank: {c.batch}}}
optimizer: {{kind: sgd, momentum: 0.9, nesterov: true, weight_decay: 5.0e-4}}
lr: {{base: {c.lr}, base_batch: {c.batch}, scaling: none}}
train: {{length: {steps}steps, log_every: {log_every}steps, eval_every: 1000000steps, precision: {c.precision}, noise_scale: {c.noise_scale}}}
eval: {{batch: {c.batch}}}
"""


def run_file(case: cases.Case, folder: Path, steps: int, log_every: int) -> str:
    norm = {"batch": "", "sync_batch": ", norm: {kind: sync_batch}",
            "group": f", norm: {{kind: group, groups: {cases.GROUPS}}}"}[case.norm]
    return _RUN_FILE.format(c=case, output=folder, norm=norm, steps=steps, log_every=log_every,
                            samples=cases.BATCHES * RANKS * case.batch)


def train_largo(largo: str, mpirun: str, case: cases.Case, folder: Path, quick: bool) -> Numbers:
    steps = case.total_steps(quick)
    (folder / "run.yaml").write_text(run_file(case, folder, steps, cases.WARMUP_STEPS))
    done = processes.run_mpi(mpirun, RANKS, [largo, "train", str(folder / "run.yaml")], folder)
    summary = json.loads((folder / "run" / "summary.json").read_text())
    losses = [record["loss"] for record in _records(folder / "run") if record["event"] == "train"]
    check_loss("Largo", losses, case.classes)
    times = summary["step_time"]
    if (summary["steps"], summary["global_batch"]) != (steps, RANKS * case.batch):
        raise MeasurementFailed(f"Largo trained {summary['steps']} steps of {summary['global_batch']} images")
    return {"images_per_s": summary["samples_per_s"], "peak_rss_bytes": done.peak_rss_bytes, "loss": losses[0],
            "last_loss": losses[-1], "parameters": parameters_in(folder / "run" / "weights.safetensors"),
            **{f"{part}_share": times[part] / times["p50"] for part in ("gradient_sums", "logging")},
            **{f"step_{phase}_s": seconds for phase, seconds in times.items()}}


def train_peer(python: Path, case: cases.Case, folder: Path, quick: bool) -> Numbers:
    done = processes.run_gloo(RANKS, _peer_command(python, case, case.total_steps(quick)), folder)
    found = json.loads(done.stdout)
    check_loss("PyTorch", [found["loss"], found["last_loss"]], case.classes)
    return {"images_per_s": found["images_per_s"], "peak_rss_bytes": done.peak_rss_bytes, "loss": found["loss"],
            "last_loss": found["last_loss"], "parameters": found["parameters"]}


def start_largo(largo: str, mpirun: str, case: cases.Case, folder: Path) -> Numbers:
    """Seconds from the launcher's start to the record of the first step."""
    (folder / "run.yaml").write_text(run_file(case, folder, steps=1, log_every=1))
    first: list[float] = []

    def watch() -> None:
        file = folder / "run" / "metrics.jsonl"
        if not first and file.exists() and '"event":"train"' in file.read_text():
            first.append(file.stat().st_mtime)

    done = processes.run_mpi(mpirun, RANKS, [largo, "train", str(folder / "run.yaml")], folder, watch)
    if not first:
        raise MeasurementFailed("the record of the first step was not seen")
    return {"first_step_s": first[0] - done.started}


def start_peer(python: Path, case: cases.Case, folder: Path) -> Numbers:
    done = processes.run_gloo(RANKS, _peer_command(python, case, steps=1), folder)
    return {"first_step_s": json.loads(done.stdout)["first_step_at"] - done.started}


def check_same_work(largo: Numbers, peer: Numbers) -> None:
    """Throws where the two sides cannot have trained the same model on data alike."""
    if largo["parameters"] != peer["parameters"]:
        raise MeasurementFailed(f"Largo's model has {largo['parameters']:.0f} parameters, PyTorch's {peer['parameters']:.0f}")
    if abs(largo["loss"] - peer["loss"]) > 0.5 * peer["loss"]:
        raise MeasurementFailed(f"mean loss of the first steps: Largo {largo['loss']:.3f}, PyTorch {peer['loss']:.3f}")


def parameters_in(file: Path) -> int:
    """Trained values of a safetensors file, which holds running statistics, too."""
    with open(file, "rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items()
               if name != "__metadata__" and not name.endswith(statistics))


def _peer_command(python: Path, case: cases.Case, steps: int) -> list[str]:
    numbers = {"batch": case.batch, "channels": case.channels, "side": case.side, "classes": case.classes,
               "steps": steps, "warmup": cases.WARMUP_STEPS, "batches": cases.BATCHES, "groups": cases.GROUPS,
               "lr": case.lr, "model": case.model, "norm": case.norm, "precision": case.precision}
    options = [text for name, value in numbers.items() for text in (f"--{name}", str(value))]
    return [str(python), str(PEER_TRAIN), *options]


def _records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def check_loss(who: str, losses: list[float], classes: int) -> None:
    """Means of the first steps and of the last ones: near that of guessing, then less."""
    if not losses[-1] < losses[0] < 1.5 * math.log(classes):
        raise MeasurementFailed(f"{who} did not learn: its loss went from {losses[0]:.3f} to {losses[-1]:.3f}")
