#!/usr/bin/env bash
# Ranks that were not started alike (command line, files, program, libraries) end before they train,
# with the exit code of what differs, the ranks, the host and the two values; paths may differ.
#   agreement.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
host=$(hostname)
small_config config.yaml 2steps

# differ CODE TEXT COMMAND : COMMAND: two ranks, each started in its own way.
differ() {
  local code_wanted=$1 text=$2
  shift 2
  ran="mpirun -n 1 ${*//$work\//}"
  code=0
  timeout -k 5 60 "$mpirun" --bind-to none -n 1 "$@" >out 2>err </dev/null || code=$?
  expect_code "$code_wanted"
  [[ -z $text ]] || expect_err "$text"
  [[ $code_wanted = 0 || ! -e runs ]] || fail "$ran: a run directory was made"
  [[ $code_wanted = 0 || $(grep -c -F -e "$text" err) = 1 ]] || fail "$ran says it twice"
  rm -rf runs
}
train=("$largo" train config.yaml)

differ 0 "" "${train[@]}" : -n 2 "${train[@]}"  # else the cases below prove nothing

# The command line.
differ 78 "run.seed: ranks 0, 1 on $host: 1; rank 2 on $host: 2" \
  "${train[@]}" run.seed=1 : -n 1 "${train[@]}" : -n 1 "${train[@]}" run.seed=2
differ 78 "train.log_every: rank 0 on $host: 5steps; rank 1 on $host: 1steps" \
  "${train[@]}" : -n 1 "${train[@]}" train.log_every=1steps
differ 78 "rank 1 on $host: " "${train[@]}" : -n 1 "${train[@]}" run.sede=2
# Rank 0's file counts.
small_config other.yaml 3steps
differ 0 "" "${train[@]}" : -n 1 "$largo" train other.yaml run.name=config

# The data.
small_idx_data data
cat >idx.yaml <<'YAML'
run: {device: cpu, threads: 1, name: idx}
data: {kind: idx, path: "${LARGO_TEST_DATA}"}
model: {name: mlp}
batch: {global: 16}
lr: {base: 0.05, base_batch: 16}
train: {length: 2steps}
YAML
with_data() { echo env "LARGO_TEST_DATA=$work/$1" "$largo" train idx.yaml; }
# shellcheck disable=SC2046  # words
data_differ() { differ "$1" "$2" $(with_data data) : -n 1 $(with_data "$3"); }

cp -r data same
data_differ 0 "" same  # elsewhere, and equal
data_differ 66 "rank 1 on $host: " nowhere
cp -r data lacks_a_file
rm lacks_a_file/train-labels-idx1-ubyte
data_differ 66 "rank 1 on $host: " lacks_a_file
cp -r data changed
printf '\x09' | dd of=changed/train-labels-idx1-ubyte bs=1 seek=40 conv=notrunc status=none
data_differ 65 "data file train-labels-idx1-ubyte: rank 0 on $host: 72 bytes, digest " changed
cp -r data shorter
python3 - shorter <<'PY'
import os, struct, sys
for name, head, one in (("train-images-idx3-ubyte", 16, 64), ("train-labels-idx1-ubyte", 8, 1)):
    path = os.path.join(sys.argv[1], name)
    bytes_ = open(path, "rb").read()
    open(path, "wb").write(bytes_[:4] + struct.pack(">I", 60) + bytes_[8:head + 60 * one])
PY
data_differ 65 "training samples: rank 0 on $host: 64; rank 1 on $host: 60" shorter

# The program and its libraries: copies with another build id.
rebuilt() {  # FILE COPY
  python3 - "$1" "$2" <<'PY'
import sys
content = bytearray(open(sys.argv[1], "rb").read())
at = content.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 16
content[at] ^= 1
open(sys.argv[2], "wb").write(content)
PY
  chmod +x "$2"
}
rebuilt "$largo" "$work/largo"
differ 70 "build of largo: rank 0 on $host: " "${train[@]}" : -n 1 "$work/largo" train config.yaml
library=$("$largo" version --all | grep -o '/.*/libpng[^ ]*')
mkdir other
rebuilt "$library" "$work/other/libpng16.so.16"
differ 70 "build of libpng16.so: rank 0 on $host: " \
  "${train[@]}" : -n 1 env "LD_PRELOAD=$work/other/libpng16.so.16" "${train[@]}"

# What LibTorch makes of the processor: every rank updates the weights itself.
differ 70 "LibTorch's instruction set" "${train[@]}" : -n 1 env ATEN_CPU_CAPABILITY=default "${train[@]}"
