"""Time of the sampling loop with a trivial network, against hand-written loops and other libraries.

    python benchmarks/overhead.py                    # the table, a few minutes; microseconds per network evaluation
    python benchmarks/overhead.py --filter dpmpp
    python benchmarks/overhead.py --device cuda      # with one host/device synchronization at the end of each run

The network is `0.1 x`, float32, one thread. difftool and the hand-written loop of the same update
alternate, A B A B ..., on the same noise source. Times are medians over the repeats; the ratio is
the median of the ratios within a pair. The hand-written loop has its coefficients and times
prepared in lists, as difftool has its plan. Set-up (trace, compile) and the cost of one draw from
each noise source are listed separately. The process restarts itself with an allocator that keeps
freed memory; otherwise page faults for the network's outputs, which hit either loop at random,
shift a ratio by up to 0.2 either way.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

import torch
from hand import Loop, by_hand
from others import azula_loop, diffusers_loop
from rich.console import Console
from rich.table import Table
from torch import Tensor

from difftool.models import NetworkModel
from difftool.names.specs import make
from difftool.noise import BrownianPath, Generator, Independent, Noise
from difftool.plan import Runner
from difftool.samplers import DDPM
from difftool.sampling import Job, prepare
from difftool.schedules import VPLinear

SHAPES = [(1, 4, 64, 64), (64, 3, 32, 32)]
STEPS = 50


FAMILIES: list[tuple[str, str]] = [  # a sampler, and what the network predicts: the currency of its family
    ("ddim", "eps"), ("ddim:eta=1", "eps"), ("ddpm", "eps"), ("em", "eps"), ("reverse-diffusion", "eps"),
    ("euler", "flow"),
    ("euler:variable=level", "eps"), ("heun", "flow"), ("heun:variable=level", "eps"), ("midpoint", "flow"),
    ("heun3", "flow"), ("rk4", "flow"), ("dpm-2", "eps"), ("heunpp2", "eps"), ("exp-heun", "x0"), ("churn", "eps"),
    ("euler-a", "eps"), ("dpm-2-a", "eps"), ("restart", "flow"), ("dpm-solver-2", "eps"), ("dpm-solver-3", "eps"),
    ("dpmpp-2s", "x0"), ("dpmpp-3s", "x0"), ("dpmpp-sde", "x0"), ("seeds-2", "x0"), ("seeds-3", "x0"), ("lms", "eps"),
    ("deis", "eps"), ("flow-ab", "flow"), ("exponential-adams", "x0"), ("dpmpp-2m", "x0"), ("dpmpp-3m", "x0"),
    ("dpmpp-2m-sde", "x0"), ("unip", "x0"), ("unipc", "x0"), ("unipc:order=2", "x0"), ("sa-solver", "x0"),
    ("ipndm", "eps"), ("pndm-plms", "eps"), ("er-sde", "x0"), ("gradient-estimation", "eps"), ("interpolant", "flow"),
    ("lcm", "x0"), ("consistency", "x0"), ("tcd", "x0"), ("reab", "x0"), ("stork", "eps"), ("dpm-solver-v3", "x0"),
    ("pndm-prk", "eps"), ("picard", "flow"), ("annealed-langevin", "eps"),
    ("predictor-corrector:step_size=level", "eps"), ("flow-abm", "flow"), ("flow-sde", "x0"),
]  # fmt: skip


def net(x: Tensor, t: Tensor) -> Tensor:
    return x * 0.1


def measure(job: Job, others: list[Loop], repeats: int) -> tuple[list[float], float]:
    """Microseconds of a run by difftool, by hand and by the others, and the ratio of the first two."""
    bound, _ = job.start(0, job.total)
    runner, hand = Runner(job.plan, bound), by_hand(job, net)
    x = torch.randn(job.total, *job.shape, device=job.device)

    def ours(x):
        return runner(x, job.start(0, job.total)[1] if job.plan.noises else None)

    torch.testing.assert_close(
        ours(x), hand(x), rtol=1e-3, atol=1e-3
    )  # the ratio is meaningful only for the same update
    hand = torch.no_grad()(hand)
    pairs = [(clock(ours, x), clock(hand, x)) for _ in range(repeats)]
    columns = [
        *zip(*pairs, strict=True),
        *([clock(o, x) for _ in range(max(3, repeats // 10))] for o in others),
    ]
    return [statistics.median(c) * 1e6 for c in columns], statistics.median(
        p / q for p, q in pairs
    )


def clock(function: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    function(x)
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def draws(noise: Noise, shape: tuple[int, ...], device: str, repeats: int) -> float:
    """Microseconds of one draw into an existing buffer.

    The mean over the draws of a run, because some sources draw in blocks.
    """
    job = prepare(
        NetworkModel(net, VPLinear()),
        DDPM(),
        shape=shape,
        steps=STEPS,
        noise=noise,
        device=device,
    )
    z = torch.empty(shape, device=device)

    def run(_: Tensor) -> Tensor:
        source = job.start(0, shape[0])[1]
        for key in job.plan.noises:
            source.draw(key, z)
        return z

    return statistics.median(clock(run, z) for _ in range(repeats)) / len(job.plan.noises) * 1e6


def keep_memory() -> None:
    """Restart this process with glibc set to keep freed memory, unless it already is."""
    settings = {"MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"}
    if not settings.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **settings})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--filter", default="", help="only samplers whose spec contains this text"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    table = Table(
        "sampler", "shape", "difftool", "by hand", "ratio", "diffusers", "azula", "set-up, ms"
    )
    for spec, predicts in FAMILIES:
        for shape in SHAPES if args.filter in spec else ():
            table.add_row(spec, str(shape), *row(spec, predicts, shape, Generator(), args))
    for noise in (Independent(), BrownianPath()) if args.filter in "ddpm" else ():
        for shape in SHAPES:
            table.add_row(
                f"ddpm, {type(noise).__name__}",
                str(shape),
                *row("ddpm", "eps", shape, noise, args),
            )
    console.print(table)
    if args.filter:
        return
    costs = Table("one draw of", *(f"{shape}, us" for shape in SHAPES))
    for noise in (Generator(), Independent(), BrownianPath()):
        costs.add_row(
            type(noise).__name__, *(f"{draws(noise, s, args.device, 9):.0f}" for s in SHAPES)
        )
    z = [torch.empty(s, device=args.device) for s in SHAPES]
    costs.add_row(
        "torch.randn",
        *(
            f"{statistics.median(clock(torch.randn_like, a) for _ in range(99)) * 1e6:.0f}"
            for a in z
        ),
    )
    console.print(costs)
    console.print(
        f"torch {torch.__version__}, {args.device}, one thread, {STEPS} steps, {args.repeats} repeats"
    )


def row(
    spec: str, predicts: str, shape: tuple[int, ...], noise: Noise, args: argparse.Namespace
) -> list[str]:
    """The cells of one row: microseconds per network evaluation, the ratio, the set-up time."""
    begin = time.perf_counter()
    job = prepare(
        NetworkModel(net, VPLinear(), predicts), make("samplers", spec), shape=shape, steps=STEPS, noise=noise,
        device=args.device,
    )  # fmt: skip
    Runner(job.plan, job.start(0, job.total)[0])
    setup = time.perf_counter() - begin
    peers = (
        [diffusers_loop(spec, STEPS, net), azula_loop(spec, STEPS, net)]
        if args.device == "cpu"
        else [None, None]
    )
    repeats = max(5, args.repeats // (10 if isinstance(noise, BrownianPath) else 1))
    (ours, hand, *rest), ratio = measure(job, [peer[0] for peer in peers if peer], repeats)
    figures = iter(rest)
    theirs = [f"{next(figures) / peer[1]:.1f}" if peer else "" for peer in peers]
    return [
        f"{ours / job.nfe:.1f}",
        f"{hand / job.nfe:.1f}",
        f"{ratio:.3f}",
        *theirs,
        f"{setup * 1e3:.1f}",
    ]


if __name__ == "__main__":
    keep_memory()
    main()
