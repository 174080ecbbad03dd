#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets into tests/*/fuzz_corpus, one folder each.

    make_seeds.py [TARGET ...]      needs GNU tar for the target tar, Pillow for image

Byte for byte the same at every run of one Pillow version, but for a process number that GNU tar
writes into gnu_tar_pax.
"""
import gzip
import io
import pathlib
import random
import struct
import subprocess
import sys
import tarfile
import tempfile
import zlib

TESTS = pathlib.Path(__file__).resolve().parents[2]


def idx_seeds():
    def idx(dims, elements):
        return bytes([0, 0, 8, len(dims)]) + b"".join(struct.pack(">I", d) for d in dims) + elements

    images, labels = idx([2, 3, 4], bytes(range(24))), idx([5], bytes(range(5)))
    packed = gzip.compress(images, mtime=0)
    return {
        "images": images,
        "labels": labels,
        "images_gz": packed,
        "labels_gz": gzip.compress(labels, mtime=0),
        "two_members": gzip.compress(images[:9], mtime=0) + gzip.compress(images[9:], mtime=0),
        "short": images[:-3],
        "long": images + b"xy",
        "huge": idx([2**32 - 1, 2**32 - 1, 2**32 - 1], b""),
        "cut_gz": packed[:-6],
    }


def tar(members, format=tarfile.GNU_FORMAT, pax=None):
    """members: (name, bytes) or a TarInfo that carries no data."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, pax_headers=pax or {}) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return with_end(out.getvalue())


def with_end(data):
    """With two end blocks in place of a record of 10240 bytes."""
    data = data.rstrip(b"\0")
    return data + b"\0" * (-len(data) % 512 + 1024)


def gnu_tar(*options):
    with tempfile.TemporaryDirectory() as folder:
        samples = pathlib.Path(folder, "gnu")
        samples.mkdir()
        long_name = "n" * 120
        for name, data in {"1.jpg": b"J", "1.cls": b"5", long_name + ".png": b"P", long_name + ".cls": b"6"}.items():
            (samples / name).write_bytes(data)
        with open(samples / "holes.txt", "wb") as holes:
            holes.truncate(100000)
        command = ["tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=644", *options]
        return with_end(subprocess.run([*command, "-C", folder, "-cf", "-", "gnu"], check=True, stdout=subprocess.PIPE).stdout)


def link(name, target, type):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type, target
    return info


def tar_seeds():
    pair = [("a/001.jpg", b"\xff\xd8\xff"), ("a/001.cls", b"7\n")]
    second = [("a/002.png", b"\x89PNG"), ("a/002.json", b'{"label": 3, "text": "x"}'), ("a/002.txt", b"")]
    folder = tarfile.TarInfo("a")
    folder.type = tarfile.DIRTYPE
    long_name = "d/" * 70 + "003.jpeg"
    big = tarfile.TarInfo("big.jpg")
    big.size = 2**33  # written as base 256 in the GNU format, as a pax record in the other
    sparse = tarfile.TarInfo("s.jpg")
    sparse.type = tarfile.GNUTYPE_SPARSE
    v7 = bytearray(tar([pair[0]]))
    v7[257:265] = bytes(8)
    v7[148:156] = b"%06o\0 " % (sum(v7[:148]) + 8 * 32 + sum(v7[156:512]))
    return {
        "two_samples": tar([folder, *pair, *second]),
        "ustar": tar([("p" * 90 + "/" + "n" * 90 + ".jpg", b"j"), *pair], tarfile.USTAR_FORMAT),
        "gnu_long": tar([(long_name, b"j"), (long_name[:-4] + "cls", b"1")]),
        "pax_long": tar([(long_name, b"j"), (long_name[:-4] + "cls", b"1")], tarfile.PAX_FORMAT),
        "pax_global": tar(pair, tarfile.PAX_FORMAT, {"comment": "c"}),
        "v7": bytes(v7),
        "links": tar([*pair, link("b.jpg", "a/001.jpg", tarfile.SYMTYPE), link("c.jpg", "a/001.jpg", tarfile.LNKTYPE)]),
        "dotdot": tar([("../x.jpg", b"j"), ("../x.cls", b"1")]),
        "big_gnu": tar([*pair, big]),
        "big_pax": tar([*pair, big], tarfile.PAX_FORMAT),
        "sparse": tar([sparse, *pair]),
        "cut": tar(pair)[:1500],
        "no_end": tar(pair)[:-1024],
        "gnu_tar": gnu_tar("--format=gnu", "--sparse"),
        "gnu_tar_pax": gnu_tar("--format=pax", "--sparse", "--pax-option=delete=atime,delete=ctime,exthdr.name=x"),
        "empty": bytes(1024),
        "gzip": gzip.compress(tar(pair), mtime=0),
    }


def cifar_seeds():
    def pixels(seed):
        return random.Random(seed).randbytes(3072)

    return {
        "ten": bytes([3]) + pixels(1),
        "hundred": bytes([1, 42]) + pixels(2),
        "bad_label": bytes([10]) + pixels(3),
        "short": bytes([3]) + pixels(4)[:-1],
        "two": bytes([9]) + pixels(5) + bytes([0]) + pixels(6),
        "empty": b"",
    }


def png(width, height, bits, kind, rows, extra=b"", interlace=0):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows, 9)) +
            chunk(b"IEND", b""))


def image_seeds():
    from PIL import Image

    def picture(mode, width, height):
        channels = len(Image.new(mode, (1, 1)).getbands())
        values = bytes((x * 7 + y * 13 + c * 50) % 256 for y in range(height) for x in range(width) for c in range(channels))
        return Image.frombytes(mode, (width, height), values)

    def jpeg(mode, width, height, **options):
        out = io.BytesIO()
        picture(mode, width, height).save(out, "JPEG", **{"quality": 50, **options})
        return out.getvalue()

    def rows(width, height, bytes_per_row):
        return b"".join(b"\0" + bytes((y + x) % 256 for x in range(bytes_per_row)) for y in range(height))

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    palette = chunk(b"PLTE", bytes([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]))
    colour = jpeg("RGB", 17, 9)
    return {
        "colour.jpg": colour,
        "grey.jpg": jpeg("L", 16, 16),
        "cmyk.jpg": jpeg("CMYK", 9, 8),
        "progressive.jpg": jpeg("RGB", 24, 16, progressive=True),
        "restart.jpg": jpeg("RGB", 40, 24, restart_marker_blocks=1),
        "samples_444.jpg": jpeg("RGB", 16, 12, subsampling=0),
        "cut.jpg": colour[:len(colour) - 40],
        "colour.png": png(5, 4, 8, 2, rows(5, 4, 15)),
        "grey.png": png(6, 3, 8, 0, rows(6, 3, 6)),
        "grey_alpha.png": png(4, 3, 8, 4, rows(4, 3, 8)),
        "alpha.png": png(4, 3, 8, 6, rows(4, 3, 16)),
        "deep.png": png(4, 3, 16, 2, rows(4, 3, 24)),
        "bits.png": png(9, 3, 1, 0, rows(9, 3, 2)),
        "palette.png": png(8, 2, 2, 3, rows(8, 2, 2), palette + chunk(b"tRNS", b"\0\x80")),
        "interlaced.png": png(3, 3, 8, 0, b"\0a\0b\0cd\0e\0f\0ghi", interlace=1),
        "huge.png": png(2**30, 2**30, 8, 2, b""),
    }


def index_seeds():
    def number(value):
        return struct.pack("<Q", value)

    def text(value):
        return number(len(value)) + value

    def tar_index(shape, shards, samples):
        return (b"largo tar index 1\n" + b"".join(map(number, shape)) + number(1) + number(len(shards)) +
                b"".join(text(name) + number(size) + number(end) for name, size, end in shards) + number(len(samples)) +
                b"".join(struct.pack("<4I", *sample) for sample in samples))

    def folder_files(folders, files):
        return (number(len(folders)) + b"".join(text(path) + number(label) + number(5) for path, label in folders) +
                number(len(files)) + b"".join(number(folder) + text(name) for folder, name in files))

    def folder_index(roots, *parts):
        return (b"largo folder index 1\n" + number(2) + text(b"cat") + text(b"dog") + b"".join(map(number, [3, 4, 5])) +
                text(roots[0]) + text(roots[1]) + number(1) + text(b"notes.txt") + number(len(parts)) + b"".join(parts))

    train = folder_files([(b"cat", 0), (b"dog/small", 1)], [(0, b"1.jpg"), (1, b"2.png"), (0, b"3.jpg")])
    return {
        "tar": tar_index([3, 0, 0], [(b"a.tar", 10240, 1), (b"b.tar", 1024, 1), (b"c.tar", 4096, 2)],
                         [(0, 1, 100, 7), (2, 5, 9, 0)]),
        "tar_empty": tar_index([1, 28, 28], [], []),
        "tar_outside": tar_index([1, 28, 28], [(b"a.tar", 1024, 1)], [(0, 1, 513, 0)]),
        "folder": folder_index((b"", b""), train),
        "folder_val": folder_index((b"train", b"val"), train, folder_files([(b"dog", 1)], [(0, b"x.jpeg")])),
        "folder_outside": folder_index((b"", b""), folder_files([(b"../cat", 0)], [(0, b"1.jpg")])),
    }


def safetensors_seeds():
    def file(header, data):
        return struct.pack("<Q", len(header)) + header + data

    two = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}'
    return {
        "two": file(two, bytes(range(16))),
        "metadata": file(b'{"__metadata__":{"step":"3"}}   ', b""),
        "short": file(two, bytes(15)),
        "no_header": struct.pack("<Q", 2**62),
    }


TARGETS = {
    "data": {"idx": idx_seeds, "tar": tar_seeds, "cifar": cifar_seeds, "image": image_seeds, "index": index_seeds},
    "base": {"safetensors": safetensors_seeds},
}

for part, targets in TARGETS.items():
    for target, seeds in targets.items():
        if sys.argv[1:] and target not in sys.argv[1:]:
            continue
        folder = TESTS / part / "fuzz_corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, data in seeds().items():
            (folder / name).write_bytes(data)
