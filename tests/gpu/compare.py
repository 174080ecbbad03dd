"""Compares two run directories: compare.py losses|weights RUN RUN TOLERANCE [FIRST_STEP]

losses: every logged loss from FIRST_STEP on, relative; weights: every tensor of weights.safetensors, the largest
difference over the largest value. Prints the largest; exit code 1 where it is above TOLERANCE or something is missing.
"""
import array
import json
import math
import struct
import sys


def losses(run, first):
    found = {}
    with open(f"{run}/metrics.jsonl") as lines:
        for line in lines:
            event = json.loads(line)
            if event["event"] == "train" and event["step"] >= first:
                found[event["step"]] = event["loss"]
    return found


def weights(run):
    with open(f"{run}/weights.safetensors", "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = array.array({"F64": "d", "F32": "f", "I64": "q"}[entry["dtype"]])
        values.frombytes(data[begin:end])
        tensors[name] = values
    return tensors


def apart(a, b, scale):
    difference = abs(a - b)
    return difference / max(scale, 1e-300) if math.isfinite(difference) else math.inf


what, one, other, tolerance = sys.argv[1:5]
first = int(sys.argv[5]) if len(sys.argv) > 5 else 1
largest, where = 0.0, "nowhere"
left, right = (losses(one, first), losses(other, first)) if what == "losses" else (weights(one), weights(other))
if not left or left.keys() != right.keys():
    sys.exit(f"{what}: {one} has {len(left)} of them, {other} {len(right)}, or others")
for key in left:
    pairs = [(left[key], right[key])] if what == "losses" else list(zip(left[key], right[key]))
    if what == "weights" and len(left[key]) != len(right[key]):
        sys.exit(f"{key}: {len(left[key])} and {len(right[key])} elements")
    scale = max((abs(a) for a, _ in pairs), default=0.0)
    for a, b in pairs:
        distance = apart(a, b, scale)
        if distance > largest:
            largest, where = distance, key
print(f"{what} of {one} and {other}: largest relative difference {largest:.3g} ({where}), allowed {tolerance}")
sys.exit(0 if largest <= float(tolerance) else 1)
