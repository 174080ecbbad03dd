#!/usr/bin/env bash
# launch/run passes on exit codes and signals, and leaves neither processes nor shared memory behind.
#   launch_run.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export LARGO=$largo RANKS=2
export LARGO_TEST_MARK=$work  # found again in /proc/PID/environ of every process of ours
unset OMPI_MCA_btl_vader_backing_directory

marked() {  # processes that belong to a launch/run of this test, this shell's own left out
  local environment
  for environment in /proc/[0-9]*/environ; do
    if tr '\0' '\n' <"$environment" 2>/dev/null | grep -q -x "OMPI_COMM_WORLD_SIZE=2" &&
      tr '\0' '\n' <"$environment" 2>/dev/null | grep -q -x "LARGO_TEST_MARK=$work"; then
      cut -d/ -f3 <<<"$environment"
    fi
  done
}
two_ranks() { [[ $(marked | wc -l) = 2 ]]; }
no_ranks() { [[ -z $(marked) ]]; }
left_in_memory() { comm -13 <(sort <<<"$memory_before") <(ls -A /dev/shm | sort); }
memory_before=$(ls -A /dev/shm)
nothing_left() { [[ -z $(left_in_memory) ]]; }
temporary_before=$(find /tmp -maxdepth 1 -name 'largo.*')

small_config config.yaml
ran="launch/run"
code=0
timeout -k 5 90 "$root/launch/run" config.yaml run.name=whole >out 2>err || code=$?
expect_code 0
[[ $(field runs/whole/summary.json world) = 2 ]] || fail "the run directory is not in ./runs, or not of two ranks"

code=0
timeout -k 5 90 "$root/launch/run" config.yaml lr.base=-1 >out 2>err || code=$?
expect_code 78

has_trained() { grep -q '"event":"train"' "runs/$1/metrics.jsonl"; }
for signal in INT TERM; do
  # A process group of its own, as a terminal makes it; Ctrl-C reaches all of it.
  set -m
  "$root/launch/run" config.yaml train.length=10000000steps run.name="$signal" >out 2>err &
  launcher=$!
  set +m
  await 60 "training to begin" has_trained "$signal"
  two_ranks || fail "two ranks should be running"
  kill -s "$signal" -- "-$launcher"
  ended() { ! kill -0 "$launcher" 2>/dev/null; }
  await 30 "launch/run to end after SIG$signal" ended
  code=0
  wait "$launcher" || code=$?
  [[ $code != 0 ]] || fail "a run ended by SIG$signal is not done, but the exit code is 0"
  await 10 "the ranks to go after SIG$signal" no_ranks
  await 10 "/dev/shm to be as it was before SIG$signal: $(left_in_memory)" nothing_left
done
[[ $(find /tmp -maxdepth 1 -name 'largo.*') = "$temporary_before" ]] || fail "launch/run left a folder in /tmp"
