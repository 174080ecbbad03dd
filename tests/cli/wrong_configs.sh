#!/usr/bin/env bash
# Every file of wrong_configs/ is refused with exit code 78 and with what its "# expect:" lines say,
# no problem named twice.   wrong_configs.sh LARGO MPIRUN RANKS [EVERY]
# With EVERY: each EVERY-th file only, and those that say "# ranks:" or "# stage:".
# "# override:" lines go onto the command line; with "# ranks: N" it is wrong on N ranks only.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
ranks=$3 every=${4:-1}

header() { sed -n "s/^# $1: //p" "$2"; }

checked=0 failed=0 number=0
check() {
  local file=$1
  mapfile -t overrides < <(header override "$file")
  mapfile -t expected < <(header expect "$file")
  [[ ${#expected[@]} -gt 0 ]] || fail "$file expects nothing"
  run "$ranks" train "$file" "${overrides[@]}" run.output="$work/runs"
  expect_code 78
  local text twice
  for text in "${expected[@]}"; do
    grep -q -F -e "$text" err || fail "$ran does not say '$text'"
  done
  twice=$(grep -F -e "$(basename "$file")" -e 'override ' err | sort | uniq -d)
  [[ -z $twice ]] || fail "$ran says a thing twice: $twice"
  [[ ! -e runs ]] || fail "$ran made a run directory"
}

for file in "$here"/wrong_configs/*.yaml; do
  only=$(header ranks "$file")
  [[ -z $only || $only = "$ranks" ]] || continue
  number=$((number + 1))
  ((number % every == 0)) || [[ -n $only$(header stage "$file") ]] || continue
  checked=$((checked + 1))
  (check "$file") || failed=$((failed + 1))  # a subshell: all files are checked, whatever one says
done
echo "$checked wrong files, $failed not refused as they should be, $ranks ranks"
[[ $checked -gt 30 && $failed = 0 ]]
