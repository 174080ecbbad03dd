#!/usr/bin/env bash
# One bit of one rank's weights flips in the middle of training: the run ends at the next comparison,
# and says which rank holds what the others do not; what was saved before is sound.
#   flipped_bit.sh FLIPPING_RANK MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
small_config config.yaml 10000000steps
overrides=(lr.base=1e-30 train.check_every=20steps train.eval_every=1000000steps)  # weights stay as they are

# What the initial weights look like.
run 1 9 none config.yaml train.length=0steps run.name=initial
expect_code 0
python3 - runs/initial/weights.safetensors bytes <<'PY'
import json, struct, sys
content = open(sys.argv[1], "rb").read()
length = struct.unpack("<Q", content[:8])[0]
header = json.loads(content[8:8 + length])
name = max((n for n in header if n != "__metadata__"),
           key=lambda n: header[n]["data_offsets"][1] - header[n]["data_offsets"][0])
begin = 8 + length + header[name]["data_offsets"][0] + 256
open(sys.argv[2], "wb").write(content[begin:begin + 64])
PY

run 3 1 bytes config.yaml "${overrides[@]}" run.name=flipped
expect_code 70
expect_err "flips a bit"
grep -q -E "ranks no longer hold the same model: .* differs after step [0-9]*0 \(not yet after step [0-9]*0\) on rank 1 \(host $(hostname)\) from 2 ranks" err ||
  fail "$ran does not name rank 1 and the step"
found=$(grep -o 'after step [0-9]*' err | head -1 | cut -d' ' -f3)
passed=$(grep -o 'not yet after step [0-9]*' err | cut -d' ' -f5)
[[ $((found - passed)) -le 20 ]] || fail "found at step $found, and still well at $passed"
