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

# To be scored a checkpoint must be whole, too; a file by itself is taken as it is.
run 2 eval a.yaml --checkpoint unharmed/checkpoints/step-00000020
expect_code 0
cp out scores
run 1 eval a.yaml --checkpoint unharmed/checkpoints/step-00000020/model.safetensors
expect_code 0
run 2 eval a.yaml --checkpoint unharmed
expect_code 0
cmp scores out || fail "$ran: the run's result and its last checkpoint have other scores"
for damage in "truncate -s -1 FOLDER/model.safetensors" "truncate -s -1 FOLDER/optimizer.safetensors" "rm FOLDER/model.safetensors" "truncate -s 9 FOLDER/DONE" \
  "truncate -s -2 FOLDER/manifest.json" "dd of=FOLDER/state.json bs=1 seek=9 conv=notrunc status=none"; do
  restart
  file=$newest/$(basename "${damage##*FOLDER/}")
  ${damage//FOLDER/$newest} <<<'?'
  run 1 eval a.yaml --checkpoint $newest
  expect_code 65
  expect_err "${file%% *}"
done
restart
rm $newest/DONE
run 1 eval a.yaml --checkpoint $newest
expect_code 66
expect_err "$newest is no complete checkpoint"

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

# A limit of file sizes is a full disk to whom it stops: an error, no signal.
restart
rm -r $newest
ran="a run under a limit of file sizes"
code=0
LD_PRELOAD="$shim" LARGO_TEST_DISK="limit 1" "$largo" train a.yaml >out 2>err </dev/null || code=$?
expect_code 74
expect_err "no checkpoint of step 20, which takes"
expect_err "File too large"
[[ -e runs/a/checkpoints/step-00000010/DONE && ! -e $newest/DONE ]] || fail "$ran left: $(ls runs/a/checkpoints)"

# What is renamed to DONE, the last thing of a save, stands for files and folders that are on the disk.
restart
rm -r $newest
cat >order.py <<'PY'
import os, sys
calls = [line.split() for line in open(sys.argv[1])]
def last(*call):
    found = [i for i, c in enumerate(calls) if c == list(call)]
    return found[-1] if found else sys.exit(f"no call {call}")
done = [c for c in calls if c[-1].endswith("/DONE")]
if [c[0] for c in done] != ["rename"]: sys.exit(f"DONE is not there by one rename: {done}")
final = os.path.dirname(done[0][2])
moved = [c for c in calls if c[0] == "rename" and c[2] == final]
if len(moved) != 1: sys.exit(f"{final} is not there by one rename: {moved}")
temporary = os.path.abspath(moved[0][1])
mark, move = last(*done[0]), last(*moved[0])
written = {c[1] for c in calls if c[0] == "write" and c[1].startswith(temporary + "/")}
if len(written) < 6: sys.exit(f"files that are written: {written}")
for path in written:
    if not last("write", path) < last("fsync", path) < last("fsync", temporary): sys.exit(f"{path} is not brought to disk")
if not last("fsync", temporary) < move < last("fsync", os.path.dirname(temporary)): sys.exit("a folder is not brought to disk")
if not last("fsync", os.path.dirname(temporary)) < mark < last("fsync", os.path.abspath(final)): sys.exit("DONE comes too early")
if any(c[0] == "write" and c[1].startswith(os.path.abspath(final) + "/") for c in calls): sys.exit("written where it is read")
PY
LD_PRELOAD="$shim" LARGO_TEST_DISK_LOG="$work/calls" "$largo" train a.yaml >out 2>err || fail "a run with a log of its calls"
python3 order.py calls || fail "the order of a save's calls: $(cat calls)"

# No folder to write to.
restart
rm -r runs/a/checkpoints
touch runs/a/checkpoints
run 2 train a.yaml
expect_code 74
expect_err "runs/a/checkpoints"
