#!/usr/bin/env bash
# What a second start of the same run does: says that it is finished, resumes, refuses another
# configuration, or starts afresh; nothing is ever deleted.   run_directory.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

small_config first.yaml
run 2 train first.yaml
expect_code 0
folder=runs/first
for file in config.yaml environment.json metrics.jsonl summary.json log.txt weights.safetensors; do
  [[ -n $(find "$folder" -name "$file" -size +0) ]] || fail "$ran left no $file"
done
[[ $(field $folder/summary.json status) = done && $(field $folder/summary.json steps) = 20 ]] || fail "the summary is wrong"
[[ $(field $folder/summary.json world) = 2 && $(field $folder/summary.json global_batch) = 32 ]] || fail "the summary is wrong"
field $folder/summary.json final.top1 >/dev/null

# Every line of metrics.jsonl is an object, and the events come in their order.
events=$(python3 -c 'import json, sys
print(*[json.loads(line)["event"] for line in open(sys.argv[1])])' $folder/metrics.jsonl)
[[ $events = start*train*eval*checkpoint*end ]] || fail "the events are: $events"

# Finished: nothing happens.
cp $folder/metrics.jsonl before
run 2 train first.yaml
expect_code 0
expect_err finished
cmp -s before $folder/metrics.jsonl || fail "a finished run was written to"

# Another trajectory in the same directory.
run 1 train first.yaml lr.base=0.01
expect_code 78
expect_err lr.base
cmp -s before $folder/metrics.jsonl || fail "a refused run was written to"

# Afresh: the old directory is renamed.
run 1 train first.yaml lr.base=0.01 --fresh
expect_code 0
[[ $(find runs -mindepth 1 -maxdepth 1 -type d | wc -l) = 2 ]] || fail "the old run directory is not there any more"
find runs -name metrics.jsonl -exec cmp -s before {} \; -print | grep -q . || fail "the old run directory has changed"

# Killed: one rank of two dies, the other does not wait for it, and the next start goes on.
small_config killed.yaml 4000steps
killed=(train killed.yaml checkpoint.every=50steps train.eval_every=4000steps)
LARGO_TEST_MARK=$work "$mpirun" -n 2 --bind-to none "$largo" "${killed[@]}" >out 2>err </dev/null &
launcher=$!
has_checkpoint() { ls runs/killed/checkpoints/*/DONE >/dev/null 2>&1; }
await 60 "a checkpoint" has_checkpoint
kill -KILL "$(marked OMPI_COMM_WORLD_RANK=1)"
ended() { ! kill -0 "$launcher" 2>/dev/null; }
await 30 "the job to end when a rank is killed" ended
code=0
wait "$launcher" || code=$?
ran="a run of which a rank was killed"
[[ $code != 0 ]] || fail "$ran ended with exit code 0"

run 2 "${killed[@]}"
expect_code 0
step=$(python3 - runs/killed/metrics.jsonl <<'PY'
import json, sys
lines = []
for line in open(sys.argv[1]):
    try:
        lines.append(json.loads(line))
    except ValueError:
        pass  # the killed process's last
resumed = [line["step"] for line in lines if line["event"] == "resume"]
print(resumed[0] if len(resumed) == 1 else f"resumed {len(resumed)} times")
PY
)
[[ $step =~ ^[0-9]+$ && $step -ge 50 && $((step % 50)) = 0 ]] || fail "$ran resumed at: $step"
[[ $(field runs/killed/summary.json status) = done && $(field runs/killed/summary.json steps) = 4000 ]] ||
  fail "$ran is not done after the second start"
