#!/usr/bin/env bash
# Ranks die with their launcher, even one that is killed outright; a rank started alone outlives its
# shell.   launcher_death.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
export LARGO_TEST_MARK=$work
small_config config.yaml 10000000steps

has_trained() { grep -q '"event":"train"' "runs/$1/metrics.jsonl"; }
"$mpirun" -n 2 --bind-to none "$largo" train config.yaml run.name=launched >out 2>err </dev/null &
launcher=$!
await 60 "training to begin" has_trained launched
[[ $(marked OMPI_COMM_WORLD_SIZE=2 | wc -l) = 2 ]] || fail "two ranks should be running"
kill -KILL "$launcher"
no_ranks() { [[ -z $(marked OMPI_COMM_WORLD_SIZE=2) ]]; }
await 10 "the ranks to die with mpirun" no_ranks

bash -c '"$1" train config.yaml run.name=alone >out 2>err </dev/null & echo $! >id; wait' _ "$largo" &
shell=$!
await 60 "training to begin" has_trained alone
kill -KILL "$shell"
kill -0 "$(cat id)" || fail "the rank died with its shell"
wait "$shell" 2>/dev/null || true
lines() { wc -l <runs/alone/metrics.jsonl; }
before=$(lines)
trains_on() { [[ $(lines) -gt $before ]]; }
await 30 "the rank to train on without its shell" trains_on
kill -KILL "$(cat id)"
