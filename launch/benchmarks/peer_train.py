"""Trains with PyTorch's DistributedDataParallel over gloo, in the settings that are fastest on CPUs.

Started once per rank by launch/bench, with RANK and WORLD_SIZE. Rank 0 prints one line of JSON.
"""
import argparse
import json
import os
import statistics
import time

import torch
import torch.distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from peer_models import make_model


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("batch", "channels", "side", "classes", "steps", "warmup", "batches", "groups"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--meet", required=True, help="a file that is not there, by which the ranks find each other")
    parser.add_argument("--model", required=True)
    parser.add_argument("--norm", choices=("batch", "group"), required=True)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), required=True)
    return parser.parse_args()


def make_batches(options: argparse.Namespace, rank: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Like Largo's synthetic data: a class is a pattern of 4 x 4 cells under noise. Ready to train on, in memory."""
    patterns = torch.rand(options.classes, options.channels, 4, 4, generator=torch.Generator().manual_seed(1))
    noise = torch.Generator().manual_seed(2 + rank)
    cells = torch.arange(options.side) * 4 // options.side
    batches = []
    for _ in range(options.batches):
        labels = torch.randint(options.classes, (options.batch,), generator=noise)
        images = 80 + 96 * patterns[labels][:, :, cells][:, :, :, cells]
        images += 160 * torch.rand(images.shape, generator=noise) - 80
        # copy_: with one channel, contiguous() would keep strides that pooling takes its slow way with.
        ready = torch.empty(images.shape, memory_format=torch.channels_last).copy_((images / 255 - 0.5) / 0.2)
        batches.append((ready, labels))
    return batches


def main() -> None:
    options = parse()
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", init_method=f"file://{options.meet}", rank=rank, world_size=world)
    torch.manual_seed(1)
    plain = make_model(options.model, options.channels, options.side, options.classes, options.norm, options.groups)
    plain = plain.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(plain.parameters(), lr=options.lr, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    # Without broadcast_buffers the ranks' running statistics part; it is what costs the least.
    model = DistributedDataParallel(plain, gradient_as_bucket_view=True, broadcast_buffers=False)
    batches = make_batches(options, rank)

    seconds, losses, first_step_at = [], [], 0.0
    for step in range(options.steps):
        images, labels = batches[step % len(batches)]
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16"):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
        losses.append(loss.detach())
        if step == 0:
            first_step_at = time.time()
    if rank == 0:
        timed = seconds[options.warmup:] or seconds
        first, last = losses[:options.warmup], losses[-options.warmup // 2:]
        print(json.dumps({
            "images_per_s": world * options.batch / statistics.median(timed),
            "first_step_at": first_step_at,
            "loss": torch.stack(first).mean().item(),
            "last_loss": torch.stack(last).mean().item(),
            "parameters": sum(parameter.numel() for parameter in plain.parameters()),
        }))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
