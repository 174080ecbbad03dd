"""How long torch.distributed.all_reduce takes over gloo, measured as launch/benchmarks/plain_allreduce.cpp does.

    peer_allreduce.py BYTES:SAMPLES ... --meet FILE        with RANK and WORLD_SIZE; rank 0 prints {bytes: seconds}
"""
import argparse
import json
import os
import statistics
import time

import torch
import torch.distributed as dist

WARM_UPS = 3


def measure(size: int, samples: int) -> float:
    values = torch.ones(size // 4)
    dist.all_reduce(values)
    if not torch.equal(values, torch.full_like(values, dist.get_world_size())):
        raise SystemExit(f"gloo's sum of {size} bytes is wrong")
    values.zero_()
    seconds = []
    for sample in range(-WARM_UPS, samples):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(values)
        took = time.perf_counter() - start
        if sample >= 0:
            seconds.append(took)
    slowest = torch.tensor(seconds, dtype=torch.float64)
    dist.all_reduce(slowest, dist.ReduceOp.MAX)
    return statistics.median(slowest.tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="+")
    parser.add_argument("--meet", required=True)
    options = parser.parse_args()
    rank = int(os.environ["RANK"])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{options.meet}", rank=rank, world_size=int(os.environ["WORLD_SIZE"]))
    found = {size: measure(int(size), int(samples)) for size, samples in (text.split(":") for text in options.sizes)}
    if rank == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
