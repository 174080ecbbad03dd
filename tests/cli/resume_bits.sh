#!/usr/bin/env bash
# A run that was killed and resumed has the same weights, to the bit, as one that was not; and
# `largo eval` reads them back to the same numbers.   resume_bits.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cat >whole.yaml <<'YAML'
run: {seed: 3, device: cpu, threads: 1}
data:
  {kind: synthetic, shape: [3, 16, 16], limit: 500, mixup: 0.2, augment: {pad_crop: 2, flip: true, cutout: 6},
   shuffle: {kind: blocks, window: 100}}
model: {name: resnet8, norm: {kind: sync_batch}}
batch: {global: 48, max_micro: 16}
optimizer:
  {nesterov: true, weight_decay: 5.0e-4, momentum_schedule: {kind: one_cycle, middle: 0.8},
   weight_decay_schedule: {kind: cosine, end: 1.0e-4}, groups: [{match: "*.bias", lr_factor: 2}]}
lr:
  base: 0.05
  base_batch: 32
  warmup: {kind: gradual, length: 1ep}
  policy: {kind: cosine}
train:
  {length: 60steps, last_batch: wrap, log_every: 1steps, eval_every: 60steps, clip_norm: 1.0,
   ema: {decay: 0.98, at_batch: 32}}
checkpoint: {every: 7steps}
comm: {overlap: "on", bucket_bytes: 65536, first_bucket_bytes: 16384}
YAML
cp whole.yaml killed.yaml

run 2 train whole.yaml
expect_code 0

export LARGO_TEST_MARK=$work
"$mpirun" -n 2 --bind-to none "$largo" train killed.yaml >out 2>err </dev/null &
launcher=$!
has_checkpoint() { ls runs/killed/checkpoints/*/DONE >/dev/null 2>&1; }
await 60 "a checkpoint" has_checkpoint
for id in $(marked OMPI_COMM_WORLD_SIZE=2); do kill -KILL "$id" 2>/dev/null || true; done
wait "$launcher" 2>/dev/null || true
[[ ! -e runs/killed/summary.json ]] || fail "the run was over before it could be killed"

run 2 train killed.yaml
expect_code 0
expect_err "resumed from"
for file in weights.safetensors weights_ema.safetensors; do
  cmp "runs/whole/$file" "runs/killed/$file" || fail "the resumed run has another $file"
done
if cmp -s runs/whole/weights.safetensors runs/whole/weights_ema.safetensors; then fail "the average is no average"; fi
last=$(ls runs/whole/checkpoints | tail -n 1)
cmp "runs/whole/checkpoints/$last/optimizer.safetensors" "runs/killed/checkpoints/$last/optimizer.safetensors" ||
  fail "the resumed run has another optimizer state"

# The losses after the resume are those of the run that went through.
python3 - <<'PY' || fail "the losses differ"
import json, sys
def losses(name):
    out = {}
    for line in open(f"runs/{name}/metrics.jsonl"):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event["event"] == "train":
            out[event["step"]] = (event["loss"], event["grad_norm"], event["lr"])
    return out
whole, killed = losses("whole"), losses("killed")
sys.exit(0 if len(whole) == 60 and whole == killed else 1)
PY

# The scores of the weights, of the last checkpoint and of the run's folder, on one rank and on two.
for given in runs/whole runs/whole/weights.safetensors "runs/whole/checkpoints/$last"; do
  for ranks in 1 2; do
    run "$ranks" eval whole.yaml --checkpoint "$given"
    expect_code 0
    for key in top1 top5 loss; do
      python3 - "$(field out $key)" "$(field runs/whole/summary.json final.$key)" <<'PY' || fail "$ran: another $key"
import sys
a, b = map(float, sys.argv[1:])
sys.exit(0 if abs(a - b) <= 1e-6 * abs(b) else 1)
PY
    done
  done
done
run 2 eval whole.yaml --checkpoint runs/whole/weights_ema.safetensors
expect_code 0
[[ $(field out top1) = "$(field runs/whole/summary.json final_ema.top1)" ]] || fail "$ran: another top1 of the average"
run 1 eval whole.yaml --checkpoint runs/nowhere
expect_code 66

# Damaged files are refused by name.
truncate -s -1 "runs/whole/checkpoints/$last/model.safetensors"
run 2 eval whole.yaml --checkpoint "runs/whole/checkpoints/$last"
expect_code 65
expect_err model.safetensors
