#!/usr/bin/env bash
# A run that goes on from a checkpoint has the numbers of one that went through, in float64.   resume.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
options=(train.precision=float64 train.length=10steps model.norm.kind=sync_batch checkpoint.every=5steps
  train.ema.decay=0.9 train.ema.at_batch=32)

on_device 2 whole "${options[@]}"
on_device 2 resumed "${options[@]}" checkpoint.resume=runs/whole/checkpoints/step-00000005
expect_err "resumed from"
python3 - <<'PY' || fail "$ran did not go on from step 5"
import json
steps = [e["step"] for e in map(json.loads, open("runs/resumed/metrics.jsonl")) if e["event"] == "train"]
assert steps == [6, 7, 8, 9, 10], steps
PY
same losses whole resumed 1e-10 6
same weights whole resumed 1e-10
