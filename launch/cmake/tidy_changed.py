#!/usr/bin/env python3
"""clang-tidy over the C++ sources that the last commit and the working tree changed.

tidy_changed.py ROOT     exit code 0: clean, 77: skipped (and why is printed), 1: findings

Precompiled headers are g++'s and mean nothing to clang: their flags are taken out of the compile
commands of the release build. What sees LibTorch takes half a minute a file, so at most MOST_TORCH
of those are looked at; a line says how many were left out.
"""
import concurrent.futures
import json
import os
import shlex
import shutil
import subprocess
import sys

TIDY = "clang-tidy-14"
MOST_PLAIN = 40
MOST_TORCH = 4


def git(root, *arguments):
    return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True)


def skip(why):
    print(f"SKIPPED: clang-tidy: {why}")
    sys.exit(77)


def changed_files(root):
    against = git(root, "diff", "--name-only", "--diff-filter=d", "HEAD~1")
    if against.returncode != 0:
        skip("there is no parent commit to compare with")
    untracked = git(root, "ls-files", "--others", "--exclude-standard")
    names = against.stdout.split("\n") + untracked.stdout.split("\n")
    return {os.path.join(root, name) for name in names if name.endswith(".cpp")}


def without_pch(command):
    """The arguments for clang, and whether the source sees LibTorch."""
    words = iter(shlex.split(command))
    kept, torch = [], False
    for word in words:
        if word == "-include" or word == "-o":
            torch |= "cmake_pch" in next(words)
        elif word not in ("-Winvalid-pch", "-fpch-preprocess") and not word.endswith("ccache"):
            kept.append(word)
        torch |= "torch" in word
    # A launcher ("cmake -E env A=b ccache g++ ...") goes: the compiler is what comes after it.
    while kept and not os.path.basename(kept[0]).startswith(("g++", "c++", "clang++")):
        kept.pop(0)
    return kept, torch


def main():
    root = os.path.realpath(sys.argv[1])
    if not shutil.which(TIDY):
        skip(f"{TIDY} is not installed (launch/setup --tests installs it)")
    database = os.path.join(root, "build/release/compile_commands.json")
    if not os.path.exists(database):
        skip("the release build is not there")
    changed = changed_files(root)
    entries = {}
    plain, torch = [], []
    with open(database) as file:
        for entry in json.load(file):
            path = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
            if path not in changed or path in entries:
                continue
            arguments, sees_torch = without_pch(entry["command"])
            entries[path] = {"directory": entry["directory"], "file": path, "arguments": arguments}
            (torch if sees_torch else plain).append(path)
    chosen = sorted(plain)[:MOST_PLAIN] + sorted(torch)[:MOST_TORCH]
    if not chosen:
        print("clang-tidy: no source changed")
        return 0
    folder = os.path.join(root, "build/release/tidy")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "compile_commands.json"), "w") as file:
        json.dump([entries[path] for path in chosen], file)

    def check(path):
        return path, subprocess.run([TIDY, "--quiet", "-p", folder, path], capture_output=True, text=True)

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, result in pool.map(check, chosen):
            if result.returncode != 0:
                failed += 1
                print(f"clang-tidy: {os.path.relpath(path, root)}\n{result.stdout}{result.stderr}")
    left_out = len(entries) - len(chosen)
    print(f"clang-tidy: {len(chosen)} changed files, {failed} with findings"
          + (f", {left_out} not looked at" if left_out else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
