#!/usr/bin/env bash
# A gradient that is not finite: the run stops with a report, or leaves such steps out, on any number
# of ranks.   nonfinite.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Training goes well for ten steps and then is given a learning rate that no weights survive.
small_config a.yaml 40steps
lr='lr={base: 0.05, base_batch: 32, warmup: {kind: none}, policy: {kind: multistep, milestones: [12steps], gamma: 1.0e+38}}'
for ranks in 1 2 4; do
  run $ranks train a.yaml run.name=stop$ranks train.log_every=40steps checkpoint.every=5steps "$lr"
  expect_code 76
  expect_err "is not finite: its norm is"
  report=$(ls runs/stop$ranks/nonfinite-step-*.json)
  expect_err "$report"
  [[ $(field runs/stop$ranks/summary.json status) = failed ]] || fail "$ran: its summary"
  python3 - "$report" $ranks <<'PY' || fail "$ran: $(head -c 600 "$report")"
import json, sys
report, ranks = json.load(open(sys.argv[1])), int(sys.argv[2])
indices = [i for part in report["samples"] for i in part["indices"]]
sys.exit(0 if len(indices) == 32 == len(set(indices)) and len(report["loss_sum_by_rank"]) == ranks
         and report["step"] == report["seen_in_step"] > 10 and report["gradients"] else 1)
PY
  newest=$(ls -d runs/stop$ranks/checkpoints/step-* | tail -n 1)
  [[ -e $newest/DONE ]] || fail "$ran: no checkpoint is left"
  # It can be scored: its weights are finite.
  run 1 eval a.yaml --checkpoint "$newest"
  expect_code 0

  # A gradient that is finite, and an update that weights overflow by: no checkpoint is made of them.
  run $ranks train a.yaml run.name=weights$ranks checkpoint.every=1steps "${lr/1.0e+38/1.0e+60}"
  expect_code 76
  expect_err "training diverged: after step 13 fc1.weight ("
  report=runs/weights$ranks/nonfinite-step-00000013.json
  expect_err "$report"
  [[ $(field runs/weights$ranks/summary.json status) = failed ]] || fail "$ran: its summary"
  python3 - "$report" $ranks <<'PY' || fail "$ran: $(head -c 600 "$report")"
import json, math, sys
report, ranks = json.load(open(sys.argv[1])), int(sys.argv[2])
indices = [i for part in report["samples"] for i in part["indices"]]
sys.exit(0 if report["found_in"] == "weights" and report["not_finite"][0] == "fc1.weight" and
         math.isfinite(report["grad_norm"]) and all(map(math.isfinite, report["loss_sum_by_rank"])) and
         len(report["loss_sum_by_rank"]) == ranks and len(indices) == 32 == len(set(indices)) else 1)
PY
  newest=$(ls -d runs/weights$ranks/checkpoints/step-* | tail -n 1)
  [[ $newest = */step-00000012 && -e $newest/DONE ]] || fail "$ran: its last checkpoint is $newest"
  run 1 eval a.yaml --checkpoint "$newest"
  expect_code 0

  # In the last step, too, of which no result is left.
  run $ranks train a.yaml run.name=last$ranks train.length=13steps checkpoint.every=13steps "${lr/1.0e+38/1.0e+60}"
  expect_code 76
  expect_err "after step 13 fc1.weight ("
  [[ ! -e runs/last$ranks/weights.safetensors ]] || fail "$ran: saved weights that are not finite"

  # Weights that are beyond repair make every later step one to leave out: that ends, too.
  run $ranks train a.yaml run.name=skip$ranks train.on_nonfinite=skip train.max_skipped=3 train.log_every=1steps \
    train.eval_every=40steps checkpoint.every=100steps "$lr"
  expect_code 76
  expect_err "3 steps before were left out"
  [[ $(field runs/skip$ranks/summary.json skipped_steps) = 3 ]] || fail "$ran: its summary"
  python3 - runs/skip$ranks/metrics.jsonl <<'PY' || fail "$ran: its records"
import json, sys
records = [json.loads(line) for line in open(sys.argv[1])]
skipped = [r.get("skipped_steps", 0) for r in records if r["event"] == "train"]
sys.exit(0 if skipped[0] == 0 and skipped[-3:] == [1, 2, 3] else 1)
PY
done
