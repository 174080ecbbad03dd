"""The report: a table for the terminal, the same in Markdown, and everything in JSON."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from .floors import Results, Row, Spread, rows_of, spread

HEADS = ["measured", "Largo", "against", "theirs", "ratio", "quartiles", "floor", ""]
PHASES = ("data", "forward", "backward", "exposed_comm", "gradient_sums", "optimizer")
PROFILED = {"lenet.largo": "LeNet", "resnet8.largo": "ResNet-8", "resnet20.largo": "ResNet-20",
            "resnet20_bf16.largo": "ResNet-20, bfloat16", "resnet50.largo": "ResNet-50 at 64x64"}


def quantity(value: float, unit: str) -> str:
    """Three digits, and the unit that fits."""
    if unit == "images/s":
        return f"{value:.0f}/s" if value >= 100 else f"{value:.1f}/s"
    if unit == "share":
        return f"{100 * value:.2f} %"
    if unit == "bytes":
        return f"{value / 1e6:.0f} MB"
    for factor, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= factor:
            break
    digits = max(0, 2 - math.floor(math.log10(value / factor))) if value > 0 else 0
    return f"{value / factor:.{digits}f} {name}"


def cells(row: Row) -> list[str]:
    def middle(one: Spread | None) -> str:
        return "-" if one is None else quantity(one.median, row.unit)

    def figure(value: float) -> str:
        return f"{100 * value:+.1f} %" if row.cost else f"{value:.2f}"

    ratio = between = "-"
    if row.figure is not None:
        ratio, between = figure(row.figure.median), f"{figure(row.figure.low)} … {figure(row.figure.high)}"
    goal = ""
    if row.goal is not None:
        is_limit = row.against == "limit"
        goal = f"≤ {quantity(row.goal, row.unit)}" if is_limit else (
            f"≤ {100 * row.goal:.0f} %" if row.cost else f"≥ {row.goal:g}")
    verdict = {None: "", True: "reached", False: "NOT reached"}[row.reached]
    return [row.title, middle(row.ours), row.against, middle(row.theirs), ratio, between, goal, verdict]


def step_rows(results: Results) -> list[list[str]]:
    """Where a step of Largo's goes: medians of the parts, and what is left of the whole step's."""
    table = []
    for name, title in PROFILED.items():
        rounds = [one for one in results.get(name, []) if one is not None]
        if not rounds:
            continue
        parts = [spread([one[f"step_{phase}_s"] for one in rounds]).median for phase in PHASES]
        whole = spread([one["step_p50_s"] for one in rounds]).median
        texts = [f"{quantity(part, 's')} ({part / whole:.0%})" if part > 0 else "0" for part in parts]
        table.append([title, quantity(whole, "s"), *texts, f"{max(0.0, 1 - sum(parts) / whole):.1%}"])
    return table


STEP_HEADS = ["step of", "whole", "data", "forward", "backward", "exposed sum", "gradient sums", "optimizer", "rest"]


def text_table(heads: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    lines = [list(heads), *map(list, table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines) + "\n"


def markdown_table(heads: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(line) + " |" for line in table]) + "\n"


def headline(machine: dict, rounds: int, quick: bool) -> str:
    isa = ", ".join(machine["isa"]) or "no vector extensions known here"
    return (f"{machine['cpu']} ({isa}), {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}; Largo at commit "
            f"{machine['commit'] or 'unknown'}, PyTorch {machine['pytorch'] or 'not measured'}, {machine['mpi']}; {machine['date']}, "
            f"load average {machine['load_average'][0]} at the start; 2 ranks, 1 thread each, on cores of their own; "
            f"{rounds} round{'s' if rounds != 1 else ''}{', quick: too short to quote' if quick else ''}.")


def notes(machine: dict, missing: Sequence[str], failures: Sequence[str], idle_limit: float) -> list[str]:
    found = []
    if machine["busy_before"] > idle_limit:
        found.append(f"The machine was not idle: {machine['busy_before']:.0%} of its cores' time was in use before the start.")
    found += missing
    found.append("SyncBN has no PyTorch column: torch.nn.SyncBatchNorm refuses CPU tensors. It is compared with Largo's batch norm per rank.")
    found.append("PyTorch runs eagerly, with fused SGD, channels_last, gradient_as_bucket_view and without broadcast_buffers; torch.compile is not tried.")
    found.append("PyTorch's resident memory includes what its wheel loads of CUDA's libraries.")
    found += [f"Failed: {text}" for text in failures]
    return found


def terminal(results: Results, head: str, remarks: Sequence[str]) -> str:
    parts = [head + "\n", text_table(HEADS, [cells(row) for row in rows_of(results)])]
    steps = step_rows(results)
    if steps:
        parts.append(text_table(STEP_HEADS, steps))
    parts.append("".join(f"- {remark}\n" for remark in remarks))
    return "\n".join(parts)


def markdown(results: Results, head: str, remarks: Sequence[str]) -> str:
    parts = [head + "\n", markdown_table(HEADS, [cells(row) for row in rows_of(results)]),
             "The ratio is the median over rounds of how many times as fast (as small, for memory) Largo is in one round; costs are "
             "in added time.\n"]
    steps = step_rows(results)
    if steps:
        parts += ["Where a step goes, on rank 0 (medians):\n", markdown_table(STEP_HEADS, steps)]
    parts.append("".join(f"- {remark}\n" for remark in remarks))
    return "\n".join(parts)


def as_json(results: Results, machine: dict, remarks: Sequence[str], rounds: int, quick: bool) -> dict:
    return {"machine": machine, "rounds": rounds, "quick": quick, "notes": list(remarks),
            "rows": [dataclasses.asdict(row) for row in rows_of(results)], "measurements": results}
