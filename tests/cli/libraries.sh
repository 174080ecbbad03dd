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
