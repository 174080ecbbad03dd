#!/usr/bin/env bash
# A signal or the end of the time ends a run with exit code 75 and a checkpoint; the same command then goes on to the
# weights, to the bit, of a run that was left alone.
#   stopping.sh LARGO MPIRUN [TRIALS [SEED]]
# TRIALS of each way to stop, at random times (1).
trials=${3:-1}
RANDOM=${4:-1}
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

stop_config() {
  cat >"$1" <<'YAML'
run: {seed: 5, device: cpu, threads: 1}
data: {kind: synthetic, shape: [1, 20, 20], classes: 4, limit: 2000, mixup: 0.2}
model: {name: mlp}
batch: {global: 480, max_micro: 60}
lr: {base: 0.02, base_batch: 48, policy: {kind: cosine}}
train: {length: 250steps, last_batch: wrap, log_every: 10steps, eval_every: 60steps, ema: {decay: 0.98, at_batch: 48}}
checkpoint: {every: 100steps}
YAML
}
stop_config whole.yaml
run 2 train whole.yaml
expect_code 0

source "$here/stops.sh"

sleep_a_little() { sleep "0.$((RANDOM % 5))$((RANDOM % 10))"; }
count=0
for ((trial = 1; trial <= trials; ++trial)); do
  for way in "USR1 all" "USR2 all" "USR1 0" "USR2 1" "TERM 1"; do
    read -r signal where <<<"$way"
    ran="a run with SIG$signal to rank $where"
    begin
    await 60 "the start of $ran" has train
    ((trials == 1)) || sleep_a_little
    send "$signal" "$where"
    stopped_with 75
    expect_err "stopped by SIG$signal on rank $([[ $where = all ]] && echo 0 || echo "$where")"
    [[ $where != all ]] || expect_err "and on all others"
    goes_on
    count=$((count + 1))
  done
done
printf '%s\n' "${times[@]}" | sort -n | awk -v n="$count" '{ t[NR] = $1 }
  END { printf "%d stops of %d; from signal to exit: median %d ms, longest %d ms\n", NR, n, t[int((NR + 1) / 2)], t[NR] }'
[[ $trials = 1 ]] || exit 0

# Nothing was lost yet, or one step is kept.
ran="a run with SIGUSR1 about its first step"
begin
await 60 "the start of $ran" has start
kill -USR1 "$launcher"
ended_with 75
run 2 train stopped.yaml
expect_code 0
ends_as_whole

# One sample at a time: the time goes into evaluations.
ran="a run with SIGUSR1 in an evaluation"
begin train.eval_every=1steps eval.batch=1
await 60 "an evaluation of $ran" has eval
signals_to_one USR1 1
stopped_with 75
goes_on

# The agreement waits for a rank that hangs; who asks again does not.
ran="a run with a second signal"
begin
await 60 "the start of $ran" has train
signals_to_one STOP 1
signals_to_one USR1 0
sleep 1.2
signals_to_one USR2 0
ended_with $((128 + 12))
expect_err "SIGUSR2: a second signal: ends at once"
run 2 train stopped.yaml
expect_code 0
ends_as_whole

# launch/run makes of the signals that mpirun would kill its ranks for one that it passes on.
ran="launch/run with SIGTERM"
rm -rf runs/stopped
stop_config stopped.yaml
LARGO=$largo RANKS=2 "$root/launch/run" stopped.yaml >out 2>err </dev/null &
launcher=$!
await 60 "the start of $ran" has train
kill -TERM "$launcher"
stopped_with 75
goes_on 1

# Alone, as after Ctrl-C.
ran="a run of one rank with SIGINT"
rm -rf runs/stopped
# A background process of a script ignores SIGINT, unless it has a job of its own.
set -m
"$largo" train stopped.yaml >out 2>err </dev/null &
launcher=$!
set +m
await 60 "the start of $ran" has train
kill -INT "$launcher"
stopped_with 75
goes_on 1

ran="a run with a limit"
begin train.length=1000000steps train.time_limit=4s
stopped_with 75
expect_err "stops in time for train.time_limit 4s"
expect_err "stopped by train.time_limit 4s"

ran="a run in a Slurm job"
export SLURM_JOB_END_TIME=$(($(date +%s) + 5))
begin train.length=1000000steps train.time_limit=1h
stopped_with 75
expect_err "stopped by the end of the Slurm job"
export SLURM_JOB_END_TIME=soon
run 2 train whole.yaml run.name=warned train.length=3steps
expect_code 0
expect_err "SLURM_JOB_END_TIME=soon is not a number"
unset SLURM_JOB_END_TIME

# A run that is done is done.
run 2 train whole.yaml run.name=short train.length=2steps train.time_limit=1s
expect_code 0
[[ -z $(find /dev/shm -maxdepth 1 -newer whole.yaml -name '*largo*') ]] || fail "shared memory is left"
