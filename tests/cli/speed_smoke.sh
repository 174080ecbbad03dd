#!/usr/bin/env bash
# Gross losses of speed only: ratios of things measured side by side, the best of several tries.
# launch/bench has the numbers.   speed_smoke.sh LARGO MPIRUN RAW_LENET
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
raw_lenet=$3
run_seconds=150

# best TRIES LEAST WHAT COMMAND ...: the command prints a ratio, of which one must be LEAST or more.
best() {
  local tries=$1 least=$2 what=$3 found=() ratio
  shift 3
  for ((i = 0; i < tries; ++i)); do
    ratio=$("$@") || fail "$what could not be measured"
    found+=("$ratio")
    echo "$what: $ratio"
    python3 -c "import sys; sys.exit(not $ratio >= $least)" && return
  done
  fail "$what: ${found[*]}; at least $least was expected once"
}

# The sum in a shared window takes a tenth of the time of MPI_Allreduce on an idle machine.
sums() {
  run 2 allreduce run.device=cpu run.threads=1 --min 1048576 --max 1048576 --iterations 50 --json table.json
  expect_code 0
  python3 -c 'import json; row, = json.load(open("table.json"))["sizes"]; print(row["mpi_min_s"] / row["min_s"])'
}
best 8 1.5 "MPI's time / Largo's for 1 MB" sums

# A step of LeNet beside the same step written plainly, one rank each: processor time, which other programs do not
# lengthen much, of 110 steps less that of 10.
cat >lenet.yaml <<'YAML'
run: {seed: 1, device: cpu, threads: 1}
data: {kind: synthetic, shape: [1, 28, 28], limit: 512}
model: {name: lenet}
batch: {global: 64}
lr: {base: 0.01, base_batch: 64}
train: {length: 10steps, eval_every: 1000000steps}
YAML
steps() {
  python3 - "$largo" "$raw_lenet" <<'PY'
import os, subprocess, sys
largo, raw = sys.argv[1:]
def processor_s(*command):
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, (command, child.returncode)
    return usage.ru_utime + usage.ru_stime
def hundred_steps(command):
    return processor_s(*command(110)) - processor_s(*command(10))
plain = hundred_steps(lambda steps: [raw, str(steps)])
print(plain / hundred_steps(lambda steps: [largo, "train", "lenet.yaml", "--fresh", f"train.length={steps}steps"]))
PY
}
best 4 0.75 "processor time of a plain LeNet step / Largo's" steps
