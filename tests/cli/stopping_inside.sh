#!/usr/bin/env bash
# A signal that comes while a checkpoint is written, while a step or an evaluation waits for its images, or while the
# data are staged: exit code 75, and the same command then goes on to the weights, to the bit, of a run that was left
# alone. One that comes too late for a stop changes nothing.   stopping_inside.sh LARGO MPIRUN SHIM [TRIALS [SEED]]
# TRIALS of all of it with signals at random; without them one signal each in a save, a step and a staging.
shim=$3
trials=${4:-0}
RANDOM=${5:-1}
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$here/stops.sh"
small_images images

stop_config() {
  cat >"$1" <<'YAML'
run: {seed: 5, device: cpu, threads: 1}
data: {kind: image_folder, path: images, workers: 2, mixup: 0.2, augment: {pad_crop: 1, flip: true}}
model: {name: mlp}
batch: {global: 20, max_micro: 5}
lr: {base: 0.02, base_batch: 20, policy: {kind: cosine}}
train:
  {length: 120steps, last_batch: wrap, log_every: 1steps, eval_every: 60steps, ema: {decay: 0.98, at_batch: 20}}
checkpoint: {every: 50steps}
YAML
}
stop_config whole.yaml
run 2 train whole.yaml
expect_code 0

# What is held up: in the middle of a save, of an epoch, of an evaluation.
in_save=/optimizer.safetensors in_step=train/a/0041.png in_evaluation=val/b/0005.png
gate=$work/gate waits=$work/waits

# begin_held PATH ARGUMENT ...: a run that cannot open files with this in their path until the gate is removed; it has
# come to the first when this returns.
begin_held() {
  : >"$gate"
  rm -f "$waits"
  wrapper=(env LD_PRELOAD="$shim" LARGO_TEST_HELD="$1" LARGO_TEST_GATE="$gate" LARGO_TEST_WAITS="$waits")
  begin "${@:2}"
  await 60 "$1 to be wanted by $ran" test -s "$waits"
}

# The signal has no effect yet.
still_waits() {
  sleep 0.3
  kill -0 "$launcher" 2>/dev/null || fail "$ran ends while it is held up"
}

# stop_held PATH SIGNAL WHERE
stop_held() {
  ran="a run with SIG$2 to rank $3 while it waits for $1"
  begin_held "$1"
  await 60 "the first step of $ran" has train
  send "$2" "$3"
  still_waits
  rm "$gate"
  stopped_with 75
  expect_err "stopped by SIG$2 on rank"
  goes_on
}

# stop_staging SIGNAL WHERE CODE: there is nothing to save.
stop_staging() {
  ran="a run with SIG$1 to rank $2 while its data are staged"
  rm -rf local
  begin_held "$in_step" data.stage="$work/local"
  send "$1" "$2"
  ended_with "$3"
  expect_err "before training began"
  rm "$gate"
  run 2 train stopped.yaml data.stage="$work/local"
  expect_code 0
  ends_as_whole
  [[ -z $(find local -name '*.part') ]] || fail "$ran leaves parts of files"
}

if [[ $trials = 0 ]]; then
  stop_held "$in_save" USR1 all
  stop_held "$in_step" USR1 1
  stop_staging USR1 all 75
  exit 0
fi

# draw: a signal and where it goes; mpirun must not be told to terminate.
draw() {
  local ways=("USR1 all" "USR2 all" "USR1 0" "USR1 1" "USR2 0" "USR2 1" "TERM 0" "TERM 1")
  read -r signal where <<<"${ways[RANDOM % ${#ways[@]}]}"
}

for ((trial = 1; trial <= trials; ++trial)); do
  for what in "$in_save" "$in_step" "$in_evaluation"; do
    draw
    stop_held "$what" "$signal" "$where"
  done
  draw
  [[ $signal != TERM ]] || signal=USR2
  stop_staging "$signal" "$where" 75

  # While a checkpoint is written and training goes on: the stop's own waits for it.
  draw
  ran="a run with SIG$signal to rank $where beside a save"
  begin_held "$in_save" train.length=100000steps checkpoint.every=500steps
  send "$signal" "$where"
  still_waits
  rm "$gate"
  stopped_with 75
  for saved in runs/stopped/checkpoints/*; do
    run 1 eval stopped.yaml --checkpoint "$saved"
    expect_code 0
  done

  # A second signal in the second save ends the run: the first save is left.
  draw
  ran="a run with SIG$signal to rank $where twice in a save"
  begin_held step-00000100.
  send "$signal" "$where"
  sleep 1.2
  send "$signal" "$where"
  ended_with $((128 + $(kill -l "$signal")))
  expect_err "a second signal: ends at once"
  rm "$gate"
  saved=$(ls -d runs/stopped/checkpoints/step-*/DONE | tail -n 1)
  steps=$((10#$(expr "$saved" : '.*/step-\([0-9]*\)/DONE')))
  ((steps < 100)) || fail "$ran: the save that was not done counts"
  goes_on
done

# That one is saved at the end anyway is no reason not to be done.
ran="a run with SIGUSR1 in its last save"
begin_held "$in_save" checkpoint.every=1000steps
send USR1 all
still_waits
rm "$gate"
ended_with 0
ends_as_whole
