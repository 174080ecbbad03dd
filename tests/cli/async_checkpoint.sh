#!/usr/bin/env bash
# Checkpoints are written while training goes on, one at a time; those by the clock come at a step that
# all ranks agree on; the best one stays.   async_checkpoint.sh LARGO MPIRUN SHIM
shim=$3
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# A disk on which a checkpoint takes seconds, and steps of about a millisecond.
small_config slow.yaml 200steps
code=0
ran="a run on a slow disk"
timeout 60 "$mpirun" -n 2 --bind-to none env LD_PRELOAD="$shim" LARGO_TEST_DISK="slow 1" "$largo" train slow.yaml \
  checkpoint.every=100steps train.eval_every=200steps >out 2>err </dev/null || code=$?
expect_code 0
expect_err "the checkpoint of step 200 waited"
python3 - <<'PY' || fail "$ran: checkpoints do not stand where they should in metrics.jsonl"
import json, sys
events = [(e["event"], e.get("step")) for e in map(json.loads, open("runs/slow/metrics.jsonl"))]
at = {event: i for i, event in enumerate(events)}
order = [("train", 100), ("train", 105), ("train", 200), ("checkpoint", 100), ("checkpoint", 200), ("end", 200)]
print(events[-8:])
sys.exit(0 if [at[e] for e in order] == sorted(at[e] for e in order) else 1)
PY
[[ -e runs/slow/checkpoints/step-00000100/DONE && -e runs/slow/checkpoints/step-00000200/DONE ]] || fail "$ran: no DONE"
run 2 train slow.yaml checkpoint.every=100steps train.eval_every=200steps --fresh
expect_code 0
cmp runs/slow/weights.safetensors runs/slow.old-1/weights.safetensors || fail "$ran: other weights"

# What the writer fails with ends the run on all ranks at the next save.
code=0
ran="a run whose second checkpoint fails"
timeout 60 "$mpirun" -n 2 --bind-to none env LD_PRELOAD="$shim" LARGO_TEST_DISK="28 20" "$largo" train slow.yaml \
  run.name=full checkpoint.every=50steps >out 2>err </dev/null || code=$?
expect_code 74
expect_err "No space left on device"
[[ $(field runs/full/summary.json status) = failed ]] || fail "$ran: the summary does not say so"

# By the clock, on any rank's word: the last, and more than one before it.
small_config clock.yaml 3000steps
run 2 train clock.yaml checkpoint.every=0.1s checkpoint.keep=1000 train.eval_every=3000steps
expect_code 0
written=$(grep -c '"event":"checkpoint"' runs/clock/metrics.jsonl)
[[ $written -ge 2 && $(ls runs/clock/checkpoints | wc -l) = "$written" ]] || fail "$ran wrote $written checkpoints"

# The best one, written when it is found.
small_config best.yaml 200steps
run 2 train best.yaml checkpoint.every=200steps checkpoint.keep=1 train.eval_every=5steps
expect_code 0
python3 - <<'PY' || fail "$ran: not the checkpoint of the best top-1, and the last"
import json, os, sys
evals = [e for e in map(json.loads, open("runs/best/metrics.jsonl")) if e["event"] == "eval"]
top1, step = max((e["top1"], -e["step"]) for e in evals)
expected = sorted({f"step-{-step:08d}", "step-00000200"})
print(expected, os.listdir("runs/best/checkpoints"))
sys.exit(0 if sorted(os.listdir("runs/best/checkpoints")) == expected else 1)
PY
run 2 train best.yaml run.name=any checkpoint.every=200steps checkpoint.keep=1 train.eval_every=5steps \
  checkpoint.keep_best=false
expect_code 0
[[ $(ls runs/any/checkpoints) = step-00000200 ]] || fail "$ran kept: $(ls runs/any/checkpoints)"
python3 - <<'PY' || fail "$ran: a best top-1 whose checkpoint is not kept goes into a checkpoint, or the other does not"
import glob, json, sys
states = {name: json.load(open(glob.glob(f"runs/{name}/checkpoints/step-00000200/state.json")[0])) for name in ("any", "best")}
sys.exit(0 if "best_top1" in states["best"] and "best_top1" not in states["any"] else 1)
PY

# Weights that are no numbers are no checkpoint, however seldom the losses are looked at: those before stay.
small_config diverges.yaml 20steps
run 2 train diverges.yaml train.log_every=20steps train.eval_every=20steps checkpoint.every=3steps \
  'lr={base: 1.0e+30, base_batch: 32, warmup: {kind: exponential, length: 12steps, start: 1.0e-6}}'
expect_code 76
expect_err 'is not finite'
python3 - <<'PY' || fail "$ran: no checkpoint, or one that is not finite"
import glob, json, math, struct, sys
folders = glob.glob("runs/diverges/checkpoints/step-*")
print(folders)
for folder in folders:
    data = open(folder + "/model.safetensors", "rb").read()
    header = 8 + struct.unpack("<Q", data[:8])[0]
    for name, of in json.loads(data[8:header]).items():
        if of.get("dtype") != "F32": continue
        first, end = of["data_offsets"]
        values = struct.unpack(f"<{(end - first) // 4}f", data[header + first:header + end])
        if not all(map(math.isfinite, values)): sys.exit(f"{folder}: {name}")
sys.exit(0 if folders else "none")
PY
