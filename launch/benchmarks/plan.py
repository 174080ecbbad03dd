"""Which measurements there are, in the order of one round.

Those that are compared with one another stand side by side, so that what slows the machine for a while slows both.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import allreduce, cases, loader, training
from .cases import Case
from .training import Numbers

BENCHES = {
    "lenet": "images/s of LeNet, batch 64 per rank, where a step's overhead shows",
    "resnet8": "images/s of ResNet-8 on 32x32, batch 128 per rank",
    "resnet20": "images/s of ResNet-20 on 32x32, batch 128 per rank: float32, bfloat16, SyncBN, group norm, no noise scale",
    "resnet50": "images/s of ResNet-50 on 64x64, batch 16 per rank",
    "allreduce": "blocking all-reduce of 4 KB to 100 MB: Largo, MPI_Allreduce in a plain process, gloo",
    "loader": "images/s of the loaders alone on JPEGs, two workers each",
    "start": "seconds from the start of the launcher to the end of the first step",
}


@dataclass(frozen=True)
class Tools:
    """What measures; None for what is not to be had here."""

    largo: str
    mpirun: str
    plain_allreduce: str | None
    peer: Path | None  # a Python with PyTorch
    images: Path  # where the loaders' JPEGs are, or will be
    quick: bool


@dataclass(frozen=True)
class Measurement:
    bench: str
    name: str  # BENCH.SIDE or CASE.SIDE
    headline: str  # which of its numbers is shown while it runs
    measure: Callable[[Path], Numbers]  # gets an empty folder


# Measurements of one model on both sides.
TRAINED_ALIKE = [(f"{name}.largo", f"{name}.pytorch")
                 for name in ("lenet", "resnet8", "resnet20", "resnet20_group", "resnet20_bf16", "resnet50")]


def round_of(tools: Tools, only: str | None) -> list[Measurement]:
    """The measurements of one round that `tools` can make, of all benches or of one."""
    found = [*_trainings(tools), *_sums(tools), *_loaders(tools), *_starts(tools)]
    return [one for one in found if only in (None, one.bench)]


def _trainings(tools: Tools) -> list[Measurement]:
    def ours(bench: str, case: Case) -> list[Measurement]:
        return [Measurement(bench, f"{case.name}.largo", "images_per_s", functools.partial(
            training.train_largo, tools.largo, tools.mpirun, case, quick=tools.quick))]

    def theirs(bench: str, case: Case) -> list[Measurement]:
        return [] if tools.peer is None else [Measurement(bench, f"{case.name}.pytorch", "images_per_s", functools.partial(
            training.train_peer, tools.peer, case, quick=tools.quick))]

    both = [one for case in (cases.LENET, cases.RESNET8)
            for one in [*ours(case.name, case), *theirs(case.name, case)]]
    r20 = "resnet20"
    return [*both,
            *theirs(r20, cases.RESNET20), *ours(r20, cases.RESNET20_QUIET), *ours(r20, cases.RESNET20),
            *ours(r20, cases.RESNET20_SYNC), *ours(r20, cases.RESNET20_GROUP), *theirs(r20, cases.RESNET20_GROUP),
            *ours(r20, cases.RESNET20_BF16), *theirs(r20, cases.RESNET20_BF16),
            *ours("resnet50", cases.RESNET50), *theirs("resnet50", cases.RESNET50)]


def _sums(tools: Tools) -> list[Measurement]:
    size = str(allreduce.SIZES[4])
    found = [Measurement("allreduce", "allreduce.largo", size, functools.partial(
        allreduce.sum_largo, tools.largo, tools.mpirun, quick=tools.quick))]
    if tools.plain_allreduce is not None:
        found.append(Measurement("allreduce", "allreduce.mpi", size, functools.partial(
            allreduce.sum_mpi, tools.plain_allreduce, tools.mpirun, quick=tools.quick)))
    if tools.peer is not None:
        found.append(Measurement("allreduce", "allreduce.gloo", size, functools.partial(
            allreduce.sum_gloo, tools.peer, quick=tools.quick)))
    return found


def _loaders(tools: Tools) -> list[Measurement]:
    """None without the peer, whose Python writes the JPEGs."""
    peer = tools.peer
    if peer is None:
        return []

    def ours(folder: Path) -> Numbers:
        loader.write_images(peer, tools.images, folder)
        return loader.load_largo(tools.largo, tools.images, folder, tools.quick)

    def theirs(folder: Path) -> Numbers:
        loader.write_images(peer, tools.images, folder)
        return loader.load_peer(peer, tools.images, folder, tools.quick)

    return [Measurement("loader", "loader.largo", "images_per_s", ours),
            Measurement("loader", "loader.pytorch", "images_per_s", theirs)]


def _starts(tools: Tools) -> list[Measurement]:
    case = cases.RESNET20
    found = [Measurement("start", "start.largo", "first_step_s", functools.partial(
        training.start_largo, tools.largo, tools.mpirun, case))]
    if tools.peer is not None:
        found.append(Measurement("start", "start.pytorch", "first_step_s", functools.partial(
            training.start_peer, tools.peer, case)))
    return found
