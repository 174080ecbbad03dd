#!/usr/bin/env bash
# Data that is missing or cannot be right: exit code 66 or 65, the file's name, and no hang.
#   bad_data.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

good=$work/good
small_idx_data "$good"
cat >config.yaml <<'YAML'
run: {seed: 1, device: cpu, threads: 1}
data: {kind: idx}
model: {name: mlp}
batch: {global: 16}
lr: {base: 0.05, base_batch: 16}
train: {length: 2steps}
YAML

train() { run "$1" train config.yaml data.path="$2" run.output="$work/runs" run.name="$(basename "$2")_$1"; }

train 1 "$good"
expect_code 0  # else the cases below prove nothing

# bad NAME EXIT_CODE TEXT COMMAND ...: what the command makes of a copy of the good files.
bad() {
  local name=$1 expected=$2 text=$3 ranks
  shift 3
  cp -r "$good" "$name"
  (cd "$name" && "$@")
  for ranks in 1 2; do
    train "$ranks" "$work/$name"
    expect_code "$expected"
    expect_err "$text"
    [[ $(grep -c -F -e "$text" err) = 1 ]] || fail "$ran says it twice"
  done
}

images=train-images-idx3-ubyte labels=train-labels-idx1-ubyte
put() { printf "$2" | dd of="$1" bs=1 seek="$3" conv=notrunc status=none; }  # FILE BYTES OFFSET
squeeze() { gzip -n "$1" && truncate -s -20 "$1.gz"; }

bad no_images 66 "$images" rm "$images"
bad no_labels 66 "$labels" rm "$labels"
bad no_test_part 66 t10k-images rm t10k-images-idx3-ubyte
bad empty 65 "$images" truncate -s 0 "$images"
bad half_a_header 65 "$images" truncate -s 6 "$images"
bad truncated 65 "$images" truncate -s -1 "$images"
bad truncated_labels 65 "$labels" truncate -s -1 "$labels"
bad too_long 65 "$images" truncate -s +1 "$images"
bad truncated_gzip 65 "$images" squeeze "$images"
bad wrong_magic 65 "$images" put "$images" '\x12\x34' 0
bad wrong_type 65 "$images" put "$images" '\x0d' 2
bad wrong_rank 65 "$images" put "$images" '\x02' 3
bad swapped 65 "$labels" cp "$images" "$labels"
bad huge_count 65 "$images" put "$images" '\xff\xff\xff\xff' 4
bad no_samples 65 "$images" put "$images" '\x00\x00\x00\x00' 4
bad fewer_labels 65 "$labels" cp t10k-labels-idx1-ubyte "$labels"

for ranks in 1 2; do
  train "$ranks" "$work/nowhere"
  expect_code 66
  expect_err "$work/nowhere"
done
