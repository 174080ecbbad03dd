#!/usr/bin/env bash
# largo lr: tables of one run file and of several, what is scheduled beside the learning rate, what depends on
# training, plots.   lr.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
small_config small.yaml 1000steps
cat >waves.yaml <<'YAML'
data: {kind: synthetic, shape: [1, 8, 8], classes: 4, limit: 256}
model: {name: mlp}
batch: {global: 64}
lr:
  base: 0.1
  base_batch: 32
  policy:
    kind: piecewise
    pieces:
      - {until: 100steps, policy: {kind: triangular, k0: 0.1, k1: 0.5, length: 50steps}}
      - {policy: {kind: cosine}}
train: {length: 200steps}
YAML

# value FILE ROW COLUMN: of the CSV table on stdout; the row is the one of that step.
value() { python3 - "$@" <<'PY'
import csv, sys
row, column = sys.argv[2:]
print(next(r for r in csv.DictReader(open(sys.argv[1])) if float(r["step"]) == float(row))[column])
PY
}

run 1 lr waves.yaml --at 0,25.5,50,100,199,100000 --csv
expect_code 0
[[ $(head -n 1 out) = step,lr && $(wc -l <out) = 7 ]] || fail "$ran: not the rows that were asked for"
[[ $(value out 50 lr) = 1 && $(value out 0 lr) = 0.2* && $(value out 199 lr) = 0 && $(value out 100000 lr) = 0 ]] ||
  fail "$ran: other values"
expect_err 'peak LR 1 = 0.5 × 2 (linear, batch 64 / 32)'

# Two run files, with overrides for both; the shorter one ends earlier.
run 1 lr small.yaml waves.yaml batch.global=128 --every 150 --csv --plot two.svg --terminal
expect_code 0
[[ $(head -n 1 out) = step,small.lr,waves.lr ]] || fail "$ran: no column for each"
[[ $(value out 150 small.lr) = 0.2* && $(value out 0 waves.lr) = 0.4* && -z $(value out 300 waves.lr) ]] ||
  fail "$ran: other values"
[[ $(value out 199 waves.lr) = 0 && $(value out 999 small.lr) = 0.2* ]] || fail "$ran: a last step is missing"
[[ $(grep -c '<path' two.svg) -gt 2 ]] || fail "$ran: no plot"
grep -q small.lr two.svg || fail "$ran: no legend"
expect_err '* small.lr'
expect_err 'o waves.lr'
if grep -q $'\033' err; then fail "$ran: colours in a file"; fi

mkdir -p other
cp waves.yaml other/
run 1 lr waves.yaml other/waves.yaml --at 0 --csv
expect_code 0
[[ $(head -n 1 out) = step,waves.yaml.lr,other/waves.yaml.lr ]] || fail "$ran: columns of one name"

# What else is scheduled.
run 1 lr small.yaml 'optimizer.momentum_schedule={kind: polynomial, end: 0.5}' \
  'optimizer.weight_decay_schedule={kind: sine, k0: 0, k1: 0.1, length: 10steps}' --at 0,5,999 --csv
expect_code 0
[[ $(head -n 1 out) = step,lr,momentum,weight_decay ]] || fail "$ran: no columns of the schedules"
[[ $(value out 0 momentum) = 0.9* && $(value out 999 momentum) = 0.5 && $(value out 0 weight_decay) = 0 ]] ||
  fail "$ran: other values"

run 1 lr small.yaml 'optimizer.momentum_schedule={kind: polynomial, end: 0.5}' \
  'optimizer.weight_decay_schedule={kind: sine, k0: 0, k1: 0.1, length: 10steps}' --at 0 --plot all.svg --terminal
expect_code 0
for quantity in 'learning rate' momentum 'weight decay'; do
  grep -q ">$quantity</text>" all.svg || fail "$ran: no plot of $quantity"
  grep -q -x -e "$quantity" err || fail "$ran: $quantity is not drawn"
done
[[ $(grep -c 'stroke-width="1.5"' all.svg) = 3 ]] || fail "$ran: not three lines"

# Effective values of a batch per rank, for so many ranks.
sed 's/global: 32/per_rank: 32/' small.yaml >per_rank.yaml
run 1 config print per_rank.yaml --ranks 4
expect_code 0
grep -q '× 4 = 0.2 at batch 128' out || fail "$ran: no effective LR"

# What is not known before training.
run 1 lr small.yaml batch.global=128 lr.scaling=adascale --ranks 4 --at 0
expect_code 0
expect_err '250 to 1000 steps'
expect_err 'steps are those of lr.base_batch'
run 1 lr small.yaml 'lr.policy={kind: plateau_reduce, patience: 2}' --at 0
expect_code 0
expect_err 'depends on training'
run 1 lr small.yaml 'lr={base_batch: 32, policy: {kind: plateau_change, first: 1, levels: [{base: 0.2}, {}]}}' --at 0 --csv
expect_code 0
[[ $(tail -n 1 out) = 0,0.2*,0.05* && $(head -n 1 out) = step,lr0,lr1 ]] || fail "$ran: not a column for each level"
expect_err 'starts with level 1'

# A long run takes no longer, and its plot shows the 1 of step 50.
run_seconds=20 run 1 lr waves.yaml train.length=1000000steps --plot long.svg
expect_code 0
grep -q '>1</text>' long.svg || fail "$ran: a peak of the long run is not in its plot"

# An override may stand behind --at, which takes one list.
run 1 lr small.yaml --at 0 lr.base=0.1 --csv
expect_code 0
[[ $(wc -l <out) = 2 ]] || fail "$ran: not one step"
# Two learning rates that differ in their last bit.
cp small.yaml bit.yaml
run_seconds=20 run 1 lr small.yaml bit.yaml --plot bit.svg --terminal lr.base=0.3
expect_code 0
sed -i 's/^lr: .*/lr: {base: 0.30000000000000004, scaling: none}/' small.yaml
sed -i 's/^lr: .*/lr: {base: 0.3, scaling: none}/' bit.yaml
run_seconds=20 run 1 lr small.yaml bit.yaml --plot bit.svg --terminal
expect_code 0

run 1 lr small.yaml --every 99999999999999999999
expect_code 2
run 1 lr small.yaml --at nan
expect_code 2
run 1 lr small.yaml nowhere.yaml
expect_code 66
