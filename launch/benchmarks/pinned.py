"""Runs one rank on a core of its own and writes down its peak of resident memory.

    pinned.py FOLDER CORE,CORE,... COMMAND...

The rank is the launcher's (Open MPI's or torchrun's variables); rank N of a node runs on the N-th core and leaves
FOLDER/rank-N.json. The exit code is the command's.
"""
import json
import os
import signal
import subprocess
import sys


def main() -> int:
    folder, cores, command = sys.argv[1], [int(core) for core in sys.argv[2].split(",")], sys.argv[3:]
    rank = int(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ["RANK"])
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    with subprocess.Popen(command) as child:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: child.send_signal(received))
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    with open(os.path.join(folder, f"rank-{rank}.json"), "w", encoding="utf-8") as file:
        json.dump({"peak_rss_bytes": 1024 * usage.ru_maxrss}, file)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main())
