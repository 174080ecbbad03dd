#!/usr/bin/env bash
# Every header compiles on its own: it includes what it uses.
#   headers_check.sh ROOT BUILD_DIR [more compiler arguments ...]
# Compiled like the source of the precompiled header, in BUILD_DIR/compile_commands.json: <torch/torch.h>
# takes long, and headers that get at it anyway, themselves or through others, start from it. ccache
# answers for what has not changed.
set -euo pipefail
root=$1 build=$2
shift 2
work=$build/headers_check
command=$(python3 - "$build/compile_commands.json" <<'PY'
import json, shlex, sys
command, = [entry["command"] for entry in json.load(open(sys.argv[1])) if entry["file"].endswith("/torch_pch.cpp")]
words = iter(shlex.split(command))
for word in words:
    if word in ("-include", "-o", "-c"):
        next(words)
    else:
        print(word)
PY
)
mapfile -t compile <<<"$command"
compile+=("$@" -Werror)
precompiled=$build/CMakeFiles/largo_torch_pch.dir/cmake_pch.hxx
export CCACHE_SLOPPINESS=pch_defines,time_macros
[[ ${compile[*]} == *ccache* ]] || ! command -v ccache >/dev/null || compile=(ccache "${compile[@]}")
mkdir -p "$work"
cd "$root"

# The headers that include <torch/torch.h>, and those that include these, and so on.
mapfile -t torch < <(grep -rl --include='*.h' '^#include <torch/torch.h>' comm trainer)
for ((known = 0; known < ${#torch[@]};)); do
  known=${#torch[@]}
  mapfile -t torch < <({
    printf '%s\n' "${torch[@]}"
    grep -rlF --include='*.h' -f <(printf '#include "%s"\n' "${torch[@]}") comm trainer
  } | sort -u)
done

check() {  # header: fails with the compiler's words
  local source=$work/${1//\//__}.cpp start=()
  printf '#include "%s"\n' "$1" >"$source"
  [[ " ${torch[*]} " != *" $1 "* ]] || start=(-include "$precompiled")
  "${compile[@]}" "${start[@]}" -c "$source" -o "${source%.cpp}.o" || {
    echo "FAILED: $1 does not compile alone"
    return 1
  }
}

left_out=()
if ! printf '#include <nccl.h>\n' | "${compile[@]}" -E -x c++ - >/dev/null 2>&1; then
  echo "a build without CUDA: comm/nccl is left out"
  left_out=(! -path 'comm/nccl/*')
fi
mapfile -d '' -t headers < <(find comm trainer -name '*.h' ! -name '*_inl.h' "${left_out[@]}" -print0 | sort -z)
[[ ${#headers[@]} -gt 0 ]] || { echo "found no header under $root"; exit 1; }
jobs=$(nproc)
failed=0 running=0
for header in "${headers[@]}"; do
  if [[ $running -ge $jobs ]]; then
    wait -n || failed=$((failed + 1))
    running=$((running - 1))
  fi
  check "$header" &
  running=$((running + 1))
done
for ((; running > 0; running--)); do wait -n || failed=$((failed + 1)); done
echo "${#headers[@]} headers, $failed do not compile alone"
[[ $failed = 0 ]]
