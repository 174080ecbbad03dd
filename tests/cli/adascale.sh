#!/usr/bin/env bash
# AdaScale decides when training is over, and noise scale, gain and clock go on where a checkpoint
# left them: to the bit on the same ranks, and on others with the same micro-batches.   adascale.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cat >whole.yaml <<'YAML'
run: {seed: 3, device: cpu, threads: 1}
data: {kind: synthetic, shape: [1, 8, 8], classes: 4, limit: 500}
model: {name: mlp}
batch: {global: 64, max_micro: 16}
lr: {base: 0.02, base_batch: 16, scaling: adascale, policy: {kind: cosine}}
train: {length: 100steps, last_batch: wrap, log_every: 1steps, eval_every: 1000steps}
checkpoint: {every: 10steps, keep: 100}
YAML

run 2 train whole.yaml
expect_code 0
expect_err "at most 100 steps"
! grep -q biased err || fail "$ran: a gain biased without synchronized statistics"
mapfile -t saved < <(ls runs/whole/checkpoints)
[[ ${#saved[@]} -ge 3 ]] || fail "only ${#saved[@]} checkpoints"

# Another run from the middle of this one.
sed 's/run: {/run: {name: resumed, /' whole.yaml >resumed.yaml
run 2 train resumed.yaml checkpoint.resume="runs/whole/checkpoints/${saved[1]}"
expect_code 0
expect_err "after step 20"
cmp runs/whole/weights.safetensors runs/resumed/weights.safetensors || fail "the resumed run has other weights"

# On one rank the four micro-batches follow one another.
run 1 train resumed.yaml run.name=alone checkpoint.resume="runs/whole/checkpoints/${saved[1]}"
expect_code 0

# No state to go on from: the refusal does not offer what cannot work.
for change in 'lr.base_batch=12' 'lr.scaling=linear'; do
  run 2 train resumed.yaml run.name=other checkpoint.resume="runs/whole/checkpoints/${saved[1]}" "$change"
  expect_code 78
  expect_err 'holds the state of lr.scaling adascale with lr.base_batch 16, from which no run goes on'
  if grep -q 'checkpoint.allow' err; then fail "$ran recommends what cannot work"; fi
done

run 2 train whole.yaml run.name=off train.noise_scale=off lr.scaling=none train.length=5steps
expect_code 0

python3 - <<'PY' || fail "the records are wrong"
import json, sys
def records(name):
    lines = [json.loads(line) for line in open(f"runs/{name}/metrics.jsonl")]
    return {e["step"]: e for e in lines if e["event"] == "train"}
whole, resumed, alone, off = map(records, ("whole", "resumed", "alone", "off"))
def check(holds, what):
    if not holds: sys.exit(what)

last = max(whole)
steps = json.load(open("runs/whole/summary.json"))["steps"]
check(steps == last and 25 <= last < 100, f"{last} steps of at least 25 and at most 100")
check([e for e in map(json.loads, open("runs/whole/metrics.jsonl")) if e["event"] == "eval"][-1]["step"] == last,
      "no evaluation at the end")
tau = 0
for step in range(1, last + 1):
    e = whole[step]
    check(tau < 100, "the run goes on after its end")
    tau += e["gain"]
    check(abs(tau - e["scale_invariant_steps"]) < 1e-9, f"the clock at step {step}")
    check(1 <= e["gain"] <= 4, f"gain {e['gain']}")
check(tau >= 100, "the run ended early")
check(whole[1]["gain"] == 1 and max(e["gain"] for e in whole.values()) > 1.5, "no gain")
check(any("noise_scale" in e for e in whole.values()), "no noise scale")
check(all("noise_scale_biased" not in e for e in whole.values()), "biased without synchronized statistics")

keys = ("loss", "lr", "grad_norm", "gain", "scale_invariant_steps", "noise_scale")
for step, e in resumed.items():
    check(all(e.get(k) == whole[step].get(k) for k in keys), f"resumed: step {step} differs")
check(sorted(resumed) == list(range(21, last + 1)), "resumed: other steps")
check(min(alone) == 21 and abs(max(alone) - last) <= 1, "alone: other steps")
for k in keys[:5]:
    check(abs(alone[21][k] - whole[21][k]) <= 1e-4 * abs(whole[21][k]), f"alone: {k} differs at once")
check(all("gain" not in e and "noise_scale" not in e for e in off.values()), "off is not off")
PY

# Synchronized statistics make the ranks' gradients depend on one another; a rank alone has none.
sed -e 's/mlp/resnet8, norm: {kind: sync_batch}/; s/scaling: adascale/scaling: none/; s/100steps/6steps/' \
  -e 's/global: 64, max_micro: 16/global: 256, max_micro: 64/' whole.yaml >sync.yaml
for ranks in 1 2; do
  run $ranks train sync.yaml run.name=sync$ranks
  expect_code 0
  python3 - $ranks <<'PY' || fail "$ran: noise_scale_biased is wrong"
import json, sys
ranks = sys.argv[1]
known = [e for e in map(json.loads, open(f"runs/sync{ranks}/metrics.jsonl")) if "noise_scale" in e]
sys.exit(0 if known and all(e.get("noise_scale_biased", False) == (ranks == "2") for e in known) else 1)
PY
done

run 2 train sync.yaml run.name=sync_adascale lr.scaling=adascale train.length=20steps
expect_code 0
expect_err 'takes its gain from is biased'
run 1 config check whole.yaml --ranks 2
expect_code 0
grep -q '; at most 100 steps;' out || fail "$ran does not say that training may end earlier"
run 1 config check whole.yaml batch.max_micro=64
expect_code 78
expect_err '--ranks N'
