#!/usr/bin/env bash
# Learning rates that follow training: the trainer evaluates where they decide, whatever train.eval_every and log_every
# are; a run that goes on from any checkpoint decides as the one that went through.   plateau.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# file NAME POLICY: 40 steps; looks, records and checkpoints come at steps of their own.
file() {
  small_config "$1.yaml" 40steps
  sed -i -e "s/^lr: .*/lr: {base: 0.05, base_batch: 32, policy: {$2}}/" \
    -e 's/log_every: [^,]*, eval_every: [^}]*/log_every: 4steps, eval_every: 40steps/' \
    -e 's/^checkpoint: .*/checkpoint: {every: 7steps, keep: 10}/' "$1.yaml"
}
file reduce 'every: 5steps, kind: plateau_reduce, patience: 0, threshold: 0.05, factor: 0.7'
levels='levels: [{base: 0.2}, {base: 0.1}, {}, {base: 0.02}]'
file change "every: 5steps, kind: plateau_change, metric: val_top1, window: 2, threshold: 0.9, cooldown: 0, first: 2, up_before: 0.5, $levels"
file losses 'every: 10steps, kind: plateau_reduce, metric: train_loss, patience: 0, threshold: 0.5, factor: 0.7'
sed -i 's/limit: 256/limit: 256, mixup: 0.8/' losses.yaml

# numbers NAME: step and learning rate of the records of every fourth step; fails where another has a step twice.
numbers() {
  python3 - "$1" <<'PY'
import json, sys
lrs = {}
for line in open(f"runs/{sys.argv[1]}/metrics.jsonl"):
    event = json.loads(line)
    if event["event"] == "train" and event["step"] % 4 == 0:
        lrs[event["step"]] = event["lr"]
for step, lr in sorted(lrs.items()):
    print(step, repr(lr))
PY
}

for name in reduce change losses; do
  run 2 train "$name.yaml"
  expect_code 0
  numbers "$name" >"$name.lrs"
  [[ $(cut -d' ' -f2 "$name.lrs" | sort -u | wc -l) -ge 2 ]] || fail "$ran: the learning rate hardly moves: $(cat "$name.lrs")"
  evaluations=$(grep -c '"event":"eval"' "runs/$name/metrics.jsonl")
  [[ $name = losses || $evaluations = 8 ]] || fail "$ran evaluates $evaluations times, not at every look"
  [[ $name != losses || $evaluations = 1 ]] || fail "$ran evaluates although it looks at the training loss"

  # As if it had been killed after step 21, in the middle between two looks.
  cp "$name.yaml" "${name}_killed.yaml"
  cp -r "runs/$name" "runs/${name}_killed"
  rm "runs/${name}_killed/summary.json" "runs/${name}_killed"/weights*
  for checkpoint in "runs/${name}_killed/checkpoints"/step-*; do
    [[ $((10#${checkpoint##*-})) -le 21 ]] || rm -r "$checkpoint"
  done
  run 2 train "${name}_killed.yaml"
  expect_code 0
  expect_err 'after step 21'
  cmp "runs/$name/weights.safetensors" "runs/${name}_killed/weights.safetensors" ||
    fail "$ran: the resumed run has other weights"
  whole=$(field "runs/$name"/checkpoints/*28/state.json lr_state)
  [[ $(field "runs/${name}_killed"/checkpoints/*28/state.json lr_state) = "$whole" ]] ||
    fail "$ran: the resumed run decides by other numbers"
  numbers "${name}_killed" | cmp - "$name.lrs" || fail "$ran: the resumed run has other learning rates"

  # How often one logs and evaluates does not matter; the training does not depend on it.
  run 2 train "$name.yaml" run.name="${name}_talks" train.log_every=3steps train.eval_every=2steps checkpoint.every=28steps
  expect_code 0
  cmp "runs/$name/weights.safetensors" "runs/${name}_talks/weights.safetensors" ||
    fail "$ran: log_every and eval_every alter the training"
  [[ $(field "runs/${name}_talks"/checkpoints/*28/state.json lr_state) = "$whole" ]] ||
    fail "$ran: log_every alters the last bits of a metric"
done

# Where the metric is no number, nobody decides: exit code 76.
run 2 train reduce.yaml run.name=diverges lr.base=1.0e+30 lr.policy.every=1steps train.log_every=40steps
expect_code 76
expect_err 'val_loss'
# A checkpoint of a run with a fixed schedule has no state to go on with: as a whole refused, or for that.
run 1 train reduce.yaml run.name=fixed lr.policy.kind=constant train.length=7steps
expect_code 0
run 1 train reduce.yaml run.name=from_fixed checkpoint.resume="$(ls -d runs/fixed/checkpoints/step-* | tail -n 1)"
[[ $code = 65 || $code = 78 ]] || fail "$ran: exit code $code instead of 65 or 78"
