#!/usr/bin/env bash
# eval.precise_bn changes scores and saved running statistics, and nothing of the training; the saved weights
# are those that were scored, on 1 and 2 ranks alike.   precise_bn.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cat >plain.yaml <<'YAML'
run: {seed: 3, device: cpu, threads: 1}
data: {kind: synthetic, shape: [3, 16, 16], limit: 256}
model: {name: resnet8, norm: {kind: sync_batch}}
batch: {global: 32}
lr: {base: 0.05, base_batch: 32}
train: {length: 10steps, log_every: 1steps, eval_every: 5steps}
checkpoint: {every: 10steps}
YAML
run 2 train plain.yaml
expect_code 0
for ranks in 1 2; do
  run "$ranks" train plain.yaml eval.precise_bn=4 run.name="precise_$ranks"
  expect_code 0
done

python3 - <<'PY' || fail "the runs do not compare as they should"
import json
def events(name, kind):
    rows = [json.loads(line) for line in open(f"runs/{name}/metrics.jsonl")]
    return [row for row in rows if row["event"] == kind]
def tensors(path):
    data = open(path, "rb").read()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    return {name: data[8 + size + t["data_offsets"][0] : 8 + size + t["data_offsets"][1]]
            for name, t in header.items() if name != "__metadata__"}
losses = lambda name: [(row["loss"], row["grad_norm"]) for row in events(name, "train")]
assert losses("plain") == losses("precise_2"), "training noticed"
plain, precise = tensors("runs/plain/weights.safetensors"), tensors("runs/precise_2/weights.safetensors")
other = sorted(name for name in plain if plain[name] != precise[name])
assert other and all("running_" in name for name in other), other
checkpoint = "checkpoints/step-00000010/model.safetensors"
assert tensors(f"runs/plain/{checkpoint}") == tensors(f"runs/precise_2/{checkpoint}"), "the checkpoint noticed"
score = lambda name: [row["loss"] for row in events(name, "eval")]
assert score("plain")[0] != score("precise_2")[0], "evaluation did not notice"
for one, two in zip(score("precise_1"), score("precise_2")):
    assert abs(one - two) < 1e-2 * abs(two), (one, two)
PY
run 2 eval plain.yaml --checkpoint runs/precise_2
expect_code 0
[[ $(field out top1) = "$(field runs/precise_2/summary.json final.top1)" ]] || fail "$ran: not the weights that were scored"
