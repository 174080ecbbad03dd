#!/usr/bin/env bash
# The build with CUDA leans on no toolkit that happens to be installed: with every toolkit out of sight its GPU sources
# compile, the executable links, and it starts.
#   toolkit_hidden.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
build=$(dirname "$largo")

if ! unshare --mount true 2>/dev/null; then
  echo "SKIPPED: no mount namespace to be had (needs root)"
  exit 77
fi
# Inside the namespace: an empty folder over each toolkit.
cat >hidden.sh <<'SH'
set -euo pipefail
for toolkit in /usr/local/cuda* /opt/cuda* /usr/lib/cuda; do
  [[ -d $toolkit && ! -L $toolkit ]] || continue
  mount -t tmpfs none "$toolkit"
  echo "hidden: $toolkit"
done
unset CUDA_HOME CUDA_PATH
exec "$@"
SH

cat >compile.py <<'PY'
import json, os, shlex, subprocess, sys
build, root = sys.argv[1:]
done = 0
for entry in json.load(open(os.path.join(build, "compile_commands.json"))):
    source = os.path.relpath(os.path.join(entry["directory"], entry["file"]), root)
    if not (source.startswith("comm/nccl/") and "largo_comm.dir" in entry["command"]):
        continue
    words = [w for w in shlex.split(entry["command"])]
    while not os.path.basename(words[0]).startswith(("c++", "g++", "clang++")):
        words.pop(0)  # the compiler cache, which would answer without looking at the headers
    at = words.index("-o")
    words[at + 1] = os.devnull
    subprocess.run(words + ["-fsyntax-only"], cwd=entry["directory"], check=True)
    done += 1
print("compiled:", done)
sys.exit(0 if done >= 5 else 1)
PY

unshare --mount bash hidden.sh python3 compile.py "$build" "$root" >out 2>err || fail "GPU sources do not compile without a toolkit"
grep -q 'compiled:' out || fail "nothing was compiled"

ninja -C "$build" -t commands largo | tail -n 1 | sed "s|-o largo |-o $work/largo_again |" >link
unshare --mount bash hidden.sh bash -c "cd '$build' && bash '$work/link'" >out 2>err || fail "largo does not link without a toolkit"
largo=$work/largo_again
unshare --mount bash hidden.sh "$largo" version --all >out 2>err || fail "largo does not start without a toolkit"
grep -q '^GPUs  *CUDA' out || fail "this is no build with CUDA"
