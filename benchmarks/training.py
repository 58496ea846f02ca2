"""Training time per step, against a bare PyTorch loop with the same EMA and clipping.

    python benchmarks/training.py                        # the digits U-Net
    python benchmarks/training.py --device cuda --large  # 32x32x3, 30 million parameters, bf16, torch.compile

difftool and the bare loop alternate, in blocks A B A B .... Times are medians over the blocks; the
ratio is the median of the ratios within a pair. Both read the same pictures from memory and draw
their own noise.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import torch

from difftool.data.base import Arrays, Dataset
from difftool.data.digits import dataset
from difftool.nn import UNet
from difftool.schedules import Flow
from difftool.training import Objective
from difftool.training.trainer import Hyperparameters, Trainer


def bare(
    net: torch.nn.Module, data: Dataset, numbers: Hyperparameters, device: torch.device
) -> Iterator[None]:
    """Hand-written training loop: flow matching with dropped labels."""
    ema = deepcopy(net).requires_grad_(False)
    run = torch.compile(net) if numbers.compile else net
    optimizer = torch.optim.AdamW(net.parameters(), lr=numbers.learning_rate, weight_decay=0.0)
    whole = data.all()
    x, labels = whole.x.to(device), None if whole.label is None else whole.label.to(device)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=numbers.precision == "bf16")
    step = 0
    while True:
        index = torch.randint(len(x), (numbers.batch_size,), device=device)
        clean = x[index]
        cond: dict[str, Any] = {}
        if labels is not None:
            dropped = torch.rand(len(index), device=device) < numbers.drop
            cond = {"label": labels[index].masked_fill(dropped, -1)}
        t = torch.rand(len(index), device=device)
        noise = torch.randn_like(clean)
        s = t[:, None, None, None]
        with autocast:
            answer = run((1 - s) * clean + s * noise, t, **cond)
        loss = (answer.float() - (noise - clean)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), numbers.clip)
        for group in optimizer.param_groups:
            group["lr"] = numbers.learning_rate * numbers.rate(step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_([*ema.parameters()], [*net.parameters()], 1 - numbers.ema)
        step += 1
        yield


def block(take: Callable[[], object], steps: int, device: torch.device) -> float:
    """Seconds that the given number of steps takes."""
    start = time.perf_counter()
    for _ in range(steps):
        take()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--large", action="store_true", help="network and pictures of CIFAR-10's size"
    )
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10, help="steps per block")
    args = parser.parse_args()
    device = torch.device(args.device)
    data: Dataset = dataset()
    net = UNet(1, (24, 48), depth=1, attention=(), classes=10, dropout=0.1)
    if args.large:
        g = torch.Generator().manual_seed(0)
        data = Arrays(
            torch.randint(256, (4096, 3, 32, 32), generator=g, dtype=torch.uint8),
            torch.arange(4096) % 10,
        )
        net = UNet(3, (96, 192, 320), depth=2, attention=(1, 2), classes=10)
    numbers = Hyperparameters(
        steps=10**6,
        batch_size=args.batch_size,
        precision="bf16" if args.large else "no",
        compile=args.large,
    )
    other = deepcopy(net).to(device)
    trainer = iter(Trainer(net, data, Objective(Flow(), "flow"), numbers, device=args.device))
    loop = bare(other, data, numbers, device)
    for take in (trainer, loop):
        block(lambda take=take: next(take), 5, device)  # type: ignore[misc]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    pairs = [
        (
            block(lambda: next(trainer), args.steps, device),
            block(lambda: next(loop), args.steps, device),
        )
        for _ in range(args.blocks)
    ]
    ours, theirs = (
        statistics.median(column) / args.steps for column in zip(*pairs, strict=True)
    )
    ratio = statistics.median(a / b for a, b in pairs)
    count = sum(parameter.numel() for parameter in net.parameters())
    print(
        f"{count / 1e6:.2f} million parameters, batch {args.batch_size}, {args.device}, torch {torch.__version__}"
    )
    print(f"difftool   {1e3 * ours:8.2f} ms per step  {args.batch_size / ours:9.0f} samples/s")
    print(
        f"bare loop  {1e3 * theirs:8.2f} ms per step  {args.batch_size / theirs:9.0f} samples/s"
    )
    print(f"ratio      {ratio:8.3f}")
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
        print(f"peak memory {peak:.2f} GiB (of both loops), {torch.cuda.get_device_name()}")


if __name__ == "__main__":
    main()
