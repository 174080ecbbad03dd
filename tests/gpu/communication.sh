#!/usr/bin/env bash
# Sums by NCCL and by the host are the same training; what a run on GPUs leaves behind.   communication.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
options=(train.precision=float64 model.norm.kind=sync_batch)
fast=nccl
[[ $device = cuda ]] || fast=auto

on_device 2 fast "${options[@]}" "comm.backend=$fast" run.profile=2-3
on_device 2 staged "${options[@]}" comm.backend=mpi
for what in losses weights; do same $what fast staged 1e-10; done
on_device 2 own "${options[@]}" comm.norm_communicator=own
for what in losses weights; do same $what fast own 1e-10; done

for rank in 0 1; do
  python3 - "runs/fast/profile.rank$rank.json" <<'PY' || fail "run.profile left no trace of rank $rank"
import json, sys
assert json.load(open(sys.argv[1]))["traceEvents"]
PY
done

run 2 allreduce "run.device=$device" "${share[@]}" "comm.backend=$fast" --min 4096 --max 1048576 --iterations 3 \
  --json table.json
expect_code 0
[[ $device = cuda ]] || exit 0
[[ $(field runs/fast/summary.json peak_memory_bytes) -gt 0 ]] || fail "summary.json gives no peak_memory_bytes"
[[ $(find runs/fast -name 'nccl.*.log' | wc -l) = 2 ]] || fail "the run directory does not hold NCCL's two logs"
# Last, because containers that bar CUPTI fail it.
grep -q '"cat": *"kernel"' runs/fast/profile.rank0.json || fail "the trace holds no kernel of the GPU: is CUPTI barred here?"
