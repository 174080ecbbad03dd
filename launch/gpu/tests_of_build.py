"""The GPU tests of a build folder, as lines "name, time limit in seconds, command", tab-separated.

    tests_of_build.py BUILD [--pack]

They are ctest's with the label gpu; a build without CUDA has none, and then they are the scripts in tests/gpu. With --pack
the commands name the places in a pack: @ROOT@, @MPIRUN@.
"""
import json
import os
import subprocess
import sys

build = os.path.realpath(sys.argv[1])
pack = "--pack" in sys.argv[2:]
source = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
cache = dict(line.rstrip("\n").split("=", 1) for line in open(os.path.join(build, "CMakeCache.txt"))
             if "=" in line and not line.startswith(("#", "//")))
mpirun = cache["MPIEXEC_EXECUTABLE:FILEPATH"]


def placed(word):
    if not pack:
        return word
    if word == mpirun:
        return "@MPIRUN@"
    if word.startswith(build + "/"):
        return "@ROOT@/bin/" + os.path.basename(word)
    return word.replace(source + "/", "@ROOT@/")


listing = json.loads(subprocess.run(["ctest", "--test-dir", build, "-L", "gpu", "--show-only=json-v1"], check=True,
                                    capture_output=True, text=True).stdout)
tests = []
for test in listing["tests"]:
    properties = {entry["name"]: entry["value"] for entry in test.get("properties", [])}
    tests.append((test["name"], int(properties.get("TIMEOUT", 300)), test["command"]))
if not tests:
    folder = os.path.join(source, "tests", "gpu")
    for script in sorted(os.listdir(folder)):
        if script.endswith(".sh") and script != "common.sh":
            tests.append(("gpu_" + script[:-3], 300, [os.path.join(folder, script), os.path.join(build, "largo"), mpirun]))
for name, limit, command in tests:
    print(name, limit, *map(placed, command), sep="\t")
