"""What launch/gpu_check writes down.

    report.py add OUT largo|torch MODEL BATCH PRECISION FILE   a line of OUT/bench.jsonl from a summary.json, or from the
                                                               last line of torch_bench.py's output; prints images/s
    report.py write OUT DEVICE MINUTES                         OUT/report.json and OUT/report.md from what is in OUT
"""
import glob
import json
import os
import statistics
import sys


def add(out, who, model, batch, precision, file):
    if who == "largo":
        summary = json.load(open(file))
        step = summary["step_time"]
        entry = {"images_per_s": summary["samples_per_s"], "step_s_p5": step["p5"], "step_s_p50": step["p50"],
                 "step_s_p95": step["p95"], "peak_memory_bytes": summary.get("peak_memory_bytes", 0)}
    else:
        lines = [line for line in open(file) if line.startswith("{")]
        entry = json.loads(lines[-1])
    entry = {"who": who, "model": model, "batch": int(batch), "precision": precision, **entry}
    with open(os.path.join(out, "bench.jsonl"), "a") as lines:
        lines.write(json.dumps(entry) + "\n")
    print(f"{entry['images_per_s']:.0f}")


def spread(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})" if values else "–"


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def write(out, device, minutes):
    results = []
    for line in open(os.path.join(out, "results.tsv")):
        kind, name, verdict, seconds, note = line.rstrip("\n").split("\t")
        results.append({"kind": kind, "name": name, "result": verdict, "seconds": int(seconds), "note": note})
    bench = [json.loads(line) for line in open(os.path.join(out, "bench.jsonl"))]
    allreduce = [json.load(open(file)) for file in sorted(glob.glob(os.path.join(out, "allreduce_*.json")))]
    machine = open(os.path.join(out, "machine.txt")).read()
    gpus = sorted({line.split(" (UUID")[0] for line in machine.splitlines() if line.startswith("GPU ") and "UUID" in line})
    kind = "rung" if any(r["kind"] == "rung" for r in results) else "test"
    tests = [r for r in results if r["kind"] == kind]
    passed = sum(r["result"] == "passed" for r in tests)
    good = all(r["result"] in ("passed", "skipped") or kind == "rung" and r["note"].startswith("needs") for r in tests)
    head = [f"{passed} of {len(tests)} {kind}s passed" + ("" if good else ": NOT ALL GOOD"),
            f"{sum(r['result'] == 'skipped' for r in tests)} skipped, {sum(r['result'] == 'not run' for r in results)} not run"]
    if device != "cuda":
        head.insert(0, "dry run on the CPU: no evidence about GPUs")

    pairs = {}
    for entry in bench:
        pairs.setdefault((entry["model"], entry["batch"], entry["precision"]), []).append(entry)
    rows = []
    for (model, batch, precision), entries in pairs.items():
        rates = {who: [e["images_per_s"] for e in entries if e["who"] == who] for who in ("largo", "torch")}
        memory = {who: max([e["peak_memory_bytes"] for e in entries if e["who"] == who], default=0) for who in rates}
        ratio = (f"{statistics.median(rates['largo']) / statistics.median(rates['torch']):.3f}"
                 if rates["largo"] and rates["torch"] else "–")
        rows.append((model, batch, precision, spread(rates["largo"]), spread(rates["torch"]), ratio,
                     *(f"{memory[who] / 2**30:.1f}" for who in rates)))

    json.dump({"device": device, "gpus": gpus, "good": good, "minutes": int(minutes), "results": results, "bench": bench,
               "allreduce": allreduce}, open(os.path.join(out, "report.json"), "w"), indent=1)
    with open(os.path.join(out, "report.md"), "w") as report:
        report.write("# Largo on GPUs\n\n" + "\n".join(f"**{line}**  " for line in head) + "\n\n")
        report.write("\n".join(gpus) + "\n\n## Tests and benchmarks\n\n")
        report.write(table(("", "name", "result", "s", "note"),
                           [(r["kind"], r["name"], r["result"], r["seconds"], r["note"]) for r in results]))
        report.write("\n## Images per second\n\nBatch over the median step, after ten steps; median (least–most) of alternating "
                     "runs. Memory is the allocator's peak.\n\n")
        report.write(table(("model", "batch", "precision", "Largo", "PyTorch", "Largo / PyTorch", "Largo GiB", "PyTorch GiB"), rows)
                     if rows else "None.\n")
        for entry in allreduce:
            report.write(f"\n## All-reduce, {entry['ranks']} ranks, {entry['dtype']}, {entry['device']}\n\n")
            report.write(table(("bytes", "median µs", "min µs", "max µs", "algbw GB/s", "busbw GB/s", "wrong"),
                               [(s["bytes"], f"{s['median_s'] * 1e6:.1f}", f"{s['min_s'] * 1e6:.1f}", f"{s['max_s'] * 1e6:.1f}",
                                 f"{s['algbw_gb_per_s']:.2f}", f"{s['busbw_gb_per_s']:.2f}", s["wrong"]) for s in entry["sizes"]]))
        report.write("\nThe machine and all versions: machine.txt. What everything printed: logs/.\n")


{"add": add, "write": write}[sys.argv[1]](*sys.argv[2:])
