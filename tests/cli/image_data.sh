#!/usr/bin/env bash
# The same images as a folder, as tar shards and staged to another folder give the same training, to the bit;
# bad images stop the run by name or are replaced; data-bench reads all of it.   image_data.sh LARGO MPIRUN
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# 1200 + 40 PNG files of four classes as folders, and as shards with the samples in the folder's order,
# which goes round the classes.
python3 - <<'PY'
import io, os, random, struct, tarfile, zlib
def png(pixels, side):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(pixels[y * side * 3 : (y + 1) * side * 3]) for y in range(side))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
random.seed(1)
side, classes = 8, ["ant", "bee", "cat", "dog"]
for part, per_class, shards in (("train", 300, 3), ("val", 10, 1)):
    files = []
    for number in range(per_class):
        for label, name in enumerate(classes):
            pixels = [min(255, 60 * label + random.randrange(60)) for _ in range(side * side * 3)]
            path = f"folder/{part}/{name}/{number:04}.png"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "wb").write(png(pixels, side))
            files.append((path, label))
    for shard in range(shards):
        with tarfile.open(f"{part}-{shard:03}.tar", "w") as tar:
            for at in range(len(files) * shard // shards, len(files) * (shard + 1) // shards):
                path, label = files[at]
                for ending, data in (("png", open(path, "rb").read()), ("cls", str(label).encode())):
                    info = tarfile.TarInfo(f"{at:06}.{ending}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
PY
cat >folder.yaml <<YAML
run: {seed: 1, device: cpu, threads: 1}
data: {kind: image_folder, path: $work/folder, augment: {pad_crop: 1, flip: true}}
model: {name: mlp}
batch: {global: 48}
lr: {base: 0.05, base_batch: 48}
train: {length: 40steps, log_every: 10steps, eval_every: 40steps}
YAML
sed "s|kind: image_folder, path: $work/folder|kind: tar_shards, path: '$work/train-{000..002}.tar', val_path: $work/val-000.tar|" \
  folder.yaml >shards.yaml

run 2 train folder.yaml
expect_code 0
run 2 train shards.yaml
expect_code 0
run 2 train shards.yaml run.name=staged data.stage="$work/local"
expect_code 0
[[ -f $work/local$work/train-002.tar ]] || fail "$ran copied no shard"
run 2 train folder.yaml run.name=staged_folder data.stage="$work/local" data.workers=0
expect_code 0
for name in shards staged staged_folder; do
  cmp runs/folder/weights.safetensors "runs/$name/weights.safetensors" || fail "$name trained otherwise"
done
run 1 train folder.yaml run.name=alone data.augment.resized_crop=6 data.mixup=0.2
expect_code 0

# A validation part that is held out.
run 2 train folder.yaml run.name=held_out data.path="$work/folder/train" data.val_fraction=0.25
expect_code 0
[[ $(field runs/held_out/summary.json final.top1) != 0.0 ]] || fail "$ran: nothing was learnt"
grep -q '"samples":300,' <(grep '"event":"eval"' runs/held_out/metrics.jsonl) || fail "$ran: not a quarter was held out"
run 2 train folder.yaml run.name=no_validation data.path="$work/folder/train"
expect_code 78
expect_err "data.val_fraction"
expect_err "no validation part"

# One bad image of 1200 is within 0.1 % of an epoch, two are not.
for kind in folder shards; do
  if [[ $kind = folder ]]; then
    truncate -s 60 folder/train/bee/0007.png
    name=bee/0007.png
  else
    printf 'garbage!' | dd of=train-001.tar bs=1 seek=$((512 + 40)) conv=notrunc status=none
    name=train-001.tar
  fi
  for ranks in 1 2; do
    run "$ranks" train "$kind.yaml" run.name="bad_${kind}_$ranks"
    expect_code 65
    expect_err "$name"
    run "$ranks" train "$kind.yaml" run.name="skipped_${kind}_$ranks" data.on_bad_sample=skip
    expect_code 0
    expect_err "$name"
    [[ $(field "runs/skipped_${kind}_$ranks/summary.json" skipped_samples) -ge 1 ]] || fail "$ran counted nothing"
  done
done
truncate -s 60 folder/train/cat/0011.png
for ranks in 1 2; do
  run "$ranks" train folder.yaml run.name="too_many_$ranks" data.on_bad_sample=skip
  expect_code 65
  expect_err "0.1 %"
done

run 1 data-bench shards.yaml --seconds 0.2 data.on_bad_sample=skip
expect_code 0
python3 - out <<'PY' || fail "$ran printed something else"
import json, sys
rates = json.load(open(sys.argv[1]))
sys.exit(0 if rates["images_per_s"] > 0 and 0 < rates["decode_share"] <= 1 else 1)
PY
