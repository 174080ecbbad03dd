#!/usr/bin/env bash
# launch/gpu_check --pack of this build: small enough, and enough on a machine without Open MPI and the other libraries
# that it brings.   gpu_pack.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

LARGO_BUILD=$(dirname "$largo") "$root/launch/gpu_check" --pack "$work/largo-pack.tar.gz" >out 2>err || fail "--pack: exit code $?"
[[ $(stat -c %s largo-pack.tar.gz) -lt $((60 * 1024 * 1024)) ]] || fail "the pack has $(stat -c %s largo-pack.tar.gz) bytes"
tar tzf largo-pack.tar.gz >listing
! grep -E '/lib(torch|c10|cu|nccl|nv)[^/]*\.so' listing || fail "the pack holds parts of LibTorch or CUDA"

# A pack for another LibTorch is not used.
mkdir -p other torch/lib
tar xzf largo-pack.tar.gz -C other
sed -i 's/^torch: .*/torch: 2.0.0 11.8/' other/largo-pack/manifest.txt
printf '__version__ = "2.11.0"\ncuda = "13.0"\n' >torch/version.py
touch torch/lib/libtorch_cpu.so
code=0
LARGO_GPU_CHECK_DEVICE=cpu TORCH_ROOT=$work/torch other/largo-pack/launch/gpu_check --out report >out 2>err || code=$?
[[ $code = 69 ]] || fail "a pack for another LibTorch: exit code $code instead of 69"
grep -q "the pack is for LibTorch and CUDA 2.0.0 11.8, and here are 2.11.0 13.0" err || fail "a pack for another LibTorch is not named"

code=0
torch=$(sed -n 's/^TORCH_ROOT:[A-Z]*=//p' "$(dirname "$largo")/CMakeCache.txt")
TORCH_ROOT=$torch "$root/launch/gpu_check" --pack-test "$work/largo-pack.tar.gz" >out 2>err || code=$?
[[ $code != 77 ]] || { tail -n 1 err; exit 77; }
[[ $code = 0 ]] || fail "--pack-test: exit code $code"
