#!/usr/bin/env bash
# Gross losses of speed only: ratios of things measured side by side, the best of several tries.
# launch/bench has the numbers.   speed_smoke.sh LARGO MPIRUN RAW_LENET
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
raw_lenet=$3

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
  run 2 allreduce run.device=cpu run.threads=1 --min 1048576 --max 1048576 --iterations 200 --json table.json
  expect_code 0
  python3 -c 'import json; row, = json.load(open("table.json"))["sizes"]; print(row["mpi_min_s"] / row["min_s"])'
}
best 6 2 "MPI's time / Largo's for 1 MB" sums

# A step of LeNet beside the same step written plainly (1.4 times as long on an idle machine): 5 % quantiles, one rank.
cat >lenet.yaml <<'YAML'
run: {seed: 1, device: cpu, threads: 1}
data: {kind: synthetic, shape: [1, 28, 28], limit: 512}
model: {name: lenet}
batch: {global: 64}
lr: {base: 0.01, base_batch: 64}
train: {length: 90steps, eval_every: 1000000steps}
YAML
steps() {
  local plain
  plain=$(OMP_NUM_THREADS=1 "$raw_lenet" 90)
  run 1 train lenet.yaml --fresh
  expect_code 0
  python3 -c 'import sys; print(float(sys.argv[1]) / float(sys.argv[2]))' "$plain" "$(field runs/lenet/summary.json step_time.p5)"
}
best 4 0.7 "time of a plain LeNet step / Largo's" steps
