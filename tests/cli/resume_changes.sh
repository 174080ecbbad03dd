#!/usr/bin/env bash
# What a resumed run may change: the number of ranks and the micro-batches as long as training takes the
# same course, the place of the data, and what checkpoint.allow names; all else is refused with the words
# that would go on.   resume_changes.sh LARGO MPIRUN SHIM
shim=$3
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cat >whole.yaml <<'YAML'
run: {seed: 3, device: cpu, threads: 1}
data: {kind: synthetic, shape: [3, 8, 8], classes: 4, limit: 500, mixup: 0.2, augment: {pad_crop: 2, flip: true}}
model: {name: resnet8, norm: {kind: group}}
batch: {global: 48, max_micro: 12}
lr: {base: 0.05, base_batch: 48, policy: {kind: cosine}}
train: {length: 20steps, last_batch: wrap, precision: float64, log_every: 1steps, eval_every: 20steps}
checkpoint: {every: 3steps, keep_best: false}
YAML
cp whole.yaml parts.yaml

# Killed at a call of its second save, so that one checkpoint is there, in the middle of an epoch.
call=130
killed_on() {  # RANKS OVERRIDE ...
  local ranks=$1
  shift
  timeout 60 "$mpirun" -n "$ranks" --bind-to none env LD_PRELOAD="$shim" LARGO_TEST_DISK="kill $call" "$largo" train parts.yaml \
    "$@" >out 2>err </dev/null && fail "the run on $ranks ranks was not killed"
  return 0
}

# 1 -> 2 -> 4 -> 1 ranks, and other micro-batches: the same weights, but for rounding.
run 1 train whole.yaml
expect_code 0
killed_on 1
killed_on 2 batch.max_micro=24
grep -q 'resumed from' err || fail "the run did not resume on two ranks"
killed_on 4
run 1 train parts.yaml batch.max_micro=8
expect_code 0
expect_err "4 ranks"
python3 - <<'PY' || fail "the weights differ by more than rounding"
import json, struct, sys
def read(name):
    data = open(f"runs/{name}/weights.safetensors", "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    out = {}
    for key, entry in header.items():
        begin, end = entry["data_offsets"]
        if entry["dtype"] == "F64":
            out[key] = struct.unpack(f"<{(end - begin) // 8}d", data[8 + size + begin:8 + size + end])
    return out
whole, parts = read("whole"), read("parts")
worst = 0
for key, values in whole.items():
    norm = sum(v * v for v in values) ** 0.5
    worst = max(worst, sum((a - b) ** 2 for a, b in zip(values, parts[key])) ** 0.5 / max(norm, 1e-300))
print(worst)
sys.exit(0 if whole.keys() == parts.keys() and whole and worst <= 1e-10 else 1)
PY

# Statistics of batches: the same sets of samples may lie on other ranks, other sets are refused.
sed 's/kind: group/kind: batch/' whole.yaml >parts.yaml
rm -r runs/parts
killed_on 1
run 2 train parts.yaml batch.max_micro=24
expect_code 78
expect_err "takes its statistics over samples of one micro-batch"
expect_err "batch.micro: 12 -> 24"
expect_err "checkpoint.allow=[batch.micro]"
killed_on 2 batch.max_micro=12
grep -q 'resumed from' err || fail "the run did not resume on two ranks"
run 2 train parts.yaml batch.global=24
expect_code 78
expect_err "batch.global: 48 -> 24"

# Keys that alter the trajectory.
run 2 train parts.yaml lr.base=0.01 train.clip_norm=1.5
expect_code 78
expect_err "lr.base: 0.05 -> 0.01"
expect_err "To go on as before, add: lr.base=0.05; and leave out: train.clip_norm"
expect_err "add: 'checkpoint.allow=[lr.base, train.clip_norm]'"
run 2 train parts.yaml lr.base=0.01 'checkpoint.allow=[lr.base]' comm.bucket_bytes=4096 train.log_every=2steps
expect_code 0
expect_err "resumed from"
folder=$(ls -d runs/parts/checkpoints/step-* | tail -n 1)
run 2 train whole.yaml run.name=other "checkpoint.resume=$folder" 'checkpoint.allow=[lr]'
expect_code 78
expect_err "model.norm.kind: batch -> group"

# The data in another place, and other data in the same place.
python3 - <<'PY'
import os, struct
def write(name, dims, data):
    with open(os.path.join("data", name), "wb") as file:
        file.write(struct.pack(f">BBBB{len(dims)}I", 0, 0, 8, len(dims), *dims) + bytes(data))
os.mkdir("data")
for part, count in (("train", 64), ("t10k", 32)):
    write(f"{part}-images-idx3-ubyte", [count, 8, 8], [i * 7 % 256 for i in range(count * 64)])
    write(f"{part}-labels-idx1-ubyte", [count], [i * i % 10 for i in range(count)])
PY
sed -e 's/^data: .*/data: {kind: idx, path: data}/' -e 's/resnet8.*/mlp}/' -e 's/global: 48/global: 16/' whole.yaml >parts.yaml
rm -r runs/parts
call=50  # a smaller model
killed_on 1
mv data moved
run 1 train parts.yaml data.path=moved
expect_code 0
expect_err "resumed from"
rm -r runs/parts
killed_on 1 data.path=moved
printf '\001' | dd of=moved/train-labels-idx1-ubyte bs=1 seek=20 conv=notrunc status=none
run 1 train parts.yaml data.path=moved
expect_code 65
expect_err "was trained on other data"
