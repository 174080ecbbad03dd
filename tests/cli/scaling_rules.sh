#!/usr/bin/env bash
# A run under a scaling rule is the run of the values that the rule says it comes to, to the bit.   scaling_rules.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
small_config base.yaml
sed -i '/^lr:/d' base.yaml

# Numbers without rounding, so that both ways to them are the same: k = 32 / 8 = 4.
cat base.yaml - >adam.yaml <<'YAML'
optimizer: {kind: adamw, betas: [0.875, 0.9375], epsilon: 1.0e-8, weight_decay: 0.1}
lr: {base: 0.001, base_batch: 8, scaling: adam_sqrt}
YAML
cat base.yaml - >adam_by_hand.yaml <<'YAML'
optimizer: {kind: adamw, betas: [0.5, 0.75], epsilon: 5.0e-9, weight_decay: 0.1}
lr: {base: 0.002, scaling: none}
YAML
cat base.yaml - >legw.yaml <<'YAML'
lr: {base: 0.02, base_batch: 8, scaling: legw, warmup: {kind: gradual, length: 0.25ep, start: zero}}
YAML
cat base.yaml - >legw_by_hand.yaml <<'YAML'
lr: {base: 0.04, scaling: none, warmup: {kind: gradual, length: 1ep, start: zero}}
YAML

for rule in adam legw; do
  for file in "$rule" "${rule}_by_hand"; do
    run 2 train "$file.yaml"
    expect_code 0
  done
  cmp "runs/$rule/weights.safetensors" "runs/${rule}_by_hand/weights.safetensors" || fail "$rule is another training by hand"
done
run 2 train adam.yaml run.name=other lr.scaling=sqrt
expect_code 0
if cmp -s runs/adam/weights.safetensors runs/other/weights.safetensors; then fail "adam_sqrt is sqrt"; fi

run 1 config check adam.yaml
expect_code 0
grep -q 'peak LR 0.002 = 0.001 × 2 (adam_sqrt, batch 32 / 8)' out || fail "$ran does not say the LR"
grep -q 'betas 0.875, 0.9375 -> 0.5, 0.75, epsilon 1e-08 -> 5e-09' out || fail "$ran does not say the betas"
run 1 config print adam.yaml
expect_code 0
grep -q 'betas: .*# .*= \[0.5, 0.75\] at batch 32' out || fail "$ran does not show the betas"
