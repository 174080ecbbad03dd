"""Starts the ranks of one measurement, all pinned alike, and sees to it that none outlives it."""
from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 300  # of one measurement
PINNED = Path(__file__).with_name("pinned.py")
RUN_ALONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class MeasurementFailed(Exception):
    """A measurement that gave no number, and why."""


@dataclass(frozen=True)
class Finished:
    stdout: str
    peak_rss_bytes: int  # of the rank with the most; 0 where ranks were not pinned
    started: float  # time.time() when the first process was started


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def run_alone(command: list[str], folder: Path) -> Finished:
    """One process on all cores."""
    return _collect([_start(command, folder, RUN_ALONE)], folder, None)


def run_mpi(mpirun: str, ranks: int, command: list[str], folder: Path, watch: Callable[[], None] | None = None) -> Finished:
    """Ranks under Open MPI, whose shared memory goes with them. `watch` is called every few ms while they run."""
    # Names of sockets must stay short, so the folder of Open MPI's own is not below ours.
    memory, session = tempfile.mkdtemp(prefix="largo.", dir="/dev/shm"), tempfile.mkdtemp(prefix="largo.", dir="/tmp")
    environment = {**RUN_ALONE, "OMPI_MCA_orte_tmpdir_base": session, "OMPI_MCA_rmaps_base_oversubscribe": "1",
                   "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    for part in ("btl_vader", "btl_sm", "osc_sm", "osc_rdma"):
        environment[f"OMPI_MCA_{part}_backing_directory"] = memory
    launch = [mpirun, "-n", str(ranks), "--bind-to", "none", *_pinned(folder), *command]
    try:
        return _collect([_start(launch, folder, environment)], folder, watch)
    finally:
        shutil.rmtree(memory, ignore_errors=True)
        shutil.rmtree(session, ignore_errors=True)


def run_gloo(ranks: int, command: list[str], folder: Path) -> Finished:
    """Ranks that find each other through a file; FOLDER/meet is appended to the command."""
    meet = folder / "meet"
    meet.unlink(missing_ok=True)
    children = []
    for rank in range(ranks):
        environment = {**RUN_ALONE, "RANK": str(rank), "WORLD_SIZE": str(ranks), "GLOO_SOCKET_IFNAME": "lo"}
        children.append(_start([*_pinned(folder), *command, "--meet", str(meet)], folder, environment, rank))
    return _collect(children, folder, None)


def _pinned(folder: Path) -> list[str]:
    return [sys.executable, str(PINNED), str(folder), ",".join(map(str, cores()))]


@dataclass
class _Child:
    process: subprocess.Popen
    command: list[str]
    out: Path
    err: Path
    started: float


def _start(command: list[str], folder: Path, environment: dict[str, str], number: int = 0) -> _Child:
    out, err = folder / f"out-{number}", folder / f"err-{number}"
    started = time.time()
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                                   env={**os.environ, **environment}, start_new_session=True)
    return _Child(process, command, out, err, started)


def _collect(children: list[_Child], folder: Path, watch: Callable[[], None] | None) -> Finished:
    with _killed_at_the_end(children):
        end = time.monotonic() + LIMIT_S
        while any(child.process.poll() is None for child in children):
            failed = [child for child in children if child.process.poll()]
            if failed or time.monotonic() > end:
                break  # the others would wait for it
            if watch is not None:
                watch()
            time.sleep(0.004)
    for child in children:
        if child.process.returncode != 0:
            what = "killed" if child.process.returncode < 0 else f"exit code {child.process.returncode}"
            raise MeasurementFailed(f"{what}: {' '.join(child.command[-3:])}: {_last_words(child.err)}")
    peaks = [json.loads(file.read_text())["peak_rss_bytes"] for file in folder.glob("rank-*.json")]
    return Finished(children[0].out.read_text(), max(peaks, default=0), children[0].started)


def _last_words(file: Path) -> str:
    """What the program said last, without the frame of dashes in which mpirun then says that it ended."""
    lines = [line.strip() for line in file.read_text(errors="replace").splitlines() if line.strip()]
    own = list(itertools.takewhile(lambda line: not line.startswith("-----"), lines))
    return " | ".join((own or lines)[-4:])


@contextmanager
def _killed_at_the_end(children: list[_Child]):
    try:
        yield
    finally:
        for child in children:
            if child.process.poll() is None:
                os.killpg(child.process.pid, signal.SIGTERM)
        for child in children:
            try:
                child.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(child.process.pid, signal.SIGKILL)
                child.process.wait()
