#!/usr/bin/env bash
# A machine without a GPU or a driver: a build with CUDA starts, trains on the CPU, and says in one sentence why there
# is no GPU to be had. A build without CUDA says that.
#   no_gpu.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if compgen -G '/dev/nvidia[0-9]*' >/dev/null; then
  echo "SKIPPED: this machine has a GPU"
  exit 77
fi

cat >run.yaml <<'YAML'
data: {kind: synthetic, shape: [1, 8, 8], classes: 4, limit: 64}
model: {name: mlp}
batch: {global: 16}
lr: {base: 0.1, base_batch: 16}
train: {length: 3steps}
YAML

with_cuda=no
run 1 version --all
expect_code 0
! grep -q '^GPUs  *CUDA' out || with_cuda=yes

for ranks in 1 2 3; do
  SECONDS=0
  run "$ranks" train run.yaml run.device=cuda
  expect_code 69
  [[ $SECONDS -lt 60 ]] || fail "$ran took $SECONDS s"
  [[ $(grep -c '^error: ' err) = 1 ]] || fail "$ran: not one error"
  grep -q '^error: run.device: cuda' err || fail "$ran does not name the key"
  grep -q 'cpu' err || fail "$ran does not say what is legal"
  [[ ! -e runs/run ]] || fail "$ran left a run directory"
done
if [[ $with_cuda = yes ]]; then
  run 1 train run.yaml run.device=cuda
  grep -q "rank 0 on $(hostname) has no GPU: there is no GPU, or no NVIDIA driver" err || fail "$ran: $(cat err)"
  CUDA_VISIBLE_DEVICES= run 1 train run.yaml run.device=cuda
  expect_code 69
  grep -q 'none is visible to it: CUDA_VISIBLE_DEVICES=' err || fail "$ran: $(cat err)"
else
  grep -q 'needs a build of Largo with CUDA' err || fail "$ran: $(cat err)"
fi

# What only GPUs have is refused by its line.
run 2 train run.yaml comm.backend=nccl
expect_code 78
grep -q "override 1: comm.backend=nccl: .* this run is on the CPU" err || fail "$ran: $(cat err)"

# auto is the CPU here, for evaluation too.
run 2 train run.yaml
expect_code 0
grep -q '"device": "cpu"' runs/run/environment.json || fail "environment.json names no device"
run 1 eval run.yaml --checkpoint runs/run
expect_code 0
run 1 eval run.yaml --checkpoint runs/run run.device=cuda
expect_code 69
