"""Time per step of the sampling loop with a trivial network, beside hand-written in-place loops of the same updates.

    python benchmarks/overhead.py                    # the table, about a minute
    python benchmarks/overhead.py --device cuda      # with one host/device synchronisation at the end of each run

The network is `0.1 x`, float32, one thread. Each pair (ours, by hand) runs in turn, A B A B ..., on the same noise
source; the figure is the median over the repeats, the ratio the median of the ratios within a pair. The loop by hand
has its coefficients and times in lists beforehand, as ours has its plan. Set-up (trace, compile) and the cost of one
draw of each noise source are listed apart. The process starts itself again with an allocator that keeps the memory it
has: otherwise the page faults of the network's own outputs, given back and fetched anew by either loop as luck has it,
shift a ratio by up to 0.2 either way.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from difftool.models import NetworkModel
from difftool.noise import BrownianPath, Generator, Independent, Noise
from difftool.plan import Runner
from difftool.samplers import DDIM, DDPM, Sampler, eps_of
from difftool.sampling import Job, prepare
from difftool.schedules import VPLinear

SHAPES = [(1, 4, 64, 64), (64, 3, 32, 32)]
STEPS = 50


@dataclass(frozen=True)
class TwoStep(Sampler):
    """Adams-Bashforth of order 2 on eps in the noise level (uniform coefficients): a multistep update."""

    def __call__(self, model, x, path, noise):
        old = None
        for now, nxt in pairwise(path):
            eps = eps_of(x, model(x, now), now)
            slope = eps if old is None else 1.5 * eps - 0.5 * old
            x = nxt.alpha * (x / now.alpha + (nxt.level - now.level) * slope)
            old = eps
        return x


@dataclass(frozen=True)
class TwoStepX0(Sampler):
    """The same kind of update on x0: two-step exponential Adams."""

    def __call__(self, model, x, path, noise):
        old = None
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            best = x0 if old is None else 1.5 * x0 - 0.5 * old
            r = nxt.sigma / now.sigma
            x = r * x + (nxt.alpha - r * now.alpha) * best
            old = x0
        return x


def net(x: Tensor, t: Tensor) -> Tensor:
    return x * 0.1


def by_hand(job: Job, kind: str) -> Callable[[Tensor], Tensor]:
    """The loop a careful person would write for this update, with the same numbers."""
    points = job.path.points
    times = torch.tensor([p.t for p in points], device=job.device)[:, None].expand(-1, job.total).contiguous().unbind(0)
    ratio = [b.alpha / a.alpha for a, b in pairwise(points)]
    if kind == "ddim":
        on_eps = [b.sigma - r * a.sigma for r, (a, b) in zip(ratio, pairwise(points), strict=True)]

        def loop(x):
            x = x.clone()
            for i in range(STEPS):
                eps = net(x, times[i])
                x.mul_(ratio[i]).add_(eps, alpha=on_eps[i])
            return x

    elif kind == "two-step, eps":
        h = [b.alpha * (b.level - a.level) for a, b in pairwise(points)]

        def loop(x):
            x = x.clone()
            old = net(x, times[0])
            x.mul_(ratio[0]).add_(old, alpha=h[0])
            for i in range(1, STEPS):
                eps = net(x, times[i])
                x.mul_(ratio[i]).add_(eps, alpha=1.5 * h[i]).add_(old, alpha=-0.5 * h[i])
                old = eps
            return x

    elif kind == "two-step, x0":
        scale = [b.sigma / a.sigma for a, b in pairwise(points)]
        gain = [b.alpha - r * a.alpha for r, (a, b) in zip(scale, pairwise(points), strict=True)]

        def loop(x):
            x = x.clone()
            old = net(x, times[0])
            x.mul_(scale[0]).add_(old, alpha=gain[0])
            for i in range(1, STEPS):
                x0 = net(x, times[i])
                x.mul_(scale[i]).add_(x0, alpha=1.5 * gain[i]).add_(old, alpha=-0.5 * gain[i])
                old = x0
            return x

    else:  # ddpm
        r2 = [(b.level / a.level) ** 2 for a, b in pairwise(points)]
        on_eps = [-b.alpha * (1 - q) * a.sigma / a.alpha for q, (a, b) in zip(r2, pairwise(points), strict=True)]
        on_z = [b.sigma * (1 - q) ** 0.5 for q, b in zip(r2, points[1:], strict=True)]
        keys = job.plan.noises

        def loop(x):
            x = x.clone()
            z = torch.empty_like(x)
            source = job.start(0, job.total)[1]
            for i in range(STEPS):
                eps = net(x, times[i])
                x.mul_(ratio[i]).add_(eps, alpha=on_eps[i])
                if i < STEPS - 1:
                    x.add_(source.draw(keys[i], z), alpha=on_z[i])
            return x

    return loop


def measure(job: Job, kind: str, repeats: int) -> tuple[float, float, float]:
    """(ours, by hand) in microseconds per step, and the ratio."""
    bound, _ = job.start(0, job.total)
    runner, hand = Runner(job.plan, bound), by_hand(job, kind)
    x = torch.randn(job.total, *job.shape, device=job.device)

    def ours(x):
        return runner(x, job.start(0, job.total)[1] if job.plan.noises else None)

    torch.testing.assert_close(ours(x), hand(x), rtol=1e-3, atol=1e-3)  # the same update, or the ratio means nothing
    hand = torch.no_grad()(hand)
    times = [(clock(ours, x), clock(hand, x)) for _ in range(repeats)]
    a, b = (statistics.median(column) / STEPS * 1e6 for column in zip(*times, strict=True))
    return a, b, statistics.median(p / q for p, q in times)


def clock(function: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    function(x)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def draws(noise: Noise, shape: tuple[int, ...], device: str, repeats: int) -> float:
    """Microseconds of one draw, the mean over those of a run (some come in blocks), into a buffer that is there."""
    job = prepare(NetworkModel(net, VPLinear()), DDPM(), shape=shape, steps=STEPS, noise=noise, device=device)
    z = torch.empty(shape, device=device)

    def run(_: Tensor) -> Tensor:
        source = job.start(0, shape[0])[1]
        for key in job.plan.noises:
            source.draw(key, z)
        return z

    return statistics.median(clock(run, z) for _ in range(repeats)) / len(job.plan.noises) * 1e6


def keep_memory() -> None:
    """Starts this process again with glibc told to keep what is freed, unless that was done."""
    settings = {"MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"}
    if not settings.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **settings})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=110)
    kinds: list[tuple[str, Sampler, str, Noise | None]] = [
        ("ddim", DDIM(), "eps", None),
        ("two-step, eps", TwoStep(), "eps", None),
        ("two-step, x0", TwoStepX0(), "x0", None),
        ("ddpm, generator noise", DDPM(), "eps", Generator()),
        ("ddpm, independent noise", DDPM(), "eps", Independent()),
        ("ddpm, path noise", DDPM(), "eps", BrownianPath()),
    ]
    table = Table("sampler", "shape", "ours, us/step", "by hand, us/step", "ratio", "set-up, ms")
    for name, sampler, predicts, noise in kinds:
        for shape in SHAPES:
            begin = time.perf_counter()
            job = prepare(
                NetworkModel(net, VPLinear(), predicts),
                sampler,
                shape=shape,
                steps=STEPS,
                noise=noise,
                device=args.device,
            )
            Runner(job.plan, job.start(0, job.total)[0])
            setup = time.perf_counter() - begin
            repeats = max(5, args.repeats // (10 if "path" in name else 1))
            ours, hand, ratio = measure(job, name if noise is None else "ddpm", repeats)
            table.add_row(name, str(shape), f"{ours:.1f}", f"{hand:.1f}", f"{ratio:.3f}", f"{setup * 1e3:.1f}")
    console.print(table)
    costs = Table("one draw of", *(f"{shape}, us" for shape in SHAPES))
    for noise in (Generator(), Independent(), BrownianPath()):
        costs.add_row(type(noise).__name__, *(f"{draws(noise, s, args.device, 9):.0f}" for s in SHAPES))
    z = [torch.empty(s, device=args.device) for s in SHAPES]
    costs.add_row(
        "torch.randn", *(f"{statistics.median(clock(torch.randn_like, a) for _ in range(99)) * 1e6:.0f}" for a in z)
    )
    console.print(costs)
    console.print(f"torch {torch.__version__}, {args.device}, one thread, {STEPS} steps, {args.repeats} repeats")


if __name__ == "__main__":
    keep_memory()
    main()
