#!/usr/bin/env bash
# Every header compiles on its own: it includes what it uses.
#   headers_check.sh ROOT WORK_DIR COMPILER [compiler argument ...]
# Objects stay in WORK_DIR, so that only changed headers and those that include them compile again.
set -euo pipefail
root=$1 work=$2
shift 2
compile=("$@")
command -v ccache >/dev/null && compile=(ccache "${compile[@]}")

mkdir -p "$work"
check() {  # header: fails with the compiler's words
  local source=$work/${1//\//__}.cpp
  printf '#include "%s"\n' "$1" >"$source.new"
  cmp -s "$source.new" "$source" || cp "$source.new" "$source"
  rm -f "$source.new"
  "${compile[@]}" -I"$root" -c "$source" -o "${source%.cpp}.o" || { echo "FAILED: $1 does not compile alone"; return 1; }
}

cd "$root"
mapfile -d '' -t headers < <(find comm trainer -name '*.h' ! -name '*_inl.h' -print0 | sort -z)
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
