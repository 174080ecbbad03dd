"""Goes through the rounds, and keeps what they gave."""
from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import training
from .floors import Results
from .plan import TRAINED_ALIKE, Measurement
from .processes import MeasurementFailed
from .report import quantity


@dataclass
class Session:
    results: Results = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    rounds: int = 0


def measure(plan: list[Measurement], rounds: int, minutes: float, work: Path) -> Session:
    """Up to `rounds` rounds: none is begun that would not end in time if it took as long as the last one."""
    session = Session()
    start = time.monotonic()
    for number in range(rounds):
        began = time.monotonic()
        for one in plan:
            _measure_one(session, one, f"round {number + 1}/{rounds}", work)
        _check_sides(session)
        session.rounds = number + 1
        now = time.monotonic()
        if number + 1 < rounds and now - start + now - began > 60 * minutes:
            _say(f"{number + 1} rounds took {(now - start) / 60:.1f} minutes; the next one would end after {minutes:g}")
            break
    return session


def _measure_one(session: Session, one: Measurement, place: str, work: Path) -> None:
    folder = work / "measurement"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    numbers = None
    try:
        numbers = one.measure(folder)
        unit = "images/s" if one.headline == "images_per_s" else "s"
        found = quantity(numbers[one.headline], unit)
    except MeasurementFailed as error:
        found = f"FAILED, {error}"
        session.failures.append(f"{one.name}, {place}: {error}")
    session.results.setdefault(one.name, []).append(numbers)
    _say(f"{place}: {one.name}: {found} ({time.monotonic() - began:.0f} s)")


def _check_sides(session: Session) -> None:
    """Numbers of a round in which the two sides did not do the same work are no numbers."""
    for ours, theirs in TRAINED_ALIKE:
        a, b = session.results.get(ours, [None])[-1], session.results.get(theirs, [None])[-1]
        if a is None or b is None:
            continue
        try:
            training.check_same_work(a, b)
        except MeasurementFailed as error:
            session.failures.append(f"{ours} against {theirs}: {error}")
            session.results[ours][-1] = session.results[theirs][-1] = None
            _say(session.failures[-1])


def _say(text: str) -> None:
    print(f"launch/bench: {text}", file=sys.stderr, flush=True)
