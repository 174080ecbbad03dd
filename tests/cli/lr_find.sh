#!/usr/bin/env bash
# The LR range test: what it prints and writes, the same on any number of ranks; what gives a sentence in place of a
# number, and with which exit code; nothing is left behind.   lr_find.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
small_config small.yaml
sed -i 's/^lr: .*/lr: {base: 0.05, base_batch: 16}   # tuned by hand/' small.yaml

run 2 lr-find small.yaml --json found.json --plot found.svg --set found.yaml
expect_code 0
expect_err 'effective LR = lr.base x 2 (lr.scaling linear, batch 32 / 16)'
[[ $(wc -l <out) = 5 && $(head -1 out) = "suggestion  effective_lr  lr.base" ]] || fail "$ran: the table is not as documented"
read -r name lr base < <(sed -n 2p out)
[[ $name = valley ]] || fail "$ran: the answer does not come first"
python3 - "$lr" "$base" <<'PY' || fail "$ran: JSON, table and base do not fit together"
import json, sys
lr, base = float(sys.argv[1]), float(sys.argv[2])
found = json.load(open("found.json"))
valley = found["suggestions"]["valley"]
assert abs(lr / valley["effective_lr"] - 1) < 1e-3 and abs(base / valley["lr.base"] - 1) < 1e-3
assert abs(valley["effective_lr"] / valley["lr.base"] - 2) < 1e-12
assert found["ended"] == "diverged" and 50 < len(found["points"]) <= 100
assert found["settings"]["world"] == 2 and found["settings"]["global_batch"] == 32
assert set(found["suggestions"]) == {"valley", "steepest", "minimum", "slide"}
PY
[[ $(diff small.yaml found.yaml | grep -c '^[<>]') = 2 ]] || fail "$ran: --set changed more than one line"
grep -q "^lr: {base: $base, base_batch: 16}   # tuned by hand\$" found.yaml || fail "$ran: --set did not set lr.base"
head -1 found.svg | grep -q '<svg' || fail "$ran wrote no SVG"
# The answer trains, and nothing else was written.
[[ $(find . -mindepth 1 ! -name found.\* ! -name small.yaml ! -name out ! -name err | wc -l) = 0 ]] || fail "$ran left $(ls)"
run 1 train found.yaml
expect_code 0
rm -r runs

# Cyclic policies have their LR in k1; --suggest puts another one first.
run 1 lr-find small.yaml 'lr={base_batch: 16, policy: {kind: triangular, length: 5steps, k0: 0.01, k1: 0.1}}' --suggest slide
expect_code 0
[[ $(head -1 out) = *lr.policy.k1 && $(sed -n 2p out) = slide* ]] || fail "$ran: not k1, or not slide"

# What the base means where the schedule does not start at its peak, stays below it, or has no base.
run 1 lr-find small.yaml 'lr.warmup={kind: gradual, length: 3steps}' 'lr.policy={kind: cosine}'
expect_code 0
expect_err "the schedule's greatest LR, at step 3 of 20"
run 1 lr-find small.yaml 'lr.policy={kind: sigmoid, gamma: -0.1, gamma_per: 1steps, length: 2steps}'
expect_code 0
expect_err "the schedule's own greatest LR, at step 0 of 20, is 0.5498 of that"
cycle='{kind: triangular, length: 2steps, k0: 0.01, k1: 0.1}'
sed "s/^lr: .*/lr: {base_batch: 16, policy: {kind: piecewise, pieces: [{until: 10steps, policy: $cycle}, {policy: $cycle}]}}/" \
  small.yaml >found_pieces.yaml
run 1 lr-find found_pieces.yaml
expect_code 0
expect_err 'pieces of lr.policy have learning rates of their own: multiply'
[[ $(sed -n 2p out) = valley*- ]] || fail "$ran: a base where there is none"
run 1 lr-find found_pieces.yaml --set other.yaml
expect_code 2

# lr.base is only one of several levels, and not the greatest.
for policy in 'kind: piecewise, pieces: [{until: 10steps, base: 1.0, policy: constant}, {policy: constant}]' \
  'kind: piecewise, pieces: [{until: 5steps, policy: constant}, {policy: {kind: piecewise, pieces: [{base: 1.0, policy: constant}]}}]' \
  "kind: piecewise, pieces: [{until: 10steps, policy: constant}, {policy: $cycle}]" \
  'kind: plateau_change, every: 5steps, first: 1, levels: [{base: 0.2}, {}]'; do
  sed "s/^lr: .*/lr: {base: 0.05, base_batch: 16, policy: {$policy}}/" small.yaml >found_mixed.yaml
  run 1 lr-find found_mixed.yaml
  expect_code 0
  expect_err 'of lr.policy have learning rates of their own beside those that start from lr.base: multiply all'
  [[ $(sed -n 2p out) = valley*- ]] || fail "$ran ($policy): a base that is not the greatest"
  run 1 lr-find found_mixed.yaml --set other.yaml
  expect_code 2
  expect_err 'no one number of the file is the base'
  [[ ! -e other.yaml ]] || fail "$ran ($policy): wrote a base that is not the greatest"
done
policy='kind: piecewise, pieces: [{until: 10steps, policy: constant}, {policy: cosine}]'
sed "s/^lr: .*/lr: {base: 0.05, base_batch: 16, policy: {$policy}}/" small.yaml >found_mixed.yaml
run 1 lr-find found_mixed.yaml --set found_other.yaml
expect_code 0
read -r _ _ base < <(sed -n 2p out)
grep -qxF "lr: {base: $base, base_batch: 16, policy: {$policy}}" found_other.yaml || fail "$ran: --set did not set lr.base"

# Other learning rates of the file would make the schedule of the copy something else.
for other in 'policy: {kind: cosine, end: 20}' 'warmup: {kind: gradual, length: 3steps, start: 20}, policy: cosine'; do
  sed "s/^lr: .*/lr: {base: 30, base_batch: 16, $other}/" small.yaml >found_end.yaml
  run 1 lr-find found_end.yaml --set other.yaml
  expect_code 78
  expect_err 'the greatest LR of its schedule would be 40'
  [[ $(sed -n 2p out) = valley* && ! -e other.yaml ]] || fail "$ran: no answer, or a file that does not fit it"
done

# A base that is not legal beside the rest of the file: no file, but the answer.
sed "s/^lr: .*/lr: {base_batch: 16, policy: {kind: triangular, length: 5steps, k0: 50, k1: 100}}/" small.yaml >found_floor.yaml
run 2 lr-find found_floor.yaml --json found_floor.json --set other.yaml
expect_code 78
expect_err '--set: other.yaml is not written, because of lr.policy.k1'
expect_err 'is below k0'
[[ $(head -1 out) = *lr.policy.k1 && $(sed -n 2p out) = valley* ]] || fail "$ran: the answer is lost"
[[ $(field found_floor.json suggestions.valley.effective_lr) = 0.* ]] || fail "$ran: the JSON is lost"
[[ ! -e other.yaml ]] || fail "$ran: wrote a file that is not legal"

# One ramp point apart at most, on any number of ranks and with accumulation.
tests=0
for cut in 1: 2: 4: 1:batch.micro=8 2:batch.micro=4; do
  # shellcheck disable=SC2086  # no word for no override
  run "${cut%%:*}" lr-find small.yaml model.name=resnet8 model.norm.kind=group train.precision=float64 train.last_batch=wrap \
    'data.shape=[3, 8, 8]' ${cut#*:} --from 0.003 --to 3 --steps 60 --json "cut$tests.json"
  expect_code 0
  tests=$((tests + 1))
done
python3 - <<'PY' || fail "ranks and accumulation find other learning rates"
import json, math
first, *others = [json.load(open(f"cut{i}.json")) for i in range(5)]
for other in others:
    assert other["settings"]["world"] * other["settings"]["accumulation"] > 1
    assert len(other["points"]) == len(first["points"])
    for name, suggestion in first["suggestions"].items():
        apart = 60 * abs(math.log(suggestion["effective_lr"] / other["suggestions"][name]["effective_lr"])) / math.log(1000)
        assert apart < 1.001, (name, apart)
PY

# A sentence and 76 where the losses say nothing.
no_number() {
  expect_code 76
  [[ ! -s out ]] || fail "$ran: a number all the same"
}
run 2 lr-find small.yaml --from 1e-9 --to 1e-8 --json none.json --set none.yaml
no_number
expect_err 'the loss does not fall between LR'
[[ ! -e none.yaml ]] || fail "$ran: a base was set all the same"
python3 -c 'import json; assert "why_not" in json.load(open("none.json"))["suggestions"]["valley"]' || fail "$ran: JSON"
run 2 lr-find small.yaml 'data.mean=[0.0]' 'data.std=[1.0e-44]'
no_number
expect_err 'loss of the first step is not finite'
run 2 lr-find small.yaml --from 1e20 --to 1e30
no_number
expect_err 'start with a lower --from'
run 1 lr-find small.yaml --steps 20 --from 0.001 --to 1 --suggest slide
no_number
expect_err 'slide needs 16 points'

# Smith's test; epochs of 8 steps follow one another.
run 2 lr-find small.yaml --accuracy --from 1e-3 --to 1 --steps 60 --plot accuracy.svg
expect_code 0
[[ $(sed -n 2p out) = high* && $(sed -n 3p out) = low* ]] || fail "$ran: the table is not as documented"

usage() { # PART OF THE MESSAGE, ARGUMENT ...
  local words=$1
  shift
  run 2 lr-find small.yaml "$@"
  expect_code 2
  expect_err "$words"
  [[ ! -s out ]] || fail "$ran: a number all the same"
}
usage 'legal: at least 8' --steps 7
usage 'legal: 0 < from < to' --from 1 --to 0.1
usage 'legal: 0 < from < to' --from 0
usage 'valley' --suggest best
usage 'exponential' --ramp square
usage 'is there already' --set found.yaml
usage 'overrides it' lr.base=1 --set other.yaml
run 2 lr-find small.yaml lr.bas=1
expect_code 78
expect_err 'did you mean base'
run 2 lr-find small.yaml lr.scaling=adascale optimizer.momentum=0
expect_code 78
expect_err 'batch.global=16'
run 2 lr-find missing.yaml
expect_code 66
usage 'is the run file itself' --json ./small.yaml
usage '15 digits' --steps 99999999999999999999
usage 'excludes' --accuracy --suggest slide
run 1 lr-find small.yaml --json missing/found.json
expect_code 74
expect_err 'there is no folder'
[[ ! -s out ]] || fail "$ran tested for nothing"
# What cannot be written does not keep the others.
mkdir folder
run 1 lr-find small.yaml --json folder --plot found_beside.svg --set found_beside.yaml
expect_code 74
[[ $(sed -n 2p out) = valley* ]] || fail "$ran: the answer is lost"
[[ -s found_beside.svg && -s found_beside.yaml ]] || fail "$ran: the other files are lost"
rmdir folder
[[ ! -e runs ]] || fail "a run directory was made"

# Stopped: gone without a trace.
before=$(ls -A)
shared=$(ls /dev/shm)
LARGO_TEST_MARK=$work "$mpirun" -n 2 --bind-to none "$largo" lr-find small.yaml train.length=1ep --steps 10000000 \
  --from 1e-6 --to 2e-6 --json never.json --set never.yaml >never_out 2>never_err </dev/null &
launcher=$!
trains() { grep -q "^0 " never_err; }
await 60 "the ramp" trains
kill -TERM "$launcher"
wait "$launcher" || true
gone() { [[ -z $(marked OMPI_COMM_WORLD_SIZE=2) ]]; }
await 20 "the ranks to end" gone
rm never_out never_err
[[ $(ls -A) = "$before" ]] || fail "what a stopped test left behind: $(ls -A)"
[[ -z $(comm -13 <(sort <<<"$shared") <(ls /dev/shm | sort) | grep -i largo) ]] || fail "shared memory is left behind"
