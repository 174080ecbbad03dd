# What the tests of the executable on GPUs share, beside tests/cli/common.sh. Sourced: SCRIPT LARGO MPIRUN.
# Sets $device, and $share, which lets ranks share the GPU where there is one only.
#
# LARGO_GPU_CHECK_DEVICE=cpu runs the same on the CPU: it shows that the scripts work, and nothing about GPUs.
# shellcheck shell=bash disable=SC2034,SC2154  # variables of those who source this, and of common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../cli/common.sh"
device=${LARGO_GPU_CHECK_DEVICE:-cuda}
gpu_tests=$root/tests/gpu
share=()
run_seconds=120  # the first process that loads CUDA's libraries from a slow disk takes long
if [[ $device = cuda ]]; then
  gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU ' || true)
  ((gpus > 0)) || { echo "SKIP: nvidia-smi shows no GPU here"; exit 77; }
  ((gpus > 1)) || share=(run.share_gpu=true)
fi

# train RANKS NAME ARGUMENT ...: a run of ./config.yaml that must end well.
train() {
  local ranks=$1 name=$2
  shift 2
  run "$ranks" train config.yaml "run.name=$name" "$@"
  expect_code 0
}
on_device() { train "$1" "$2" "run.device=$device" "${share[@]}" "${@:3}"; }

# same WHAT RUN RUN TOLERANCE [FROM_STEP]: losses (of each logged step) or weights (at the end), relative.
same() {
  python3 "$gpu_tests/compare.py" "$1" "runs/$2" "runs/$3" "$4" "${5:-1}" ||
    fail "$1 of $2 and $3 are further apart than $4"
}

# A few steps of a small residual net with everything that has its own code on a GPU.
cat >config.yaml <<'YAML'
run: {seed: 3, threads: 1}
data: {kind: synthetic, shape: [3, 16, 16], limit: 96, mixup: 0.2, augment: {pad_crop: 2, flip: true, cutout: 6}}
model: {name: resnet8}
batch: {global: 32}
optimizer: {nesterov: true, weight_decay: 5.0e-4}
lr: {base: 0.05, base_batch: 32}
loss: {label_smoothing: 0.1}
train: {length: 5steps, last_batch: wrap, log_every: 1steps, eval_every: 1000steps, clip_norm: 1.0}
eval: {batch: 256}
checkpoint: {every: 1000steps}
comm: {bucket_bytes: 65536, first_bucket_bytes: 16384, init_timeout: 50s, timeout: 50s}
YAML
