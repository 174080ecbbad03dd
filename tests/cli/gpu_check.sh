#!/usr/bin/env bash
# launch/gpu_check without a GPU: that it says so, and, as a dry run on the CPU, its reports, its budget, its ladder, its
# archive, and what it does about failures.   gpu_check.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# check ARGUMENT ...: launch/gpu_check with the executables of $build.
check() {
  ran="launch/gpu_check $*"
  code=0
  LARGO_BUILD=$build timeout -k 5 300 "$root/launch/gpu_check" "$@" >out 2>err </dev/null || code=$?
}
result_of() { awk -F '\t' -v kind="$1" -v name="$2" '$1 == kind && $2 ~ name { print $3 }' "$report/results.tsv"; }
expect_result() { [[ $(result_of "$1" "$2") = "$3" ]] || fail "$ran: $1 $2 is '$(result_of "$1" "$2")' and not '$3'"; }
build=$(dirname "$largo")

if ! compgen -G '/dev/nvidia[0-9]*' >/dev/null; then
  check --out nothing
  expect_code 69
  [[ $(wc -l <err) = 1 && ! -e nothing ]] || fail "$ran says more than one sentence, or leaves a report"
  expect_err "no GPU here"

  # A GPU that Largo does not see is no reason to call anything good.
  mkdir fakebin
  # shellcheck disable=SC2016
  printf '#!/bin/sh\n[ "$1" != -L ] || echo "GPU 0: Fake (UUID: GPU-0)"\n' >fakebin/nvidia-smi
  chmod +x fakebin/nvidia-smi
  report=$work/unseen
  PATH=$work/fakebin:$PATH check --ladder --out "$report"
  if [[ -e $report/report.md ]]; then
    expect_code 1
    expect_result rung '^1 GPU$' FAILED
    expect_result rung '^2 GPUs$' "not run"
  else
    expect_code 69
    expect_err "was built without CUDA"
  fi
fi
for wrong in "--nonsense" "--minutes 0" "--minutes" "--pack pack.zip"; do
  # shellcheck disable=SC2086  # words
  check $wrong
  expect_code 2
done

export LARGO_GPU_CHECK_DEVICE=cpu

# A build whose executable is a script: real, but for what $fault says.
mkdir fake
cp "$build/CMakeCache.txt" fake/
cat >fake/largo <<SH
#!/usr/bin/env bash
case "\$FAULT \$*" in
  "refuse train "*) echo "error: as asked" >&2; exit 70 ;;
  "hang train "*run.name=train_2*) exec "$largo" "\$@" train.length=100000000steps ;;
esac
exec "$largo" "\$@"
SH
chmod +x fake/largo
real=$build

# The whole way.
report=$work/good
export LARGO_GPU_CHECK_TESTS=resume
check --out "$report" --minutes 5
expect_code 0
expect_result test gpu_resume passed
expect_result bench resnet20 "done"
expect_result bench allreduce_2 "done"
grep -q "dry run on the CPU: no evidence about GPUs" "$report/report.md" || fail "$ran: the report does not say that it was a dry run"
grep -q "1 of 1 tests passed" "$report/report.md" || fail "$ran: the report does not count the tests"
python3 - "$report/report.json" <<'PY' || fail "$ran: report.json"
import json, sys
report = json.load(open(sys.argv[1]))
assert report["good"] and report["device"] == "cpu", report
assert [entry["who"] for entry in report["bench"]].count("largo") == 2, report["bench"]
assert report["allreduce"][0]["ranks"] == 2, report["allreduce"]
PY
for what in 'ldd' 'libtorch_cpu' 'version --all' 'environment'; do
  grep -q -F "$what" "$report/machine.txt" || fail "$ran: machine.txt lacks $what"
done
check --out "$report"
expect_code 2
expect_err "holds a report already"

# A test that fails; a benchmark that does.
report=$work/bad build=$work/fake
FAULT=refuse check --out "$report"
expect_code 1
expect_result test gpu_resume FAILED
expect_result bench resnet20 part
grep -q "NOT ALL GOOD" "$report/report.md" || fail "$ran: the report does not say that a test failed"

# The budget is spent.
report=$work/late
LARGO_GPU_CHECK_SPENT=60 check --out "$report" --minutes 1
expect_code 1
for kind in test bench; do expect_result "$kind" 'resume|resnet20' "not run"; done
[[ -s $report/report.md ]] || fail "$ran: no report"

# The ladder, up and with a rung that hangs.
report=$work/ladder build=$real
printf '# this machine, as if it were several\nlocalhost slots=2\n' >hosts
check --ladder --hosts hosts --out "$report"
expect_code 0
expect_result rung '^2 GPUs$' passed
expect_result rung 'steps' passed
expect_result rung 'all GPUs' "not run"
expect_result rung '2 nodes' passed
tar tzf "$report.tar.gz" >listing || fail "$ran: no archive"
for name in ladder/machine.txt ladder/logs/sums_2.log ladder/runs/stress_2/metrics.jsonl ladder/report.md; do
  grep -q -x "$name" listing || fail "$ran: the archive lacks $name"
done

check --ladder --hosts missing --out "$work/hosts"
expect_code 66

report=$work/red build=$work/fake
FAULT=hang LARGO_GPU_CHECK_RUNG_SECONDS=40 check --ladder --out "$report"
expect_code 1
expect_result rung '^1 GPU$' passed
expect_result part train_2 FAILED
expect_result rung '^2 GPUs$' FAILED
expect_result rung 'steps' "not run"
tar tzf "$report.tar.gz" >listing
grep -q -x red/logs/train_2.stacks listing || fail "$ran: the archive lacks the stacks"
[[ $(grep -c '^== process .* train ' "$report/logs/train_2.stacks") = 2 ]] || fail "$ran: not the stacks of two ranks"
[[ -z $(pgrep -f "run.output=$report/runs" || true) ]] || fail "$ran left ranks behind"
