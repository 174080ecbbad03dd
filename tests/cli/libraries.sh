#!/usr/bin/env bash
# The libraries come from where they were at build time: a stray LD_LIBRARY_PATH does not swap them.
#   libraries.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

run 1 version
expect_code 0
grep -q '[0-9]\.[0-9]' out || fail "$ran names no version"

run 1 version --all
expect_code 0
for library in libtorch_cpu.so libc10.so libmpi.so; do
  grep -F "$library" out | grep -q ' */' || fail "$ran does not say where $library comes from"
done
cp out before

mkdir stray
# What those of Open MPI load themselves is its own run path's business.
for library in libtorch_cpu.so libc10.so libgomp.so.1 libmpi.so.40; do
  echo "not a library" >"stray/$library"
done
LD_LIBRARY_PATH=$work/stray run 1 version --all
expect_code 0
! grep -q -F "$work/stray" <(grep '\.so' out) || fail "a library of LD_LIBRARY_PATH was loaded"
diff <(grep '\.so' before) <(grep '\.so' out) || fail "LD_LIBRARY_PATH changed the libraries"

# A build without CUDA maps no library for GPUs but the two small ones that libtorch_cpu asks for itself; one with CUDA
# maps those that it was built with, beside LibTorch, and not those of a toolkit.
gpu_library='/lib(torch_cuda|c10_cuda|cud|cu[a-z]*|nv[a-z]*|nccl|caffe2_nvrtc)[^/]*\.so'
grep -E "$gpu_library" before >mapped || true
if grep -q '^GPUs  *CUDA' before; then
  for library in libtorch_cuda.so libc10_cuda.so libnccl.so libcudart.so; do
    grep -q "/$library" mapped || fail "this build has CUDA, but $library is not loaded"
  done
  torch=$(dirname "$(dirname "$(grep -o '/.*/libtorch_cuda.so' before)")")
  site=$(dirname "$torch")
  ! grep -v -F "$site/" mapped || fail "libraries for GPUs come from elsewhere than $site"
else
  ! grep -v -E '/lib(cudart|cupti)\.so' mapped || fail "a build without CUDA maps libraries for GPUs"
fi
