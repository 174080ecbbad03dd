#!/usr/bin/env bash
# train.precision: auto is settled once for a run, by rank 0.   precision_auto.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
small_config auto.yaml

settled() { sed -n 's/^  precision: \([a-z0-9]*\).*/\1/p' "$1/config.yaml"; }

run 2 train auto.yaml train.precision=auto
expect_code 0
expect_err "train.precision auto is "
choice=$(settled runs/auto)
[[ $choice = float32 || $choice = bfloat16 ]] || fail "config.yaml holds precision '$choice'"
grep -q "\"precision\": \"$choice: forward and backward of 16 samples take" runs/auto/environment.json ||
  fail "environment.json does not say why"

# A run that has begun keeps its choice, whatever a probe would say: one that had the other keeps that.
for choice in float32 bfloat16; do
  run 2 train auto.yaml run.name="$choice" train.precision="$choice" train.length=10steps
  expect_code 0
  run 2 train auto.yaml run.name="$choice" train.precision=auto train.length=10steps
  expect_code 0
  expect_err "is finished"
  rm "runs/$choice/summary.json" "runs/$choice/weights.safetensors"
  run 2 train auto.yaml run.name="$choice" train.precision=auto train.length=10steps
  expect_code 0
  expect_err "train.precision auto is $choice, as in runs/$choice/checkpoints/step-00000010"
  [[ $(settled "runs/$choice") = "$choice" ]] || fail "the choice of $choice was lost"

  # So does one that goes on from another's checkpoint, and one that has no checkpoint yet.
  run 2 train auto.yaml run.name="from_$choice" train.precision=auto train.length=10steps \
    checkpoint.resume="runs/$choice/checkpoints/step-00000010"
  expect_code 0
  expect_err "train.precision auto is $choice, as in runs/$choice/checkpoints/step-00000010"
  expect_err "resumed from"
  [[ $(settled "runs/from_$choice") = "$choice" ]] || fail "the choice of $choice was lost on the way"
  rm -r "runs/$choice/summary.json" "runs/$choice/weights.safetensors" "runs/$choice/checkpoints"
  run 2 train auto.yaml run.name="$choice" train.precision=auto train.length=10steps
  expect_code 0
  expect_err "train.precision auto is $choice, as in runs/$choice/config.yaml"
done

run 1 eval auto.yaml --checkpoint runs/auto train.precision=auto
expect_code 0
expect_err "evaluated in float32"
