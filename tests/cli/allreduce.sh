#!/usr/bin/env bash
# `largo allreduce` on the CPU: what it prints, what it writes, what it refuses.   allreduce.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

run 2 allreduce run.device=cpu --min 4096 --max 100000 --iterations 3 --json table.json
expect_code 0
for size in 4096 8192 16384 32768 65536 100000; do
  grep -q "^ *$size " out || fail "$ran: no line for $size bytes"
done
python3 - <<'PY' || fail "$ran: the numbers do not follow from each other"
import json
table = json.load(open("table.json"))
assert table["ranks"] == 2 and table["iterations"] == 3, table
assert table["transport"] == "shared memory", table
assert [row["bytes"] for row in table["sizes"]] == [4096 * 2**i for i in range(5)] + [100000], table
for row in table["sizes"]:
    assert row["wrong"] == 0 and 0 < row["min_s"] <= row["median_s"] <= row["max_s"], row
    assert abs(row["algbw_gb_per_s"] * 1e9 * row["median_s"] / row["bytes"] - 1) < 1e-9, row
    assert 0 < row["mpi_min_s"] <= row["mpi_median_s"], row
    assert row["busbw_gb_per_s"] == row["algbw_gb_per_s"], row  # 2 (n - 1) / n of two ranks
PY

# Three ranks, one of which owns an element less than the others.
run 3 allreduce run.device=cpu --min 4 --max 64 --iterations 2 --json -
expect_code 0
python3 -c 'import json; assert json.load(open("out"))["ranks"] == 3' || fail "$ran: stdout is not the JSON alone"

run 2 allreduce run.device=cpu comm.dtype=bfloat16 --min 4 --max 40000 --iterations 2
expect_code 0
grep -q 'all-reduce of BFloat16' out || fail "$ran does not sum bfloat16"

run 1 allreduce run.device=cpu --min 4096 --max 4096 --iterations 2
expect_code 0
grep -q 'alone' out || fail "$ran does not say that a single rank sends nothing"
grep -q -E '^ *4096 .* 0\.000 +0$' out || fail "$ran: a single rank has a bus bandwidth"

run 1 allreduce --min 8 --max 4
expect_code 2
expect_err 'min <= max'
run 1 allreduce --iterations none
expect_code 2
run 2 allreduce nonsense
expect_code 2
run 2 allreduce lr.base=1
expect_code 78
expect_err lr.base
run 2 allreduce run.device=cpu comm.dtype=float16
expect_code 78
expect_err comm.dtype
run 2 allreduce run.device=cpu --min 4096 --max 4096 --iterations 1 --json /nowhere/table.json
expect_code 74
expect_err /nowhere/table.json
