#!/usr/bin/env bash
# launch/gpu_check --pack-test: a pack on a machine without the libraries that it brings. Here they are hidden, in a mount
# namespace of its own, together with all build folders and LibTorch's usual place.
#   pack_test.sh FILE.tar.gz
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
say() { printf 'launch/gpu_check: %s\n' "$*" >&2; }
fail() {
  say "FAILED: $*"
  [[ ! -e out ]] || sed 's/^/  out| /' out >&2
  [[ ! -e err ]] || sed 's/^/  err| /' err >&2
  exit 1
}

if [[ ${2:-} != hidden ]]; then
  [[ -r ${1:-} ]] || { say "--pack-test ${1:-}: there is no such file"; exit 66; }
  if ! unshare --mount true 2>/dev/null; then
    say "SKIPPED: no mount namespace to be had (needs root)"
    exit 77
  fi
  file=$(realpath "$1")
  torch=${TORCH_ROOT:-$("$root/launch/setup" --cuda)}
  work=$(mktemp -d /tmp/largo_pack.XXXXXX)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/site"
  export work file torch
  unshare --mount bash "${BASH_SOURCE[0]}" "$file" hidden
  exit
fi

# From here on, inside the namespace. Another place for LibTorch, and the old one empty.
mount --make-rprivate /
mount --bind "$(cd "$torch/.." && pwd -P)" "$work/site"
mkdir "$work/empty"
hide() {
  local path
  for path in "$@"; do
    path=$(readlink -f "$path") || continue  # a link into what is hidden already
    if [[ -d $path ]]; then mount --bind "$work/empty" "$path"
    elif [[ -e $path ]]; then mount --bind /dev/null "$path"; fi
  done
}
[[ $(cd "$torch/.." && pwd -P) = / ]] || hide "$(cd "$torch/.." && pwd -P)"
hide "$root/build"
shopt -s nullglob
for folder in /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/lib64 /usr/local/lib; do
  hide "$folder"/lib{mpi,open-rte,open-pal,pmix,hwloc,event_core-2.1,event_pthreads-2.1,event-2.1,yaml-cpp,jpeg,png16}.so*
  hide "$folder"/openmpi "$folder"/pmix2
done
hide /usr/share/openmpi /usr/share/pmix* /etc/openmpi /usr/bin/orterun /usr/bin/orted
unset OPAL_PREFIX LD_LIBRARY_PATH TORCH_ROOT LARGO_BUILD

cd "$work"
tar xzf "$file"
if /usr/bin/orterun --version >/dev/null 2>&1; then fail "Open MPI is not hidden"; fi
[[ ! -e $torch/lib/libtorch_cpu.so ]] || fail "LibTorch is not hidden"

export LARGO_TORCH_ROOT=$work/site/torch
# shellcheck disable=SC1091
source largo-pack/env.sh
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
largo=$work/largo-pack/bin/largo

run() {  # COMMAND ...
  code=0
  timeout -k 5 120 "$@" >out 2>err </dev/null || code=$?
}

run "$largo" version --all
[[ $code = 0 ]] || fail "largo version --all: exit code $code: $(ldd "$largo" | grep 'not found')"
ldd "$largo" >libraries
for library in libmpi.so libyaml-cpp.so libjpeg.so libpng16.so; do
  grep -q "$library.* => $work/largo-pack/" libraries || fail "$library does not come from the pack"
done
grep -q "libtorch_cuda.so => $work/site/" libraries || fail "libtorch_cuda.so does not come from the torch here"
cat out

cat >run.yaml <<'YAML'
data: {kind: synthetic, shape: [3, 16, 16], limit: 256}
model: {name: resnet8, norm: {kind: sync_batch}}
batch: {global: 32}
lr: {base: 0.05, base_batch: 32}
train: {length: 5steps, log_every: 1steps}
YAML
run "$work/largo-pack/bin/mpirun" -n 2 --bind-to none "$largo" train run.yaml run.device=cpu
[[ $code = 0 ]] || fail "two ranks on the CPU: exit code $code"
[[ $(python3 -c 'import json; print(json.load(open("runs/run/summary.json"))["world"])') = 2 ]] || fail "the run was not of two ranks"

if compgen -G '/dev/nvidia[0-9]*' >/dev/null; then
  say "passed; this machine has a GPU, so what a machine without says was not tried"
  exit 0
fi
run "$largo" train run.yaml run.device=cuda run.name=gpu
[[ $code = 69 && $(grep -c '^error: ' err) = 1 ]] || fail "largo train run.device=cuda: exit code $code instead of 69 and one sentence"
grep '^error: ' err
for program in nn_gpu_test data_gpu_test; do
  run "$work/largo-pack/bin/$program"
  [[ $code = 0 ]] || fail "$program does not start: exit code $code"
done
TORCH_ROOT=$LARGO_TORCH_ROOT run "$work/largo-pack/launch/gpu_check" --out report
[[ $code = 69 && ! -e report ]] || fail "the pack's launch/gpu_check: exit code $code instead of 69"
# The dry run takes the pack's own executables.
TORCH_ROOT=$LARGO_TORCH_ROOT LARGO_GPU_CHECK_DEVICE=cpu LARGO_GPU_CHECK_TESTS='resume|data_gpu' \
  run "$work/largo-pack/launch/gpu_check" --out report --minutes 3
[[ $code = 0 ]] || fail "the pack's launch/gpu_check, as a dry run: exit code $code"
grep -q "$work/largo-pack/lib/libmpi" report/machine.txt || fail "the dry run took another libmpi"
say "passed: the pack works with the libraries that it brings hidden here"
