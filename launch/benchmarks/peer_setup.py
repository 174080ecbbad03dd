"""PyTorch for the benchmarks, in a virtual environment of its own outside the checkout.

launch/setup keeps LibTorch without its Python half, which fits one Python version only, so the wheel of the same version
comes from the package index that pip is configured for. CUDA's libraries, without which that wheel does not load even on
a CPU, are taken from launch/setup's cache where they are (launch/setup --cuda), and from the index (2 GB) elsewhere.
"""
from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TORCH = "2.11.0"
TORCHVISION = "0.26.0"
PLAIN_PARTS = ("pillow", "numpy", "filelock", "typing-extensions", "sympy", "networkx", "jinja2", "fsspec")
IMPORT = "import torch, torchvision, PIL, numpy; torch.distributed.is_gloo_available() or exit('gloo is missing')"


@dataclass(frozen=True)
class Peer:
    """What there is of PyTorch: `python` runs it; None, and `missing` says why, where there is none."""

    python: Path | None
    missing: str = ""


def cache_folder() -> Path | None:
    """launch/setup's, by the same rule; None where no variable says where."""
    if os.environ.get("LARGO_CACHE"):
        return Path(os.environ["LARGO_CACHE"])
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "largo"
    return Path(os.environ["HOME"]) / ".cache" / "largo" if os.environ.get("HOME") else None


def find_peer(fetch: bool) -> Peer:
    """The environment, made first where `fetch` allows it. Takes a minute or two and is then there for good."""
    cache = cache_folder()
    if cache is None:
        return Peer(None, "none of LARGO_CACHE, XDG_CACHE_HOME and HOME is set")
    target = cache / f"bench-torch-{TORCH}-py{sys.version_info.major}{sys.version_info.minor}"
    python = target / "bin" / "python"
    if (target / "DONE").exists():
        return Peer(python)
    if not fetch:
        return Peer(None, f"there is no {target}, and --no-fetch forbids to make it")
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "bench.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second benchmark waits here and finds the work done
        if (target / "DONE").exists():
            return Peer(python)
        try:
            _make(target, cache / f"libtorch-{TORCH}-cuda")
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(target, ignore_errors=True)
            return Peer(None, f"PyTorch {TORCH} could not be installed into {target}: {error}")
    return Peer(python)


def _make(target: Path, with_cuda: Path) -> None:
    print(f"launch/bench: fetching PyTorch {TORCH} (once) into {target}", file=sys.stderr)
    shutil.rmtree(target, ignore_errors=True)
    # Debian's python3 has no ensurepip; its pip fills another environment all the same.
    _run([sys.executable, "-m", "venv", "--without-pip", str(target)])
    python = str(target / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    if (with_cuda / "DONE").exists():
        _run([*pip, *PLAIN_PARTS])
        _run([*pip, "--no-deps", f"torch=={TORCH}", f"torchvision=={TORCHVISION}"])
        packages = next((target / "lib").glob("python*/site-packages"))
        (packages / "nvidia").symlink_to(with_cuda / "nvidia")
    else:
        _run([*pip, f"torch=={TORCH}", f"torchvision=={TORCHVISION}", "pillow", "numpy"])
    _run([python, "-c", IMPORT])
    (target / "DONE").touch()


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr, stdin=subprocess.DEVNULL)
