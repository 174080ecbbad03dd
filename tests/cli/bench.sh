#!/usr/bin/env bash
# launch/bench from outside: its options, its run files, a measurement without PyTorch.   bench.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
bench=$root/launch/bench
PATH=$(dirname "$mpirun"):$PATH
export LARGO=$largo LARGO_CACHE=$work/cache

# try CODE ARGUMENT ...
try() {
  local wanted=$1
  shift
  ran="launch/bench $*" code=0
  timeout -k 5 270 "$bench" "$@" >out 2>err </dev/null || code=$?
  expect_code "$wanted"
}

try 0 --help
grep -q -e --quick out || fail "$ran does not tell of --quick"
try 0 --list
for name in lenet resnet20 allreduce loader start; do
  grep -q "^$name " out || fail "$ran does not tell of $name"
done
try 2 --only vgg16
try 2 --rounds 0
LARGO=$work/nowhere try 69
expect_err nowhere

# The run files are good ones.
python3 -B - "$root/launch" <<'PY' || fail "the run files could not be written"
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from benchmarks import cases, training
for case in vars(cases).values():
    if isinstance(case, cases.Case):
        Path(f"{case.name}.yaml").write_text(training.run_file(case, Path("runs"), 30, 10))
PY
for file in lenet resnet20_bf16 resnet20_sync resnet20_group; do
  run 1 config check $file.yaml
  expect_code 0
done

# Without PyTorch: exit code 0, Largo's numbers, and a sentence on what is missing.
try 0 --only allreduce --quick --rounds 1 --no-fetch --out report
grep -q '^all-reduce of 1 MB .*MPI_Allreduce' out || fail "$ran: no line for 1 MB"
grep -q "^- Without PyTorch's columns" out || fail "$ran does not say that PyTorch is missing"
grep -q '^| all-reduce of 100 MB | .* |$' report/bench.md || fail "$ran: no line for 100 MB in Markdown"
[[ $(field report/bench.json rounds) = 1 && ! -e cache ]] || fail "$ran: not one round, or something was fetched"
python3 - <<'PY' || fail "$ran: numbers are missing in the JSON"
import json
found = json.load(open("report/bench.json"))
assert set(found["measurements"]) == {"allreduce.largo", "allreduce.mpi"}, found["measurements"].keys()
assert all(row["theirs"] and row["figure"] for row in found["rows"] if row["against"] == "MPI_Allreduce")
assert found["machine"]["cores"] >= 1 and found["machine"]["cpu"], found["machine"]
PY

# A measurement that fails is in the report, and in the exit code.
printf '#!/bin/sh\necho "no luck today" >&2\nexit 70\n' >unlucky
chmod +x unlucky
LARGO=$work/unlucky try 1 --only start --quick --rounds 1 --no-fetch --out unlucky_report
grep -q 'Failed: start.largo, round 1/1: exit code 70.*no luck today' unlucky_report/bench.md || fail "$ran does not say what failed"

# A benchmark that is ended leaves no rank and no folder.
printf '#!/bin/sh\n[ "$1" = version ] || exec sleep 300\n' >sleeper
chmod +x sleeper
mkdir temporary
LARGO=$work/sleeper TMPDIR=$work/temporary LARGO_TEST_MARK=$work "$bench" --only start --no-fetch --out ended >out 2>err &
sleeps() { [[ -n $(marked OMPI_COMM_WORLD_RANK=1) ]]; }
await 60 "the ranks" sleeps
kill -TERM $!
code=0
wait $! || code=$?
[[ $code = 143 ]] || fail "ended by SIGTERM, launch/bench returned $code"
[[ -z $(marked OMPI_COMM_WORLD_RANK=1) && -z $(ls temporary) ]] || fail "ended, launch/bench left something: $(ls temporary)"
