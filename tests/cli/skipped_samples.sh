#!/usr/bin/env bash
# Samples that cannot be read and are skipped: counted in records and checkpoints, the same whether
# training was stopped or not, on however many ranks.   skipped_samples.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# 1000 images for training, one of which ends early, and a few to score.
python3 - <<'PY'
import os, struct, zlib
def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
def png(value):
    rows = b"".join(b"\0" + bytes((value * 31 + 7 * i + j) % 256 for j in range(8)) for i in range(8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)) + \
        chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
for part, count in (("train", 500), ("val", 10)):
    for name in ("a", "b"):
        os.makedirs(f"images/{part}/{name}")
        for i in range(count):
            data = png(i + 500 * (name == "b"))
            if part == "train" and name == "a" and i == 77: data = data[:50]
            open(f"images/{part}/{name}/{i:04}.png", "wb").write(data)
PY
cat >a.yaml <<'YAML'
run: {seed: 1, device: cpu, threads: 1}
data: {kind: image_folder, path: images, on_bad_sample: skip}
model: {name: mlp}
batch: {global: 50, max_micro: 10}
lr: {base: 0.01, base_batch: 50}
train: {length: 60steps, log_every: 20steps, eval_every: 60steps}
checkpoint: {every: 10steps, keep: 9}
YAML
run 2 train a.yaml
expect_code 0
expect_err "cannot be read, the next one takes its place"
[[ $(field runs/a/summary.json skipped_samples) = 3 ]] || fail "$ran: not once in each of three epochs"
[[ $(field runs/a/checkpoints/step-00000060/state.json skipped_samples) = "[1, 1, 1]" ]] || fail "$ran: in its checkpoint"

# In the middle of an epoch: those that were trained on by then, wherever the loader had got to.
counts=$(field runs/a/checkpoints/step-00000030/state.json skipped_samples)
[[ $counts = "[1]" || $counts = "[1, 0]" || $counts = "[1, 1]" ]] || fail "after a step of the second epoch: $counts"
cp -r runs/a whole
for from in "1 30" "2 40" "3 30"; do
  read -r ranks step <<<"$from"
  rm -rf runs/a
  cp -r whole runs/a
  rm runs/a/summary.json
  for later in runs/a/checkpoints/step-*; do ((10#${later##*-} <= step)) || rm -r "$later"; done
  run "$ranks" train a.yaml
  expect_code 0
  expect_err "resumed from runs/a/checkpoints/step-000000$step"
  [[ $(field runs/a/summary.json skipped_samples) = 3 ]] || fail "$ran from step $step: $(field runs/a/summary.json skipped_samples)"
  [[ $(field runs/a/checkpoints/step-00000060/state.json skipped_samples) = "[1, 1, 1]" ]] || fail "$ran: in its checkpoint"
done
