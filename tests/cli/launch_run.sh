#!/usr/bin/env bash
# launch/run passes on exit codes and signals, and leaves neither processes nor shared memory behind.
#   launch_run.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export LARGO=$largo RANKS=2
export LARGO_TEST_MARK=$work

ranks_of_ours() { marked OMPI_COMM_WORLD_SIZE=2; }
two_ranks() { [[ $(ranks_of_ours | wc -l) = 2 ]]; }
no_ranks() { [[ -z $(ranks_of_ours) ]]; }
in_memory() { find /dev/shm -mindepth 1 | sort; }
memory_before=$(in_memory)
left_in_memory() { comm -13 <(echo "$memory_before") <(in_memory); }
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
  expect_code 75
  await 10 "the ranks to go after SIG$signal" no_ranks
  await 10 "/dev/shm to be as it was before SIG$signal: $(left_in_memory)" nothing_left
done
[[ $(find /tmp -maxdepth 1 -name 'largo.*') = "$temporary_before" ]] || fail "launch/run left a folder in /tmp"
