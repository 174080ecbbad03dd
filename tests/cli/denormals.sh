#!/usr/bin/env bash
# run.flush_denormals: environment.json says what the CPUs of ranks do, not what was wished; a wish that
# is not granted is a warning where the file or the command line says it.   denormals.sh LARGO MPIRUN SHIM
shim=$3
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
small_config a.yaml 2steps

# RUN RANK ...: what environment.json says, of the CPU of rank 0 and of each rank.
expect_flushed() {
  local run=$1
  shift
  [[ $(field "runs/$run/environment.json" cpu.flush_denormals) = "$1" ]] || fail "$ran: not $1 on rank 0"
  python3 - "runs/$run/environment.json" "$@" <<'PY' || fail "$ran: its ranks"
import json, sys
ranks = json.load(open(sys.argv[1]))["ranks"]
sys.exit(0 if [str(rank["flush_denormals"]) for rank in ranks] == sys.argv[2:] else 1)
PY
}
warnings() { grep -c 'run.flush_denormals is true, and' err || true; }

run 2 train a.yaml run.flush_denormals=true run.name=granted
expect_code 0
expect_flushed granted True True
[[ $(warnings) = 0 ]] || fail "$ran warns"

export LD_PRELOAD=$shim
run 2 train a.yaml run.name=usual
expect_code 0
expect_flushed usual True False
[[ $(warnings) = 0 ]] || fail "$ran warns of what nobody asked for"
run 2 train a.yaml run.flush_denormals=true run.name=asked
expect_code 0
expect_flushed asked True False
[[ $(warnings) = 1 ]] || fail "$ran does not warn once"
expect_err "the processor of rank 1 cannot"
run 1 train a.yaml run.flush_denormals=true run.name=alone
expect_code 0
expect_flushed alone False
[[ $(warnings) = 1 ]] || fail "$ran does not warn once"
