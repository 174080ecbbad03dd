#!/usr/bin/env bash
# Every C++ source is formatted as .clang-format says. One version: others break lines elsewhere.
#   format_check.sh ROOT
set -euo pipefail
cd "$1"

formatter=clang-format-14
if ! command -v "$formatter" >/dev/null; then
  echo "SKIPPED: $formatter is not installed (launch/setup --tests installs it)"
  exit 77
fi
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  # New files count before they are added, too.
  mapfile -d '' -t files < <(git ls-files -z --cached --others --exclude-standard -- '*.h' '*.cpp' '*.cu')
else
  mapfile -d '' -t files < <(find trainer comm tests -name '*.h' -print0 -o -name '*.cpp' -print0 -o -name '*.cu' -print0)
fi
present=()
for file in "${files[@]}"; do [[ ! -f $file ]] || present+=("$file"); done
[[ ${#present[@]} -gt 0 ]] || { echo "found no source under $1"; exit 1; }
"$formatter" --dry-run -Werror "${present[@]}"
echo "${#present[@]} files are formatted"
