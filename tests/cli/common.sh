# What the tests of the executable share. Sourced: SCRIPT LARGO MPIRUN. Sets $largo, $mpirun, and
# $work, an empty folder that is the working directory and goes at the end.
# shellcheck shell=bash disable=SC2034  # variables of those who source this
set -euo pipefail
largo=$1 mpirun=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
work=$(mktemp -d /tmp/largo_test.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1

fail() {
  printf 'FAILED: %s\n' "$*"
  [[ ! -e out ]] || sed 's/^/  out| /' out
  [[ ! -e err ]] || sed 's/^/  err| /' err
  exit 1
}

# run RANKS ARGUMENT ...: largo, alone for one rank, else under mpirun. Leaves its output in the files
# out and err, and its exit code in $code. A minute without an end ($run_seconds) is a failure.
run() {
  local ranks=$1
  shift
  local launcher=()
  [[ $ranks = 1 ]] || launcher=("$mpirun" -n "$ranks" --bind-to none)
  ran="largo $* on $ranks ranks"
  code=0
  timeout -k 5 "${run_seconds:-60}" "${launcher[@]}" "$largo" "$@" >out 2>err </dev/null || code=$?
  [[ $code != 124 && $code != 137 ]] || fail "$ran hangs"
}

expect_code() { [[ $code = "$1" ]] || fail "$ran: exit code $code instead of $1"; }
expect_err() { grep -q -i -F -e "$1" err || fail "$ran does not say '$1'"; }

# A run file of a small model on made-up data; a run of 20 steps takes well under a second.
small_config() {  # FILE [train.length]
  cat >"$1" <<YAML
run: {seed: 1, device: cpu, threads: 1}
data: {kind: synthetic, shape: [1, 8, 8], classes: 4, limit: 256}
model: {name: mlp}
batch: {global: 32}
lr: {base: 0.05, base_batch: 32}
train: {length: ${2:-20steps}, log_every: 5steps, eval_every: 10steps}
checkpoint: {every: 10steps}
YAML
}

# Images of 8 x 8 and labels of 10 classes in MNIST's format, 64 to train on and 32 to score.
small_idx_data() {  # FOLDER
  mkdir "$1"
  python3 - "$1" <<'PY'
import os, struct, sys
def write(name, dims, data):
    with open(os.path.join(sys.argv[1], name), "wb") as file:
        file.write(struct.pack(f">BBBB{len(dims)}I", 0, 0, 8, len(dims), *dims) + bytes(data))
for part, count in (("train", 64), ("t10k", 32)):
    write(f"{part}-images-idx3-ubyte", [count, 8, 8], [i * 7 % 256 for i in range(count * 64)])
    write(f"{part}-labels-idx1-ubyte", [count], [i % 10 for i in range(count)])
PY
}

# Images of 8 x 8 in colour as folders of two classes, 120 to train on and 10 to score of each. Blue is
# 0 everywhere but in ODD ("train/a/0041.png"), where it is 255.
small_images() {  # FOLDER [ODD]
  python3 - "$@" <<'PY'
import os, random, struct, sys, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
def png(rows):
    rows = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
random.seed(1)
for part, count in (("train", 120), ("val", 10)):
    for label, name in enumerate("ab"):
        os.makedirs(f"{sys.argv[1]}/{part}/{name}")
        for number in range(count):
            path = f"{part}/{name}/{number:04}.png"
            blue = 255 if path in sys.argv[2:] else 0
            rows = [[(random.randrange(99) + 99 * label, random.randrange(99), blue) for _ in range(8)] for _ in range(8)]
            open(f"{sys.argv[1]}/{path}", "wb").write(png(rows))
PY
}

# field FILE KEY: a value of a JSON file; "final.top1" goes into objects.
field() {
  python3 -c 'import functools, json, sys
print(functools.reduce(lambda at, key: at[key], sys.argv[2].split("."), json.load(open(sys.argv[1]))))' "$1" "$2"
}

# await SECONDS WHAT COMMAND ...: until the command succeeds.
await() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" 2>/dev/null; do
    [[ $SECONDS -lt $end ]] || fail "waited in vain for $what"
    sleep 0.05
  done
}

# marked VARIABLE=VALUE: ids of the processes that have this in their environment and were started with
# LARGO_TEST_MARK=$work in it: no other test's.
marked() {
  { grep -lzx -e "LARGO_TEST_MARK=$work" /proc/[0-9]*/environ | xargs -r grep -lzx -e "$1" | cut -d/ -f3; } 2>/dev/null || true
}
