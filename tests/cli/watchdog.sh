#!/usr/bin/env bash
# Whatever stops one rank ends the job within the time limit and ten seconds, with who, where and in
# which collective, and leaves no process behind; ranks that are only slow are waited for.
# watchdog.sh FAULTY_RANK MPIRUN LARGO
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
trainer=$3
host=$(hostname)
export LARGO_TEST_MARK=$work
memory=$work/memory  # what Open MPI itself leaves there when it is killed goes with us
mkdir "$memory"
export OMPI_MCA_btl_vader_backing_directory=$memory OMPI_MCA_btl_sm_backing_directory=$memory

nothing_left() {  # shared memory has no name (shared_memory.sh)
  no_ranks() { [[ -z $(marked OMPI_COMM_WORLD_SIZE=3) ]]; }
  await 10 "the ranks to be gone after '$ran'" no_ranks
}

# faulty FAULT CODE: three ranks with a limit of two seconds.
limit=2
faulty() {
  rm -rf reports
  local begin=$SECONDS
  ran="faulty_rank $1 $limit" code=0
  timeout -k 5 60 "$mpirun" -n 3 --bind-to none "$largo" "$1" "$limit" >out 2>err </dev/null || code=$?
  expect_code "$2"
  [[ $((SECONDS - begin)) -le $((limit + 11)) ]] || fail "$ran took $((SECONDS - begin)) s"
  nothing_left
}

# Where a rank is killed or ends by itself, the launcher knows.
faulty kill 137
expect_err "rank 1"
faulty segmentation 139
expect_err "rank 1"
faulty exit 70
expect_err "[rank 1 @ $host] error: exit() was called before the end of the program"
faulty exit_at_once 1
faulty exception 65
expect_err "[rank 1 @ $host] error: gave up"

# Where it only does not come, the others do.
faulty stop 69
expect_err "[rank 0 @ $host] error: all_reduce of 4000 bytes (bucket 0), #6 on a communicator of 3 ranks, in step 5"
expect_err "arrived: ranks 0, 2 on $host; missing: rank 1 on $host, which waits for data in step 5"
[[ $(grep -c 'did not end' err) = 1 ]] || fail "$ran: not one rank reports"
expect_err "[rank 0 @ $host] warning: waits for"
faulty loader 69
expect_err "missing: rank 1 on $host, which waits for data in step 5"
for rank in 0 1 2; do  # the one in its loader answers, too
  ls reports/watchdog.*/"rank-$rank.txt" >/dev/null || fail "$ran: rank $rank left no report"
done
grep -q '#6: all_reduce of 4000 bytes (bucket 0), NOT COMPLETE' reports/watchdog.*/rank-2.txt || fail "no calls in the report"
[[ $(grep -c 'all_reduce of 4000 bytes (bucket 0), took' reports/watchdog.*/rank-1.txt) = 5 ]] || fail "not all calls in the report"
faulty other_communicator 69
expect_err "missing: rank 1 on $host"

# Nobody can write or flush any more.
faulty held_files 69
expect_err "did not end within the time limit"

# Different calls on one communicator.
rm -rf reports
run 3 mismatch "$limit"
[[ $code = 69 || $code = 70 ]] || fail "$ran: exit code $code instead of 69 or 70"
expect_err "rank"
nothing_left

# No faults.
for slow in slow evaluation; do
  limit=1
  faulty "$slow" 0
  grep -q done out || fail "$ran did not come to its end"
  [[ ! -e reports ]] || fail "$ran: a report where nothing was wrong"
done

# A training that is stopped from outside, perhaps in an evaluation or a checkpoint.
largo=$trainer
small_config config.yaml 10000000steps
timeout -k 5 60 "$mpirun" -n 3 --bind-to none "$largo" train config.yaml comm.timeout=2s comm.init_timeout=10s >out 2>err </dev/null &
launcher=$!
ran="largo train on 3 ranks"
has_trained() { grep -q '"event":"train"' runs/config/metrics.jsonl; }
await 60 "training to begin" has_trained
kill -STOP "$(marked OMPI_COMM_WORLD_RANK=1)"
code=0
wait "$launcher" || code=$?
expect_code 69
expect_err "the process of rank 1 on $host is stopped"
ls runs/config/watchdog.*/rank-0.txt >/dev/null || fail "no report in the run directory"
nothing_left

# A rank that does not come as far as MPI.
run_without_rank_one() {
  timeout -k 5 60 "$mpirun" -n 3 --bind-to none bash -c '
    [[ $OMPI_COMM_WORLD_RANK != 1 ]] || exec sleep 100
    exec "$0" "$@"' "$largo" "$@" >out 2>err </dev/null || code=$?
}
for command in "train config.yaml" "eval config.yaml --checkpoint runs" "lr-find config.yaml" allreduce; do
  ran="largo $command without rank 1" code=0
  # shellcheck disable=SC2086  # words
  run_without_rank_one $command comm.init_timeout=1s
  expect_code 69
  expect_err "error: MPI did not start within 1 s (comm.init_timeout): some rank has not come this far"
  nothing_left
done
