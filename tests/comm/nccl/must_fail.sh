#!/usr/bin/env bash
# A test of tests: the command must fail, crash, or not come to an end within 15 seconds.
#   must_fail.sh COMMAND ...
output=$(timeout -k 1 15 "$@" 2>&1)
code=$?
printf '%s\n' "$output" | grep -E 'Failure|WARNING: ThreadSanitizer|ERROR: AddressSanitizer|violation|wrong' | head -n 5
if [[ $code = 0 ]]; then
  printf '%s\n' "$output" | tail -n 20
  echo "NOT CAUGHT: $*"
  exit 1
fi
echo "caught: exit code $code"
