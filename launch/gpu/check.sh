# The tests and the benchmarks of launch/gpu_check. Sourced, after steps.sh.
# shellcheck shell=bash disable=SC2154

test_limit=150  # seconds, whatever a test's own limit is: one that hangs must leave time for the others

# Name, time limit, command.
run_test() {
  local name=$1 limit=$2 begin=$SECONDS left verdict log=$out/logs/$1.log note=
  left=$(seconds_left)
  ((limit <= test_limit)) || limit=$test_limit
  if ((left < 15)); then
    result test "$name" "not run" 0 "the time was over"
    return
  fi
  limited $((limit < left ? limit : left)) "$log" "${@:3}"
  case $code in
    0) verdict=passed ;;
    77) verdict=skipped note=$(tail -n 1 "$log") ;;
    124 | 137) verdict=FAILED note="no end after $((SECONDS - begin)) s" ;;
    *) verdict=FAILED note="exit code $code, logs/$name.log" ;;
  esac
  local skips
  skips=$(grep -c '\[  SKIPPED \].*ms)' "$log" || true)
  if [[ $verdict = passed && $skips != 0 ]]; then
    note="$skips of its tests skipped"
    ! grep -q '\[  PASSED  \] 0 tests' "$log" || verdict=skipped
  fi
  # They skip where they see no GPU, and there is one.
  [[ $verdict != skipped || $device != cuda ]] || verdict=FAILED note="saw no GPU: $note"
  result test "$name" "$verdict" $((SECONDS - begin)) "$note"
}

# A run file of a model that only trains: a last small evaluation cannot be left out.
bench_config() {  # MODEL
  local shape='[3, 224, 224]' classes=1000
  [[ $1 = resnet50 ]] || { shape='[3, 32, 32]' classes=10; }
  cat <<YAML
run: {seed: 1$([[ $device = cuda ]] || echo ', threads: 1')}
data: {kind: synthetic, shape: $shape, classes: $classes, workers: 4}
model: {name: $1}
optimizer: {nesterov: true, weight_decay: 5.0e-4}
lr: {base: 0.01, base_batch: 256, scaling: none}
train: {log_every: 10000steps, eval_every: 10000steps}
eval: {batch: 64}
checkpoint: {every: 10000steps}
YAML
}

# One Largo or PyTorch run; a line of bench.jsonl, or a result that says why not. Sets $images_per_s, empty if none.
one_run() {  # largo|torch MODEL BATCH PRECISION STEPS NAME
  local who=$1 model=$2 batch=$3 precision=$4 steps=$5 name=$6 log=$out/logs/$6.log
  local limit
  images_per_s=""
  limit=$(seconds_left)
  ((limit < 90)) || limit=90
  [[ $device = cpu ]] || timeout 20 nvidia-smi --query-gpu=timestamp,index,clocks.sm,clocks.mem,temperature.gpu,power.draw,memory.used \
    --format=csv,noheader >>"$out/logs/clocks.csv" 2>&1 || true
  if [[ $who = largo ]]; then
    bench_config "$model" >"$out/bench/$model.yaml"
    limited "$limit" "$log" "$largo" train "$out/bench/$model.yaml" "run.name=$name" "run.output=$out/bench" "run.device=$device" \
      "batch.global=$batch" "data.limit=$((2 * batch))" "train.precision=$precision" "train.length=$((10 + steps))steps"
    [[ $code != 0 ]] || images_per_s=$(python3 "$helpers/report.py" add "$out" "$who" "$model" "$batch" "$precision" \
      "$out/bench/$name/summary.json")
    rm -rf "$out/bench/$name/checkpoints" "$out/bench/$name/weights.safetensors"
  else
    limited "$limit" "$log" env "LD_LIBRARY_PATH=$plain_library_path" python3 "$helpers/torch_bench.py" --model "$model" --batch "$batch" \
      --precision "$precision" --steps "$steps" --device "$device"
    [[ $code != 0 ]] || images_per_s=$(python3 "$helpers/report.py" add "$out" "$who" "$model" "$batch" "$precision" "$log")
  fi
  why=
  if [[ -z $images_per_s ]]; then
    why="exit code $code, logs/$name.log"
    [[ $code != 124 && $code != 137 ]] || why="no end after $limit s"
    ! grep -q -i 'out of memory' "$log" || why="out of memory"
  fi
}

# Largo, PyTorch, Largo, PyTorch: what warms the machine, or slows it, meets both.
run_pair() {  # MODEL BATCH PRECISION STEPS
  local model=$1 batch=$2 precision=$3 steps=$4 name begin=$SECONDS who round verdict="done" note=
  name=${model}_b${batch}_$precision
  if (($(seconds_left) < 45)); then
    result bench "$name" "not run" 0 "the time was over"
    return
  fi
  for round in 1 2; do
    for who in largo torch; do
      [[ $who = largo || $has_python_torch = yes ]] || { note+=" torch: python3 has none, not compared;"; continue; }
      (($(seconds_left) > 20)) || { note+=" $who: the time was over;"; verdict=part; continue; }
      one_run "$who" "$model" "$batch" "$precision" "$steps" "${name}_${who}_$round"
      if [[ -n $images_per_s ]]; then note+=" $who $images_per_s images/s;"
      else note+=" $who: $why;" verdict=part; fi
    done
    [[ $note != *"out of memory"* ]] || break
  done
  result bench "$name" "$verdict" $((SECONDS - begin)) "${note# }"
}

run_allreduce() {  # RANKS
  local begin=$SECONDS left
  left=$(seconds_left)
  if ((left < 30)); then
    result bench "allreduce_$1" "not run" 0 "the time was over"
    return
  fi
  limited $((left < 120 ? left : 120)) "$out/logs/allreduce_$1.log" "$mpirun" -n "$1" --bind-to none "$largo" allreduce "run.device=$device" \
    --json "$out/allreduce_$1.json" --logs "$out/logs" "${allreduce_sizes[@]}"
  if [[ $code = 0 ]]; then result bench "allreduce_$1" "done" $((SECONDS - begin)) "allreduce_$1.json"
  else result bench "allreduce_$1" part $((SECONDS - begin)) "exit code $code, logs/allreduce_$1.log"; fi
}

run_check() {
  local name limit words ranks
  while IFS=$'\t' read -r name limit words; do
    [[ $name =~ ${LARGO_GPU_CHECK_TESTS:-.} ]] || continue
    IFS=$'\t' read -r -a words <<<"$words"
    # Their temporary files and NCCL's logs of failed runs stay out of the report; logs hold what they say.
    run_test "$name" "$limit" "${words[@]}"
  done <"$out/tests.tsv"
  [[ -s $out/results.tsv ]] || die 69 "no test was run"

  mkdir -p "$out/bench"
  allreduce_sizes=()
  if [[ $device = cuda ]]; then
    run_pair resnet50 128 bfloat16 30
    run_pair resnet20 128 float32 200
    if ((gpus > 1)); then
      for ranks in $(printf '2\n%s\n' "$gpus" | sort -n -u); do run_allreduce "$ranks"; done
    else
      result bench allreduce "not run" 0 "needs 2 GPUs"
    fi
    run_pair resnet50 256 bfloat16 30
    run_pair resnet50 64 bfloat16 30
    run_pair resnet20 1024 float32 100
    run_pair resnet20 1024 bfloat16 100
  else
    allreduce_sizes=(--max 65536 --iterations 3)
    run_pair resnet20 8 float32 2
    run_allreduce 2
  fi
  python3 "$helpers/report.py" write "$out" "$device" "$minutes"
  rm -rf "$out/pack"
  say "$out/report.md"
  ! cut -f 1,3 "$out/results.tsv" | grep -q -E $'^test\t(FAILED|not run)' || exit 1
}
