# What all modes of launch/gpu_check begin with. Sourced; $root, $out, $minutes and $build are set.
# shellcheck shell=bash disable=SC2154
device=${LARGO_GPU_CHECK_DEVICE:-cuda}
started=$((SECONDS - ${LARGO_GPU_CHECK_SPENT:-0}))

say() { printf 'launch/gpu_check: %s\n' "$*" >&2; }
die() {  # EXIT_CODE MESSAGE
  say "${@:2}"
  exit "$1"
}

# Of the budget; the report itself takes a few of them.
seconds_left() { echo $((minutes * 60 - 10 - (SECONDS - started))); }

# limited SECONDS LOG COMMAND ...: its exit code in $code; 124 or 137: it did not end in time.
limited() {
  code=0
  timeout -k 10 "$1" "${@:3}" >"$2" 2>&1 </dev/null || code=$?
}

# Sets $gpus. There must be one, or the dry run.
need_gpu() {
  gpus=$(timeout 60 nvidia-smi -L 2>/dev/null | grep -c '^GPU ' || true)
  if [[ $device != cuda ]]; then
    [[ $device = cpu ]] || die 2 "LARGO_GPU_CHECK_DEVICE=$device; legal: cuda, cpu"
    gpus=2
    say "dry run on the CPU: no evidence about GPUs"
  elif [[ $gpus = 0 ]]; then
    die 69 "no GPU here (nvidia-smi -L lists none): nothing was checked"
  elif [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
    [[ -n $CUDA_VISIBLE_DEVICES ]] || die 69 "no GPU is visible (CUDA_VISIBLE_DEVICES is empty): nothing was checked"
    gpus=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | wc -l)
  fi
}

open_report() {
  [[ -n $out ]] || out=$PWD/gpu_check.$(hostname).$(date +%Y%m%d-%H%M%S)
  mkdir -p "$out/logs"
  out=$(cd "$out" && pwd -P)
  [[ ! -e $out/results.tsv ]] || die 2 "$out holds a report already"
  : >"$out/results.tsv"
  : >"$out/bench.jsonl"
  # Ranks that are killed leave their shared memory behind: it lives in folders that go when we do.
  memory=$(mktemp -d /dev/shm/largo.XXXXXX)
  session=$(mktemp -d /tmp/largo.XXXXXX)
  trap 'rm -rf "$memory" "$session"' EXIT
  export OMPI_MCA_btl_vader_backing_directory=$memory OMPI_MCA_btl_sm_backing_directory=$memory
  export OMPI_MCA_osc_sm_backing_directory=$memory OMPI_MCA_osc_rdma_backing_directory=$memory
  export OMPI_MCA_orte_tmpdir_base=$session
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 GTEST_COLOR=no
  # Reading another process's memory is often forbidden in containers, and MPI carries little here.
  export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
  say "report: $out"
}

# Sets $torch (the folder with lib/), and $has_python_torch.
find_torch() {
  command -v python3 >/dev/null || die 69 "python3 is missing; it writes the report"
  local of_python
  of_python=$(python3 -c '
import importlib.util
found = importlib.util.find_spec("torch")
print(list(found.submodule_search_locations)[0] if found else "")')
  has_python_torch=no
  [[ -z $of_python ]] || has_python_torch=yes
  torch=${TORCH_ROOT:-$of_python}
  if [[ -n ${LARGO_BUILD:-} ]]; then  # has one already
    torch=$(sed -n 's/^TORCH_ROOT:[A-Z]*=//p' "$LARGO_BUILD/CMakeCache.txt") || die 66 "LARGO_BUILD=$LARGO_BUILD is no build folder"
  fi
  [[ -e $torch/lib/libtorch_cpu.so ]] ||
    die 69 "no LibTorch: python3 has no torch, and TORCH_ROOT (${TORCH_ROOT:-not set}) holds no lib/libtorch_cpu.so"
  [[ $device = cpu || -e $torch/lib/libtorch_cuda.so ]] || die 69 "the LibTorch in $torch was built without CUDA"
}

# "2.11.0 13.0": versions of LibTorch and its CUDA, from the file that says so.
torch_version() {
  python3 - "$1/version.py" <<'PY'
import sys
values = {}
exec(open(sys.argv[1]).read(), values)
print(values["__version__"].split("+")[0], values.get("cuda"))
PY
}

# Sets $largo, $mpirun, $root (with the tests that belong to them) and the file $out/tests.tsv:
# name, time limit in seconds, command; tab-separated.
find_largo() {
  local pack
  if [[ -n ${LARGO_BUILD:-} ]]; then
    use_build "$(cd "$LARGO_BUILD" && pwd -P)"
  elif [[ $build = no ]] && pack=$(find_pack) && use_pack "$pack"; then
    :
  else
    build_here
  fi
  limited 180 "$out/logs/version.log" "$largo" version --all
  [[ $code = 0 ]] || {
    ldd "$largo" >>"$out/logs/version.log" 2>&1 || true
    grep -E 'not found' "$out/logs/version.log" >&2 || cat "$out/logs/version.log" >&2
    die 69 "$largo does not start here (logs/version.log)"
  }
}

find_pack() {
  if [[ -n ${LARGO_PACK:-} ]]; then echo "$LARGO_PACK"
  elif [[ -e $root/manifest.txt ]]; then echo "$root"  # this is one
  else compgen -G "$root/largo-pack*.tar.gz" || compgen -G "$root/../largo-pack*.tar.gz" || compgen -G "largo-pack*.tar.gz"; fi |
    { grep . || return 1; } | head -n 1
}

use_pack() {
  local pack=$1 made_for here
  if [[ -f $pack ]]; then
    say "unpacking $pack"
    mkdir -p "$out/pack"
    tar xzf "$pack" -C "$out/pack" --strip-components 1
    pack=$out/pack
  fi
  made_for=$(sed -n 's/^torch: //p' "$pack/manifest.txt")
  here=$(torch_version "$torch")
  if [[ $made_for != "$here" ]]; then
    say "the pack is for LibTorch and CUDA $made_for, and here are $here: building instead"
    return 1
  fi
  root=$(cd "$pack" && pwd -P)
  plain_library_path=${LD_LIBRARY_PATH:-}
  # shellcheck disable=SC1091
  LARGO_TORCH_ROOT=$torch source "$root/env.sh"
  largo=$root/bin/largo mpirun=$root/bin/mpirun
  sed -e "s|@ROOT@|$root|g" -e "s|@MPIRUN@|$mpirun|g" "$root/tests.tsv" >"$out/tests.tsv"
}

use_build() {
  largo=$1/largo
  [[ -x $largo ]] || die 66 "$largo is not there"
  mpirun=$(sed -n 's/^MPIEXEC_EXECUTABLE:FILEPATH=//p' "$1/CMakeCache.txt")
  plain_library_path=${LD_LIBRARY_PATH:-}
  python3 "$helpers/tests_of_build.py" "$1" >"$out/tests.tsv"
}

build_here() {
  local tool folder=$root/build/gpu_check
  [[ -e $root/CMakeLists.txt ]] || die 69 "a pack holds no sources to build from: make one for this LibTorch, or start the checkout's launch/gpu_check"
  for tool in cmake ninja g++ mpirun; do
    command -v "$tool" >/dev/null ||
      die 69 "there is no pack that fits, and to build Largo here $tool is missing; make a pack elsewhere: launch/gpu_check --pack FILE.tar.gz"
  done
  say "building in $folder"
  limited 300 "$out/logs/configure.log" cmake -S "$root" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release -DLARGO_CUDA=ON "-DTORCH_ROOT=$torch"
  [[ $code = 0 ]] || die 69 "Largo cannot be built here: $(grep -A2 -m1 'CMake Error' "$out/logs/configure.log" | tr -s ' \n' ' ') (logs/configure.log)"
  limited 1500 "$out/logs/build.log" cmake --build "$folder" --target largo nn_gpu_test data_gpu_test nccl_communicator_gpu_test
  [[ $code = 0 ]] || die 70 "the build failed (logs/build.log)"
  started=$SECONDS  # the minutes are for what comes now
  use_build "$folder"
}

# What a reader of the numbers, or of a bug report, asks first.
machine_report() {
  local command
  {
    [[ $device = cuda ]] || echo "dry run on the CPU: no evidence about GPUs"
    for command in "date -u" "uname -a" "head -n 2 /etc/os-release" "lscpu" "free -g" "df -h /dev/shm /tmp" "nvidia-smi" \
      "nvidia-smi -L" "nvidia-smi topo -m" "nvidia-smi -q" "cat /proc/driver/nvidia/version" "ip -brief address" "ls /sys/class/infiniband" \
      "$largo version --all" "ldd $largo" "$mpirun --version" "cat $torch/version.py" "ulimit -a"; do
      printf '\n$ %s\n' "$command"
      # shellcheck disable=SC2086  # words
      if [[ $command = ulimit* ]]; then ulimit -a; else timeout 30 $command 2>&1 || echo "(exit code $?)"; fi
    done
    printf '\n$ environment\n'
    env | grep -E '^(NCCL|CUDA|OMPI|PMIX|OMP|SLURM|TORCH|LARGO|UCX|MKL|OPAL)[A-Z_]*=|^(PATH|LD_LIBRARY_PATH)=' | sort || true
  } >"$out/machine.txt" </dev/null
}

# result KIND NAME RESULT SECONDS NOTE: a line of the report.
result() {
  printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$out/results.tsv"
  printf '%-6s %-38s %-14s %4s s  %s\n' "$@" >&2
}
