#!/usr/bin/env bash
# run.determinism: world_size: the same bits on any legal number of ranks, also where a run goes on on
# another one; and what each mode refuses.   world_size.sh LARGO MPIRUN [soak]
# With `soak`: three models by three optimizers on 1, 2, 4 and 8 ranks for 200 steps, and a count.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

config() {  # NAME MODEL OPTIMIZER STEPS
  local lr=0.02
  [[ $3 != adamw ]] || lr=0.002
  cat >"$1.yaml" <<YAML
run: {seed: 3, device: cpu, determinism: world_size}
data: {kind: synthetic, shape: [1, 16, 16], classes: 5, limit: 400, augment: {pad_crop: 2, flip: true}, mixup: 0.2}
model: {name: $2$([[ $2 != cnn3 ]] || echo ', norm: {kind: batch}')}
batch: {global: 32}
optimizer: {kind: $3, weight_decay: 5.0e-4}
lr: {base: $lr, base_batch: 32, scaling: linear, warmup: {kind: gradual, length: 5steps, start: zero}, policy: {kind: cosine}}
train:
  {length: $4steps, last_batch: wrap, log_every: 5steps, eval_every: $(($4 / 2))steps, clip_norm: 2.0,
   ema: {decay: 0.98, at_batch: 32}}
eval: {batch: 7, precise_bn: 2}  # a batch of 30 hides the cut in the rounding of the sums
checkpoint: {every: 10steps, keep: 3}
YAML
}

# What training leaves, of a run.
results() {
  local last
  last=$(ls "runs/$1/checkpoints" | tail -n 1)
  echo weights.safetensors weights_ema.safetensors "checkpoints/$last/model.safetensors" \
    "checkpoints/$last/optimizer.safetensors"
}

# Bytes in which two runs differ, over all their results.
differing_bytes() {
  local file count=0
  for file in $(results "$1"); do
    [[ -s runs/$1/$file && -s runs/$2/$file ]] || fail "no $file"
    count=$((count + $(cmp -l "runs/$1/$file" "runs/$2/$file" | wc -l)))
  done
  echo "$count"
}

expect_same() {  # RUN RUN
  local bytes
  bytes=$(differing_bytes "$1" "$2")
  [[ $bytes = 0 ]] || fail "$bytes bytes of $1 and $2 differ"
  python3 - "$1" "$2" <<'PY' || fail "the records of $1 and $2 differ"
import json, sys
def records(name):
    out = {}
    for line in open(f"runs/{name}/metrics.jsonl"):
        event = json.loads(line)
        if event["event"] in ("train", "eval"):
            out[event["event"], event["step"], event.get("split")] = {
                k: v for k, v in event.items() if k not in ("samples_per_s", "time_s")}
    return out
a, b = map(records, sys.argv[1:])
sys.exit(0 if len(a) > 5 and a == b else 1)
PY
}

if [[ ${3:-} = soak ]]; then
  run_seconds=600
  compared=0 differing=0
  for model in lenet cnn3 resnet8; do
    for optimizer in sgd lars adamw; do
      for ranks in 1 2 4 8; do
        name=${model}_${optimizer}_$ranks
        config "$name" "$model" "$optimizer" 200
        run "$ranks" train "$name.yaml"
        expect_code 0
        [[ $ranks != 1 ]] || continue
        bytes=$(differing_bytes "${model}_${optimizer}_1" "$name")
        echo "$model, $optimizer: $bytes bytes on $ranks ranks differ from those on one"
        compared=$((compared + 1)) differing=$((differing + bytes))
      done
    done
  done
  echo "$compared runs compared, $differing bytes differ"
  [[ $compared = 27 && $differing = 0 ]]
  exit
fi

for ranks in 1 2 4; do
  config "on_$ranks" resnet8 sgd 20
  run "$ranks" train "on_$ranks.yaml"
  expect_code 0
  expect_err "virtual workers x 4"
  expect_err "$ranks x 1 thread,"
  [[ $ranks = 1 ]] || expect_same on_1 "on_$ranks"
done

# `largo eval` cuts the set as the run did, on any number of ranks: its numbers are the run's own.
for ranks in 1 2 4; do
  run "$ranks" eval on_4.yaml --checkpoint runs/on_4
  expect_code 0
  python3 - out runs/on_4/metrics.jsonl <<'PY' || fail "$ran: other numbers than the run's"
import json, sys
found = json.load(open(sys.argv[1]))
events = [json.loads(line) for line in open(sys.argv[2])]
own = [event for event in events if event["event"] == "eval" and event["split"] == "val"][-1]
sys.exit(0 if all(found[key] == own[key] for key in found) else 1)
PY
done
run 3 eval on_4.yaml --checkpoint runs/on_4
expect_code 78
expect_err "legal: one of 1, 2, 4, 8 ranks"

# A run on four ranks that goes on on one.
back_to_step_10() {
  cp -r runs/on_4 "runs/$1"
  cp on_4.yaml "$1.yaml"
  rm -r "runs/$1/"{summary.json,weights*.safetensors} "runs/$1/checkpoints/"*20
}
back_to_step_10 goes_on
run 1 train goes_on.yaml
expect_code 0
expect_err "after step 10"
! grep -q "last bits" err || fail "$ran warns of other bits"
bytes=$(differing_bytes on_1 goes_on)
[[ $bytes = 0 ]] || fail "$bytes bytes differ after a resume on one rank"

# What its bits depend on stays, or is allowed to change.
back_to_step_10 other
run 1 train other.yaml run.threads=2
expect_code 78
expect_err ", 1 threads, "
expect_err ", 2 threads, "
expect_err "checkpoint.allow=[run.determinism]"
export ATEN_CPU_CAPABILITY=default
run 1 train other.yaml
expect_code 78
expect_err ", DEFAULT, "
run 1 train other.yaml 'checkpoint.allow=[run.determinism]'
expect_code 0
expect_err "last bits"
unset ATEN_CPU_CAPABILITY

run 3 train on_4.yaml run.name=on_3
expect_code 78
expect_err "legal: one of 1, 2, 4, 8 ranks, or run.virtual_workers: 6 or 12"

# The same run twice on as many ranks.
for name in once again; do
  config $name resnet8 sgd 20
  run 2 train $name.yaml run.determinism=run run.threads=1
  expect_code 0
done
expect_same once again
