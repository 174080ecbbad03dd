#!/usr/bin/env bash
# largo data-bench: one JSON object on stdout, without a run directory.
#   data_bench.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
small_config config.yaml

for workers in 0 2; do
  run 1 data-bench config.yaml --batches 7 data.workers=$workers data.mixup=0.2 data.augment.flip=true
  expect_code 0
  expect_err "images/s with $workers workers"
  [[ $(field out batch) = 32 && $(field out images) = 224 && $(field out workers) = "$workers" ]] ||
    fail "$ran: 7 batches of 32 images were asked for"
  python3 - out <<'PYTHON' || fail "$ran: the numbers do not fit together"
import json, math, sys
found = json.load(open(sys.argv[1]))
shares = [found[part + "_share"] for part in ("decode", "resize", "augment", "normalize")]
assert all(0 <= share <= 1 for share in shares) and math.isclose(sum(shares), 1, abs_tol=1e-6), shares
assert found["resize_share"] == 0 and found["mb_per_s"] == 0, "synthetic images have their size"
assert math.isclose(found["images_per_s"], found["images"] / found["seconds"], rel_tol=1e-3)
workers = max(1, found["workers"])
assert math.isclose(found["images_per_s_per_worker"] * workers, found["images_per_s"], rel_tol=1e-3)
PYTHON
done

run 1 data-bench config.yaml --seconds 0.2 --ranks 4 --cached
expect_code 0
[[ $(field out batch) = 8 ]] || fail "$ran: 32 samples over 4 ranks are 8 each"
python3 -c 'import json; assert json.load(open("out"))["seconds"] >= 0.2' || fail "$ran ended early"

for wrong in "--seconds 0" "--seconds nan" "--batches 0" "--ranks 0"; do
  # shellcheck disable=SC2086  # words
  run 1 data-bench config.yaml $wrong
  expect_code 2
done
run 1 data-bench config.yaml data.workers=-1
expect_code 78
[[ ! -e runs ]] || fail "a run directory was made"
