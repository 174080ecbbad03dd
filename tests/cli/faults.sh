#!/usr/bin/env bash
# Faults of all kinds, on random ranks at random moments: each ends the job within the time limit and ten seconds, with
# an exit code that is not 0 and the number of the rank, and leaves neither a process nor shared memory behind.
#   faults.sh FAULTY_RANK MPIRUN LARGO SHIM [TRIALS [SEED [FAULT ...]]]
# TRIALS of each fault (1), or of those that are named.
trials=${5:-1}
RANDOM=${6:-1}
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
faulty_rank=$largo trainer=$3 shim=$4
host=$(hostname)
ranks=3 timeout_s=2 init_timeout_s=3
export LARGO_TEST_MARK=$work
memory=$work/memory # Open MPI's own files, which it leaves when it is killed
mkdir "$memory"
export OMPI_MCA_btl_vader_backing_directory=$memory OMPI_MCA_btl_sm_backing_directory=$memory

in_memory() { find /dev/shm -mindepth 1 ! -name 'vader_segment.*' | sort; }
memory_before=$(in_memory)
nothing_left() { [[ -z $(comm -13 <(echo "$memory_before") <(in_memory)) ]]; }
no_ranks() { [[ -z $(marked OMPI_COMM_WORLD_SIZE=$ranks) ]]; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# begin PROGRAM ARGUMENT ...: the ranks; their launcher's id in $launcher.
begin() {
  rm -rf runs
  "$mpirun" -n $ranks --bind-to none "$@" >out 2>err </dev/null &
  launcher=$!
}

# begin_training ARGUMENT ...: one without an end, that is mostly at its evaluations and checkpoints.
begin_training() {
  begin env "${wrapper[@]}" "$trainer" train "$config" train.length=10000000steps comm.timeout=${timeout_s}s \
    comm.init_timeout=${init_timeout_s}s "$@"
}
has_begun() { grep -q '"event":"start"' runs/*/metrics.jsonl; }
at_any_time() {
  await 60 "the start of $ran" has_begun
  sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))"
}

# ended CODES: the launcher's, among these, in time since $since_ms.
longest_ms=0
ended() {
  local most_ms=$((1000 * (init_timeout_s + 10)))
  is_over() { ! kill -0 "$launcher" 2>/dev/null; }
  await 60 "the end of $ran" is_over
  local took_ms=$(($(now_ms) - since_ms))
  code=0
  wait "$launcher" || code=$?
  [[ " $1 " == *" $code "* ]] || fail "$ran: exit code $code instead of one of: $1"
  ((took_ms <= most_ms)) || fail "$ran took $took_ms ms of $most_ms"
  ((took_ms <= longest_ms)) || longest_ms=$took_ms
  await 5 "the ranks to be gone after $ran" no_ranks
  await 5 "/dev/shm to be as it was before $ran" nothing_left
}
says() { grep -q -E -e "$1" err || fail "$ran does not say: $1"; }

# signal NAME CODES WORDS: one that reaches a rank of a training.
signal() {
  begin_training
  at_any_time
  since_ms=$(now_ms)
  kill -s "$1" "$(marked OMPI_COMM_WORLD_RANK=$rank)"
  ended "$2"
  says "$3"
}

# own FAULT CODES WORDS: one that a rank makes itself, in its step.
own() {
  since_ms=$(now_ms)
  begin "$faulty_rank" "$1" $timeout_s "$rank" $step
  ended "$2"
  says "$3"
}

small_config small.yaml
small_images images
cat >images.yaml <<'YAML'
run: {seed: 1, device: cpu, threads: 1}
data: {kind: image_folder, path: images, workers: 2}
model: {name: mlp}
batch: {global: 24}
lr: {base: 0.01, base_batch: 24}
train: {length: 10steps, log_every: 1steps, eval_every: 5steps}
YAML
gate=$work/gate waits=$work/waits
: >"$gate"

faults=("${@:7}")
((${#faults[@]})) || faults=(kill stop segmentation launcher loader exception exit exit_at_once mismatch other_communicator)
for fault in "${faults[@]}"; do
  longest_ms=0
  for ((trial = 1; trial <= trials; ++trial)); do
    rank=$((RANDOM % ranks)) step=$((RANDOM % 10))
    config=small.yaml wrapper=()
    ran="the fault $fault, trial $trial, of rank $rank"
    case $fault in
      kill) signal KILL 137 "process rank $rank with PID .* signal 9" ;;
      segmentation) signal SEGV 139 "process rank $rank with PID .* signal 11" ;;
      stop) signal STOP 69 "the process of rank $rank on $host is stopped" ;;
      launcher) # there is nobody left to say it
        begin_training
        at_any_time
        since_ms=$(now_ms)
        kill -KILL "$launcher"
        ended 137
        ;;
      loader) # an image that cannot be read, on the rank that is to read it
        config=images.yaml
        printf -v image 'train/%s/%04d.png' "$( ((RANDOM % 2)) && echo a || echo b)" $((1 + RANDOM % 119))
        wrapper=(LD_PRELOAD="$shim" LARGO_TEST_HELD="$image" LARGO_TEST_GATE="$gate" LARGO_TEST_WAITS="$waits")
        rm -f "$waits"
        begin_training
        await 60 "$ran to want $image" test -s "$waits"
        since_ms=$(now_ms)
        ended 69
        rank=$(head -n 1 "$waits" | cut -d' ' -f1)
        says "missing: rank $rank on $host"
        ;;
      exception) own $fault 65 "\[rank $rank @ $host\] error: gave up" ;;
      exit) own $fault 70 "\[rank $rank @ $host\] error: exit\(\) was called" ;;
      exit_at_once) own $fault 1 "process rank $rank with PID|missing: rank $rank on $host" ;;
      mismatch | other_communicator) # a root's broadcast of a few bytes waits for nobody, and nobody misses it
        rank=$((1 + RANDOM % (ranks - 1)))
        if [[ $fault = mismatch ]]; then
          own $fault "69 70" "rank $rank"
        else
          own $fault 69 "missing: rank $rank on $host"
        fi
        ;;
    esac
  done
  echo "$fault: $trials of $trials as it should be; longest end $longest_ms ms"
done
