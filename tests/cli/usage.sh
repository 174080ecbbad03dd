#!/usr/bin/env bash
# What does not get as far as a run: help, wrong command lines, a launcher that does not fit.
#   usage.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
small_config config.yaml

run 1 --help
expect_code 0
grep -q train out || fail "$ran does not name its subcommands on stdout"

for wrong in "" "nonsense" "--nonsense" "train" "train --nonsense config.yaml"; do
  # shellcheck disable=SC2086  # words
  run 1 $wrong
  expect_code 2
  [[ -s err && ! -s out ]] || fail "$ran: messages belong on stderr"
done
run 1 train config.yaml nonsense
[[ $code = 2 || $code = 78 ]] || fail "$ran: exit code $code instead of 2 or 78"
expect_err nonsense

run 2 train missing.yaml
expect_code 66
expect_err missing.yaml
[[ $(grep -c missing.yaml err) = 1 ]] || fail "$ran says it twice"

# A launcher that starts each rank as a world of its own: all would train, and none with the others.
for launcher in SLURM_STEP_NUM_TASKS PMI_SIZE; do
  export "$launcher=4"
  run 1 train config.yaml
  expect_code 69
  expect_err 'srun --mpi=list'
  unset "$launcher"
done
[[ ! -e runs ]] || fail "a run directory was made"

run 1 config check config.yaml
expect_code 0
run 1 config print config.yaml lr.base=0.25
expect_code 0
cp out printed.yaml
grep -q 0.25 printed.yaml || fail "$ran does not show the override"
run 1 config print printed.yaml
expect_code 0
# Comments say where a value comes from, which differs.
diff <(sed 's/ *#.*//' printed.yaml) <(sed 's/ *#.*//' out) || fail "what is printed does not read back to itself"
run 1 config schema
expect_code 0
grep -q lr.base_batch out || fail "$ran does not list the keys"
run 1 lr config.yaml --at 0,19 --csv
expect_code 0
[[ $(grep -c , out) -ge 2 ]] || fail "$ran gives no table"
