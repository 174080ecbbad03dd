#!/usr/bin/env bash
# bfloat16 trains, and stays near float32; so do gradients summed in bfloat16.   precision.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# A small set learnt by heart: the loss falls by a third and more.
options=(train.length=45steps data.limit=64 data.mixup=0 data.augment.cutout=0 data.augment.pad_crop=0 loss.label_smoothing=0
  lr.base=0.1)

on_device 1 float32 "${options[@]}"
on_device 1 bfloat16 "${options[@]}" train.precision=bfloat16
same losses float32 bfloat16 0.02
loss() { python3 -c '
import json, sys
print([e["loss"] for e in map(json.loads, open(sys.argv[1])) if e["event"] == "train"][int(sys.argv[2])])' "runs/$1/metrics.jsonl" "$2"; }
python3 -c 'import sys; sys.exit(float(sys.argv[2]) > 0.66 * float(sys.argv[1]))' "$(loss bfloat16 0)" "$(loss bfloat16 -1)" ||
  fail "the loss in bfloat16 hardly falls: $(loss bfloat16 0), in the end $(loss bfloat16 -1)"
if cmp -s runs/float32/weights.safetensors runs/bfloat16/weights.safetensors; then fail "bfloat16 changed nothing"; fi

on_device 2 float32_sums "${options[@]}"
[[ $device = cuda ]] || exit 0  # the CPU sums in float32 only
on_device 2 bfloat16_sums "${options[@]}" comm.dtype=bfloat16
same losses float32_sums bfloat16_sums 0.02
if cmp -s runs/float32_sums/weights.safetensors runs/bfloat16_sums/weights.safetensors; then
  fail "comm.dtype=bfloat16 changed nothing"
fi
