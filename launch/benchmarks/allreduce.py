"""Seconds of one blocking all-reduce of float32, two ranks: Largo's, MPI_Allreduce in a plain process, gloo."""
from __future__ import annotations

import json
from pathlib import Path

from . import processes
from .training import RANKS, Numbers

PEER_ALLREDUCE = Path(__file__).with_name("peer_allreduce.py")
KB, MB = 1 << 10, 1 << 20
SIZES = (4 * KB, 16 * KB, 64 * KB, 256 * KB, 1 * MB, 4 * MB, 25 * MB, 50 * MB, 100 * MB)
LARGE = 25 * MB  # from here on fewer samples


def samples(size: int, quick: bool) -> int:
    if size < LARGE:
        return 50 if quick else 300
    return 5 if quick else 15


def sum_largo(largo: str, mpirun: str, folder: Path, quick: bool) -> Numbers:
    found: Numbers = {}
    table = folder / "table.json"
    # It doubles the size, so it measures more than SIZES.
    for least, most in ((SIZES[0], 4 * MB), (LARGE, SIZES[-1])):
        processes.run_mpi(mpirun, RANKS, [
            largo, "allreduce", "run.device=cpu", "run.threads=1", "--min", str(least), "--max", str(most),
            "--iterations", str(samples(least, quick)), "--json", str(table)], folder)
        found |= {str(row["bytes"]): row["median_s"] for row in json.loads(table.read_text())["sizes"]}
    return found


def sum_mpi(program: str, mpirun: str, folder: Path, quick: bool) -> Numbers:
    return json.loads(processes.run_mpi(mpirun, RANKS, [program, *_arguments(quick)], folder).stdout)


def sum_gloo(python: Path, folder: Path, quick: bool) -> Numbers:
    return json.loads(processes.run_gloo(RANKS, [str(python), str(PEER_ALLREDUCE), *_arguments(quick)], folder).stdout)


def _arguments(quick: bool) -> list[str]:
    return [f"{size}:{samples(size, quick)}" for size in SIZES]
