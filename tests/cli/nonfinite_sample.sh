#!/usr/bin/env bash
# One image whose values are not finite once they are scaled: whichever rank has it, all ranks stop with a report, or
# leave the same steps out.   nonfinite_sample.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
odd=train/a/0041.png # the only one that is not 0 in blue
small_images images $odd

cat >a.yaml <<'YAML'
run: {seed: 1, device: cpu, threads: 1}
data: {kind: image_folder, path: images, mean: [0.3, 0.2, 0.0], std: [0.2, 0.1, 1.0e-40]}
model: {name: mlp}
batch: {global: 20, max_micro: 5}
lr: {base: 0.01, base_batch: 20}
train: {length: 24steps, log_every: 1steps, eval_every: 24steps}
checkpoint: {every: 1steps}
YAML

# On how many of two ranks the sum of the losses is not finite, and the first of these.
of_report() {
  python3 - "$1" <<'PY'
import json, math, sys
report = json.load(open(sys.argv[1]))
sums = [float("nan" if one is None else one) for one in report["loss_sum_by_rank"]]
bad = [rank for rank, one in enumerate(sums) if not math.isfinite(one)]
if len(sums) != 2 or report["not_finite"] or not any(one["not_finite"] for one in report["gradients"]): bad = []
print(len(bad), *bad[:1])
PY
}
seen=" "
for seed in 1 2 3 4 5 6 7 8; do
  [[ $seen != *0* || $seen != *1* ]] || break
  run 2 train a.yaml run.name=stop$seed run.seed=$seed
  expect_code 76
  expect_err "is not finite"
  report=$(ls runs/stop$seed/nonfinite-step-*.json)
  read -r count rank <<<"$(of_report "$report")"
  [[ $count = 1 ]] || fail "$ran: not one rank of two in $report"
  seen+="$rank "
  step=${report##*-step-}
  before=$((10#${step%.json} - 1)) # a run that has made no step has nothing to keep
  [[ $before = 0 || -e runs/stop$seed/checkpoints/step-$(printf %08d $before)/DONE ]] || fail "$ran: the step before is not saved"
done
[[ $seen = *0* && $seen = *1* ]] || fail "one rank never had the image: $seen"

# It comes once in each epoch of 12 steps.
steps_left_out() {
  python3 - "$1" <<'PY'
import json, sys
records = [r for r in map(json.loads, open(sys.argv[1])) if r["event"] == "train"]
counts = [0] + [r.get("skipped_steps", 0) for r in records]
print(*(records[i]["step"] for i in range(len(records)) if counts[i + 1] > counts[i]))
PY
}
for ranks in 1 2; do
  run $ranks train a.yaml run.name=skip$ranks train.on_nonfinite=skip
  expect_code 0
  [[ $(field runs/skip$ranks/summary.json skipped_steps) = 2 ]] || fail "$ran: its summary"
done
left_out=$(steps_left_out runs/skip1/metrics.jsonl)
[[ $left_out = *" "* && $left_out = "$(steps_left_out runs/skip2/metrics.jsonl)" ]] || fail "other steps are left out: $left_out"
