"""What the numbers were measured on, and whether anything else was running there."""
from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

BUSY = 0.05  # of the cores' time by others: more than this and the numbers say less


def describe(root: Path, largo: str, mpirun: str, peer: Path | None) -> dict[str, object]:
    """For the report. Takes a second, in which the machine is watched."""
    load = os.getloadavg()  # before this program adds to it
    return {
        "cpu": _cpu_field("model name") or platform.processor(),
        "isa": [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in _cpu_field("flags").split()],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{_system()}, Linux {platform.release()}",
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(root),
        "largo": _output([largo, "version"]),
        "mpi": next(iter(_output([mpirun, "--version"]).splitlines()), ""),
        "pytorch": _output([str(peer), "-c", "import torch; print(torch.__version__)"]) if peer else "",
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in load],
        "busy_before": round(busy_share(1.0), 3),
    }


def busy_share(seconds: float) -> float:
    """How much of all cores' time was in use, over so many seconds in which this program does nothing."""
    first = _times()
    time.sleep(seconds)
    used, total = (after - before for after, before in zip(_times(), first))
    return used / total if total else 0.0


def commit(root: Path) -> str:
    """With a + where tracked files differ from it; empty outside a checkout."""
    name = _output(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"])
    return name + ("+" if name and _output(["git", "-C", str(root), "status", "--porcelain", "-uno"]) else "")


def _times() -> tuple[int, int]:
    values = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, idle, wait, *interrupts = values[:8]
    return user + nice + system + sum(interrupts), sum(values[:8])


def _cpu_field(name: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
