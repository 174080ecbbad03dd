"""What is compared with what, what must be reached, and the arithmetic of it.

A comparison is made within each round, between two measurements that stood side by side; the figure is the median of
these ratios, and its spread their quartiles. A slow minute of the machine so counts on both sides.
"""
from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from . import allreduce

Rounds = list["dict[str, float] | None"]  # of one measurement; None where it failed
Results = dict[str, Rounds]


@dataclass(frozen=True)
class Comparison:
    """How many times as good `ours` is as `theirs`, or with `cost`, by what fraction it takes longer."""

    bench: str
    title: str
    number: str
    ours: str
    theirs: str
    unit: str = "images/s"  # of which more is better; of "s" and "bytes" less is
    floor: float | None = None  # least ratio; with `cost` the most that it may cost
    cost: bool = False


@dataclass(frozen=True)
class Limit:
    """A number of Largo's alone that may not exceed `most`."""

    bench: str
    title: str
    number: str
    ours: str
    unit: str
    most: float


@dataclass(frozen=True)
class Spread:
    median: float
    low: float  # quartiles
    high: float


@dataclass(frozen=True)
class Row:
    """One line of the report. `theirs` and `figure` are None for limits, `goal` and `reached` where nothing is asked."""

    bench: str
    title: str
    against: str
    unit: str
    ours: Spread | None
    theirs: Spread | None
    figure: Spread | None  # the ratio or, with `cost`, the fraction
    cost: bool
    goal: float | None
    reached: bool | None
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles, by linear interpolation; `values` is not empty."""
    ordered = sorted(values)

    def quantile(fraction: float) -> float:
        place = fraction * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    return Spread(statistics.median(ordered), quantile(0.25), quantile(0.75))


def compare(comparison: Comparison, results: Results) -> Row | None:
    """None where a side has no number; a side that has some is a row without a figure."""
    ours = _numbers(results, comparison.ours, comparison.number)
    theirs = _numbers(results, comparison.theirs, comparison.number)
    if not any(value is not None for value in ours):
        return None
    pairs = [(a, b) for a, b in zip(ours, theirs) if a is not None and b is not None]
    figure = reached = None
    if pairs:
        more = comparison.unit == "images/s"
        ratios = [a / b if more else b / a for a, b in pairs]
        figure = spread([1 / ratio - 1 for ratio in ratios] if comparison.cost else ratios)
        if comparison.floor is not None:
            reached = figure.median <= comparison.floor if comparison.cost else figure.median >= comparison.floor
    return Row(comparison.bench, comparison.title, _who(comparison.theirs), comparison.unit, _spread_of(ours),
               _spread_of(theirs), figure, comparison.cost, comparison.floor, reached, len(pairs))


def hold(limit: Limit, results: Results) -> Row | None:
    ours = _numbers(results, limit.ours, limit.number)
    found = _spread_of(ours)
    if found is None:
        return None
    count = sum(value is not None for value in ours)
    return Row(limit.bench, limit.title, "limit", limit.unit, found, None, None, False, limit.most,
               found.median <= limit.most, count)


def rows_of(results: Results) -> list[Row]:
    """In the order of ASKED, without what was not measured."""
    found = [compare(one, results) if isinstance(one, Comparison) else hold(one, results) for one in ASKED]
    return [row for row in found if row is not None]


def _numbers(results: Results, name: str, number: str) -> list[float | None]:
    return [None if one is None else one.get(number) for one in results.get(name, [])]


def _spread_of(values: Sequence[float | None]) -> Spread | None:
    present = [value for value in values if value is not None]
    return spread(present) if present else None


def _who(measurement: str) -> str:
    name, side = measurement.split(".")
    if side != "largo":
        return {"pytorch": "PyTorch", "mpi": "MPI_Allreduce", "gloo": "gloo"}[side]
    return {"resnet20": "Largo, batch norm", "resnet20_quiet": "Largo, without"}[name]


def size_text(size: int) -> str:
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB"


def _rates() -> list[Comparison]:
    asked = [("lenet", "lenet", "LeNet, batch 64", 1.5), ("resnet8", "resnet8", "ResNet-8, batch 128", None),
             ("resnet20", "resnet20", "ResNet-20, batch 128", 1.15),
             ("resnet20", "resnet20_bf16", "ResNet-20, bfloat16", 1.1),
             ("resnet20", "resnet20_group", "ResNet-20, group norm", None),
             ("resnet50", "resnet50", "ResNet-50 at 64x64, batch 16", None)]
    return [Comparison(bench, title, "images_per_s", f"{name}.largo", f"{name}.pytorch", floor=floor)
            for bench, name, title, floor in asked]


def _costs() -> list[Comparison]:
    asked = [("cost of SyncBN", "resnet20_sync", "resnet20", 0.05), ("cost of group norm", "resnet20_group", "resnet20", 0.10),
             ("cost of the noise scale", "resnet20", "resnet20_quiet", None)]
    return [Comparison("resnet20", f"{title}, ResNet-20", "images_per_s", f"{ours}.largo", f"{theirs}.largo", floor=floor,
                       cost=True) for title, ours, theirs, floor in asked]


def _sums() -> list[Comparison]:
    def floor(size: int) -> float | None:
        if allreduce.KB * 64 <= size <= allreduce.MB:
            return 5.0
        return 3.0 if size >= allreduce.LARGE else None

    return [Comparison("allreduce", f"all-reduce of {size_text(size)}", str(size), "allreduce.largo", f"allreduce.{side}",
                       "s", floor(size) if side == "mpi" else None)
            for side in ("mpi", "gloo") for size in allreduce.SIZES]


ASKED: list[Comparison | Limit] = [
    *_rates(), *_costs(),
    *(Limit(bench, f"{what}, part of a step of {title}", number, f"{name}.largo", "share", 0.01)
      for bench, name, title in (("lenet", "lenet", "LeNet"), ("resnet20", "resnet20", "ResNet-20"))
      for what, number in (("gradient norm and noise", "gradient_sums_share"), ("logging and metrics", "logging_share"))),
    *_sums(),
    Comparison("loader", "loader, 2 workers", "images_per_s", "loader.largo", "loader.pytorch", floor=1.5),
    *(Comparison(bench, f"peak memory per rank, {title}", "peak_rss_bytes", f"{name}.largo", f"{name}.pytorch", "bytes", 1.0)
      for bench, name, title in (("lenet", "lenet", "LeNet"), ("resnet20", "resnet20", "ResNet-20"),
                                 ("resnet50", "resnet50", "ResNet-50"))),
    Comparison("start", "start to first step", "first_step_s", "start.largo", "start.pytorch", "s"),
    Limit("start", "start to first step", "first_step_s", "start.largo", "s", 3.0),
]
