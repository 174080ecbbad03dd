#!/usr/bin/env bash
# Damaged checkpoints are named and never loaded; where one cannot be written, the older ones stay.
#   damaged_checkpoint.sh LARGO MPIRUN SHIM
shim=$3
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

small_config a.yaml
run 2 train a.yaml
expect_code 0
cp runs/a/weights.safetensors whole
cp -r runs/a unharmed

# As a run that was killed before its end, with checkpoints of steps 10 and 20.
restart() {
  rm -rf runs/a
  cp -r unharmed runs/a
  rm runs/a/summary.json
}
newest=runs/a/checkpoints/step-00000020

restart
truncate -s -1 $newest/optimizer.safetensors
run 2 train a.yaml checkpoint.resume=$newest
expect_code 65
expect_err "$newest/optimizer.safetensors has"
run 2 train a.yaml
expect_code 0
expect_err "warning"
expect_err "$newest/optimizer.safetensors has"
expect_err "resumed from runs/a/checkpoints/step-00000010"
cmp whole runs/a/weights.safetensors || fail "$ran: other weights"

restart
printf 'X' | dd of=$newest/model.safetensors bs=1 seek=1000 conv=notrunc status=none
run 2 train a.yaml
expect_code 0
expect_err "$newest/model.safetensors is damaged between byte 0 and byte"
cmp whole runs/a/weights.safetensors || fail "$ran: other weights"

restart
rm $newest/model.safetensors runs/a/checkpoints/step-00000010/state.json
run 2 train a.yaml
expect_code 65
expect_err "every checkpoint is damaged"
expect_err "$newest/model.safetensors is missing"
expect_err "step-00000010/state.json is missing"
expect_err "--fresh"

# A disk that fails at one call or another of a save. Whatever fails, the older checkpoint stays.
code_of() { python3 -c 'import errno, sys; print(getattr(errno, sys.argv[1]))' "$1"; }
for trouble in "ENOSPC No space left on device:1" "EDQUOT Disk quota exceeded:3" "EIO Input/output error:7" \
  "EROFS Read-only file system:12" "ENOSPC No space left on device:14"; do
  restart
  rm -r $newest
  words=${trouble#* }
  ran="a run with the disk's trouble '$trouble'"
  code=0
  timeout 60 "$mpirun" -n 2 --bind-to none env LD_PRELOAD="$shim" LARGO_TEST_DISK="$(code_of "${trouble%% *}") ${trouble##*:}" \
    "$largo" train a.yaml >out 2>err </dev/null || code=$?
  expect_code 74
  expect_err "no checkpoint of step 20"
  expect_err "${words%:*}"
  expect_err "$newest"
  [[ -e runs/a/checkpoints/step-00000010/DONE && ! -e $newest/DONE ]] || fail "$ran left: $(ls runs/a/checkpoints)"
  run 2 train a.yaml
  expect_code 0
  cmp whole runs/a/weights.safetensors || fail "$ran: other weights"
done

# No folder to write to.
restart
rm -r runs/a/checkpoints
touch runs/a/checkpoints
run 2 train a.yaml
expect_code 74
expect_err "runs/a/checkpoints"
