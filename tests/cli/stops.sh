# What the tests of runs that are stopped share. Sourced after common.sh, by scripts with a function
# stop_config FILE, whose whole run on two ranks is in runs/whole; the one that is stopped is in
# runs/stopped.
# shellcheck shell=bash disable=SC2154  # variables of common.sh
export LARGO_TEST_MARK=$work
wrapper=()  # that the ranks of begin() are started with
has() { grep -q "\"event\":\"$1\"" runs/stopped/metrics.jsonl; }
signals_to_one() { for id in $(marked OMPI_COMM_WORLD_RANK="$2"); do kill -s "$1" "$id"; done; }

# begin ARGUMENT ...: a run that is left to itself; its launcher's id in $launcher.
begin() {
  rm -rf runs/stopped
  stop_config stopped.yaml
  "$mpirun" -n 2 --bind-to none "${wrapper[@]}" "$largo" train stopped.yaml "$@" >out 2>err </dev/null &
  launcher=$!
}

# send SIGNAL WHERE: to the launcher, which passes it on (all), or to one rank.
send() {
  if [[ $2 = all ]]; then kill -s "$1" "$launcher"; else signals_to_one "$1" "$2"; fi
}

# ended_with CODE: the launcher's; within a minute, with nobody left.
times=()
ended_with() {
  local since
  since=$(date +%s%N)
  ended() { ! kill -0 "$launcher" 2>/dev/null; }
  await 60 "the end of $ran" ended
  code=0
  wait "$launcher" || code=$?
  expect_code "$1"
  times+=($((($(date +%s%N) - since) / 1000000)))
  [[ -z $(marked OMPI_COMM_WORLD_SIZE=2) ]] || fail "$ran leaves processes behind"
}

# stopped_with CODE: and with what a run that stops leaves.
stopped_with() {
  ended_with "$1"
  [[ $(field runs/stopped/summary.json status) = stopped ]] || fail "$ran has another status"
  steps=$(field runs/stopped/summary.json steps)
  [[ -e $(printf 'runs/stopped/checkpoints/step-%08d/DONE' "$steps") ]] || fail "$ran has no checkpoint of step $steps"
  [[ ! -e runs/stopped/weights.safetensors ]] || fail "$ran leaves the weights of a whole run"
  [[ ! -s out ]] || fail "$ran prints on stdout"
  tail -n 1 runs/stopped/metrics.jsonl | grep -q '"event":"end"' || fail "$ran does not record its end"
}

goes_on() {  # [RANKS]
  run "${1:-2}" train stopped.yaml
  expect_code 0
  expect_err "after step $steps"
  [[ ${1:-2} != 2 ]] || ends_as_whole
}

ends_as_whole() {
  for file in weights.safetensors weights_ema.safetensors; do
    cmp "runs/whole/$file" "runs/stopped/$file" || fail "$ran ends with another $file"
  done
}

