#!/usr/bin/env bash
# Ranks of a node sum in shared memory that leaves nothing behind, however they end; where they may
# not have it they say why and train on, to the same bits.   shared_memory.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export LARGO_TEST_MARK=$work
small_config config.yaml

run 2 train config.yaml run.name=shared
expect_code 0
expect_err "sums through shared memory"
run 2 train config.yaml run.name=overlapped comm.overlap=on comm.first_bucket_bytes=1024 comm.bucket_bytes=1024
expect_code 0
# Files of less than a segment: no rank can have one.
(ulimit -f 4000000 && run 2 train config.yaml run.name=plain && echo "$code" >code)
[[ $(cat code) = 0 ]] || fail "a run without shared memory ended with $(cat code)"
expect_err "shared memory cannot be used: rank 0: files may grow to"
# Sums of two do not depend on their order.
for other in overlapped plain; do
  cmp runs/shared/weights.safetensors runs/$other/weights.safetensors || fail "the $other run has other bits"
done

# Gradients that travel in bfloat16 train, a little differently, with and without it.
loss() { field "runs/$1/summary.json" final.loss; }
run 2 train config.yaml run.name=narrow comm.dtype=bfloat16
expect_code 0
(ulimit -f 4000000 && run 2 train config.yaml run.name=narrow_plain comm.dtype=bfloat16 && echo "$code" >code)
[[ $(cat code) = 0 ]] || fail "a bfloat16 run without shared memory ended with $(cat code)"
cmp runs/narrow/weights.safetensors runs/narrow_plain/weights.safetensors || fail "sums in bfloat16 differ"
! cmp -s runs/narrow/weights.safetensors runs/shared/weights.safetensors || fail "comm.dtype changes nothing"
python3 -c "assert abs($(loss narrow) / $(loss shared) - 1) < 0.02" || fail "losses: $(loss narrow), $(loss shared)"

# MPI's own files are its launcher's to remove; ours have no names.
in_memory() { find /dev/shm -mindepth 1 ! -name 'vader_segment.*' | sort; }
memory_before=$(in_memory)
nothing_left() { [[ -z $(comm -13 <(echo "$memory_before") <(in_memory)) ]]; }
no_ranks() { [[ -z $(marked OMPI_COMM_WORLD_SIZE=2) ]]; }
has_trained() { grep -q '"event":"train"' "runs/$1/metrics.jsonl"; }
for victim in rank launcher; do
  "$mpirun" -n 2 --bind-to none "$largo" train config.yaml train.length=10000000steps run.name=$victim >out 2>err </dev/null &
  launcher=$!
  await 60 "training to begin" has_trained $victim
  marked OMPI_COMM_WORLD_SIZE=2 | while read -r rank; do
    grep -q memfd:largo "/proc/$rank/maps" || fail "rank $rank has no shared memory"
  done
  if [[ $victim = rank ]]; then
    kill -KILL "$(marked OMPI_COMM_WORLD_RANK=1)"
  else
    kill -KILL "$launcher"
  fi
  await 20 "the ranks to go after a $victim was killed" no_ranks
  await 10 "/dev/shm to be as it was before" nothing_left
  wait "$launcher" 2>/dev/null || true
done
