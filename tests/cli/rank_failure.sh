#!/usr/bin/env bash
# A rank that throws ends the whole job within seconds, with its own exit code, and the message names
# the rank and the host.   rank_failure.sh FAILING_RANK MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for mode in barrier reduction own_reduction; do
  run 3 "$mode"
  expect_code 65
  expect_err "[rank 1 @ $(hostname)] error: gave up"
done

# An exception on a thread of its own, and a call of exit() deep inside, must not leave the others waiting.
run 3 terminate
expect_code 70
expect_err "gave up"
run 3 exit
expect_code 70
