# launch/gpu_check --ladder: from the machine to two nodes, a rung at a time. Sourced, after steps.sh.
# shellcheck shell=bash disable=SC2154
rung_seconds=${LARGO_GPU_CHECK_RUNG_SECONDS:-180}

# Where every thread of one process is: by gdb where there is one that may attach, and what the kernel says.
stacks_of() {
  local thread
  printf '\n== process %s: %s\n' "$1" "$(tr '\0' ' ' <"/proc/$1/cmdline")"
  if command -v gdb >/dev/null; then
    timeout 15 gdb -p "$1" -batch -ex 'thread apply all backtrace 40' 2>/dev/null | grep -E '^(Thread|#)' || echo "gdb told nothing"
  fi
  for thread in "/proc/$1/task"/*; do
    printf '%s %s wchan %s\n' "${thread##*/}" "$(cat "$thread/comm" 2>/dev/null)" "$(cat "$thread/wchan" 2>/dev/null)"
    cat "$thread/stack" 2>/dev/null || true
  done
}

# Of all ranks on this machine, side by side: many would take long one after the other.
write_stacks() {  # FILE
  local id readers=()
  for id in $({ grep -lzx -e "LARGO_GPU_CHECK_MARK=$out" /proc/[0-9]*/environ || true; } 2>/dev/null | cut -d / -f 3); do
    [[ $(readlink "/proc/$id/exe" 2>/dev/null) = */largo ]] || continue
    stacks_of "$id" >"$1.$id" 2>&1 &
    readers+=("$!")
  done
  [[ ${#readers[@]} = 0 ]] || wait "${readers[@]}" || true
  cat "$1".* >"$1" 2>/dev/null || echo "no rank was running" >"$1"
  rm -f "$1".*
}

# watched LOG COMMAND ...: within what is left of the rung; stacks are written before an end by force. Exit code in $code.
watched() {
  local log=$1 limit=$((rung_end - SECONDS)) id end
  shift
  ((limit > 5)) || { code=124; echo "no time left for: $*" >"$log"; return; }
  end=$((SECONDS + (limit > 50 ? limit - 25 : limit / 2)))  # stacks take time too
  printf '$ %s\n' "$*" >"$log"
  timeout -k 5 "$limit" "$@" >>"$log" 2>&1 </dev/null &
  id=$!
  while kill -0 "$id" 2>/dev/null && ((SECONDS < end)); do sleep 0.2; done
  code=0
  if kill -0 "$id" 2>/dev/null; then
    write_stacks "${log%.log}.stacks"
    kill "$id" 2>/dev/null || true
    wait "$id" 2>/dev/null || true
    code=124
  else
    wait "$id" || code=$?
  fi
}

ladder_config() {
  cat <<'YAML'
run: {seed: 1, threads: 1}
data: {kind: synthetic, shape: [3, 16, 16], limit: 1024, augment: {pad_crop: 2, flip: true}}
model: {name: resnet8, norm: {kind: sync_batch}}
batch: {per_rank: 16}
lr: {base: 0.02, base_batch: 32, scaling: none}
train: {length: 50steps, last_batch: wrap, log_every: 50steps, eval_every: 100000steps}
checkpoint: {every: 100000steps}
comm: {bucket_bytes: 65536, first_bucket_bytes: 16384, init_timeout: 120s, timeout: 60s, overlap: "on"}
YAML
}

# launch RANKS LOG ARGUMENT ...: largo on so many ranks, of the hosts where $launcher says so.
launch() {
  watched "$out/logs/$2.log" "$mpirun" "${launcher[@]}" -n "$1" --bind-to none "$largo" "${@:3}"
}

# train_on RANKS NAME ARGUMENT ...: sets $code. NCCL's logs stay in the run directory.
train_on() {
  launch "$1" "$2" train "$out/ladder.yaml" "run.device=$device" "run.name=$2" "run.output=$out/runs" "${@:3}"
  rm -rf "$out/runs/$2/checkpoints" "$out/runs/$2/weights.safetensors"
}

sums_on() { launch "$1" "$2" allreduce "run.device=$device" --logs "$out/runs/$2" --json "$out/allreduce_$2.json" "${sums[@]}"; }

# The parts of a rung, each a name and what runs it; the first that fails ends the ladder.
one_gpu() {
  part train_1 train_on 1 train_1
  part profile_1 train_on 1 profile_1 train.precision=bfloat16 run.profile=12-14
}
two_gpus() {
  part sums_2 sums_on 2 sums_2
  part train_2 train_on 2 train_2
  part staged_2 train_on 2 staged_2 comm.backend=mpi
}
# Normalization's small sums between those of many small buckets, ten thousand times.
stress() {
  part stress_2 train_on 2 stress_2 "train.length=${stress_steps}steps" "train.log_every=$((stress_steps / 10))steps"
}
all_gpus() {
  part "sums_$gpus" sums_on "$gpus" "sums_$gpus"
  part "train_$gpus" train_on "$gpus" "train_$gpus" "train.length=${long_steps}steps"
}
two_nodes() {
  part sums_nodes sums_on "$ranks_of_nodes" sums_nodes
  part train_nodes train_on "$ranks_of_nodes" train_nodes "train.length=${long_steps}steps"
}

part() {  # NAME COMMAND ...
  local begin=$SECONDS
  [[ $red = no ]] || return 0
  "${@:2}"
  if [[ $code = 0 ]]; then result part "$1" passed $((SECONDS - begin)) ""
  elif [[ $code = 124 || $code = 137 ]]; then
    red=yes
    result part "$1" FAILED $((SECONDS - begin)) "no end in time; where it stood: logs/$1.stacks"
  else
    red=yes
    result part "$1" FAILED $((SECONDS - begin)) "exit code $code, logs/$1.log: $(grep -m 1 -i error "$out/logs/$1.log" | cut -c 1-200 | tr '\t' ' ')"
  fi
}

rung() {  # NAME WHY_NOT COMMAND
  local begin=$SECONDS
  if [[ $red = yes ]]; then
    result rung "$1" "not run" 0 "a rung below failed"
  elif [[ -n $2 ]]; then
    result rung "$1" "not run" 0 "$2"
  else
    rung_end=$((SECONDS + rung_seconds))
    "$3"
    if [[ $red = yes ]]; then result rung "$1" FAILED $((SECONDS - begin)) ""
    else result rung "$1" passed $((SECONDS - begin)) ""; fi
  fi
}

needs() { ((gpus >= $1)) || echo "needs $1 GPUs"; }

run_ladder() {
  local archive why_no_nodes="needs a second machine (--hosts FILE, or a Slurm job of several nodes)" name
  red=no launcher=() sums=() stress_steps=10000 long_steps=500 ranks_of_nodes=0
  [[ $device = cuda ]] || { sums=(--max 65536 --iterations 3) stress_steps=100 long_steps=50; }
  ladder_config >"$out/ladder.yaml"
  export LARGO_GPU_CHECK_MARK=$out
  result rung machine passed 0 "machine.txt"
  rung "1 GPU" "$(needs 1)" one_gpu
  rung "2 GPUs" "$(needs 2)" two_gpus
  rung "2 GPUs, $stress_steps steps" "$(needs 2)" stress
  if ((gpus > 2)); then rung "all $gpus GPUs" "" all_gpus
  else result rung "all GPUs" "not run" 0 "needs more than 2 GPUs"; fi
  if [[ -n $hosts ]]; then
    ranks_of_nodes=$(awk 'NF && !/^#/ { n = 1; for (i = 2; i <= NF; i++) if ($i ~ /^slots=/) { sub("slots=", "", $i); n = $i } total += n } END { print total + 0 }' "$hosts")
    launcher=(--hostfile "$(realpath "$hosts")") why_no_nodes=
    ((ranks_of_nodes > 1)) || die 65 "--hosts $hosts names $ranks_of_nodes slots; it needs 2 or more (lines: NAME slots=N)"
  elif ((${SLURM_JOB_NUM_NODES:-1} > 1)); then
    ranks_of_nodes=$((SLURM_JOB_NUM_NODES * gpus)) why_no_nodes=
  fi
  # Our own folders for shared memory are on this machine only.
  for name in $(compgen -e | grep -E '^OMPI_MCA_(.*_backing_directory|orte_tmpdir_base)$'); do unset "$name"; done
  for name in $(compgen -e | grep -E '^(NCCL_|CUDA_|OPAL_|OMPI_|PMIX_MCA_|PMIX_INSTALL|LARGO_|PATH$|LD_LIBRARY_PATH$)'); do
    launcher+=(-x "$name")
  done
  rung "2 nodes" "$why_no_nodes" two_nodes

  python3 "$helpers/report.py" write "$out" "$device" 0
  rm -rf "$out/pack"
  archive=$out.tar.gz
  tar czf "$archive" -C "$(dirname "$out")" "$(basename "$out")"
  say "for a bug report: $archive"
  [[ $red = no ]] || exit 1
}
