#!/usr/bin/env bash
# Runs that are killed again and again, at random times on a random rank or at a random call inside of
# a save, and started again each time, end with the weights, to the bit, of a run that was left alone.
#   kill_resume.sh LARGO MPIRUN SHIM [TRIALS [SECONDS [SEED]]]
# TRIALS runs of two kills each (5); none is begun after SECONDS (600). SEED: of all that is random (1).
shim=$3
trials=${4:-5} seconds=${5:-600}
RANDOM=${6:-1}
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Groups of updates with everything that has state: momentum, an average, shuffling, mixup.
kill_config() {
  cat >"$1" <<'YAML'
run: {seed: 5, device: cpu, threads: 1}
data: {kind: synthetic, shape: [1, 12, 12], classes: 4, limit: 500, mixup: 0.2, augment: {pad_crop: 2, flip: true}}
model: {name: mlp}
batch: {global: 48, max_micro: 16}
lr: {base: 0.02, base_batch: 48, warmup: {kind: gradual, length: 1ep, start: zero}, policy: {kind: cosine}}
train:
  {length: 600steps, last_batch: wrap, log_every: 50steps, eval_every: 150steps, clip_norm: 1.0,
   ema: {decay: 0.98, at_batch: 48}}
checkpoint: {every: 40steps}
YAML
}
kill_config whole.yaml
run 2 train whole.yaml
expect_code 0

export LARGO_TEST_MARK=$work
kills=0 inside=0 missed=0 done_trials=0
events() { cat runs/killed/metrics.jsonl 2>/dev/null | grep -c -e '"start"' -e '"resume"' || true; }

# Kills the run at the N-th call of a save that changes something on the disk.
kill_inside() {
  local call=$((1 + RANDOM % 70))
  ran="a run that is killed at call $call of its saves"
  code=0
  timeout -k 5 60 "$mpirun" -n 2 --bind-to none env LD_PRELOAD="$shim" LARGO_TEST_DISK="kill $call" "$largo" train \
    killed.yaml >out 2>err </dev/null || code=$?
  [[ $code != 124 ]] || fail "$ran hangs"
  if [[ -e runs/killed/summary.json ]]; then missed=$((missed + 1)); else inside=$((inside + 1)); fi
}

# Kills a rank some time after training has begun.
kill_outside() {
  local rank=$((RANDOM % 2)) before
  before=$(events)
  ran="a run whose rank $rank is killed"
  "$mpirun" -n 2 --bind-to none "$largo" train killed.yaml >out 2>err </dev/null &
  local launcher=$!
  begun() { [[ $(events) -gt $before ]]; }
  await 60 "the start of $ran" begun
  sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
  for id in $(marked OMPI_COMM_WORLD_RANK=$rank); do kill -KILL "$id" 2>/dev/null || true; done
  ended() { ! kill -0 "$launcher" 2>/dev/null; }
  await 60 "the end of $ran" ended
  wait "$launcher" 2>/dev/null || true
  if [[ -e runs/killed/summary.json ]]; then missed=$((missed + 1)); else kills=$((kills + 1)); fi
}

end=$((SECONDS + seconds))
for ((trial = 1; trial <= trials && SECONDS < end; ++trial)); do
  rm -rf runs/killed
  kill_config killed.yaml
  for which in 1 2; do
    if [[ -e runs/killed/summary.json ]]; then  # the kill before came too late
      missed=$((missed + 1))
    elif ((RANDOM % 3 == 0)); then
      kill_outside
    else
      kill_inside
    fi
  done
  run 2 train killed.yaml
  expect_code 0
  for file in weights.safetensors weights_ema.safetensors; do
    cmp "runs/whole/$file" "runs/killed/$file" || fail "trial $trial: another $file"
  done
  for left in runs/killed/checkpoints/*; do
    [[ -e $left/DONE ]] || fail "trial $trial left $left"
  done
  done_trials=$trial
done
echo "$done_trials trials, $inside kills inside of a save, $kills at other times, $missed came too late; all weights equal"
[[ $((inside + kills)) -gt $((done_trials)) ]] || fail "too few kills came in time"
