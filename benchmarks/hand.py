"""Hand-written sampling loops: in place, with coefficients, buffers and times prepared in lists.

Two kinds of loop cover all families: one for methods with a single state and a history of outputs,
one for methods with several states (stages, corrected states). The coefficients are those of the
sampler's plan, in terms of the network's own output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from difftool.plan import Row
from difftool.plan.form import forms
from difftool.sampling import Job

Loop = Callable[[Tensor], Tensor]


def numbers(job: Job) -> Sequence[Row]:
    """Rows of the plan in terms of the network's own output."""
    bound, _ = job.start(0, job.total)
    affine = {k: bound.affine(row.point) for k, row in enumerate(job.plan.rows) if row.channels}
    return next(
        f.rows
        for f in forms(job.plan, {k: (a.skip, a.out) for k, a in affine.items()})
        if f.form == "raw"
    )


def by_hand(job: Job, net: Callable[[Tensor, Tensor], Tensor]) -> Loop:
    """Hand-written loop for a job, of the kind that fits its plan."""
    rows = numbers(job)
    points = [row.point for row in rows if row.channels]
    _, times = job.start(0, job.total)[0].prepare(
        points, torch.empty(job.total, *job.shape, device=job.device)
    )
    keys = job.plan.noises

    def noise() -> Callable[[int, Tensor], Tensor]:
        source = job.start(0, job.total)[1] if keys else None
        return lambda j, z: source.draw(keys[j], z)

    one_state = all([k for k, _ in row.x] in ([r - 1], []) for r, row in enumerate(rows[1:], 1))
    drawn = [j for row in rows for j, _ in row.z]
    return (_history if one_state and len(drawn) == len(set(drawn)) else _states)(
        rows, net, times, noise
    )


def _history(rows: Sequence[Row], net: Any, times: list[Tensor], noise: Any) -> Loop:
    """Loop for one state: x <- a x + sum_j w_j q_j + s z, q_j the newest outputs of the network."""
    table = []
    for r, row in enumerate(rows[1:], 1):
        newest = [0.0] * (r - min((k for (k, _), _ in row.m), default=r - 1))
        for (k, _), c in row.m:
            newest[r - 1 - k] = c
        table.append((times[r - 1], dict(row.x).get(r - 1, 0.0), newest, row.z))
    most = max(len(w) for _, _, w, _ in table)

    def loop(x: Tensor) -> Tensor:
        x = x.clone()
        fresh, draw = torch.empty_like(x), noise()
        past: list[Tensor] = []
        for t, a, w, z in table:
            past.insert(0, net(x, t))
            x.mul_(a)
            for c, q in zip(w, past):  # noqa: B905
                x.add_(q, alpha=c)
            for j, s in z:
                x.add_(draw(j, fresh), alpha=s)
            if len(past) == most:
                past.pop()
        return x

    return loop


def _states(rows: Sequence[Row], net: Any, times: list[Tensor], noise: Any) -> Loop:
    """Loop for several states.

    Each new state is written over one that is not needed again, or into a free buffer.
    """
    last = {k: r for r, row in enumerate(rows) for k, _ in row.x} | {len(rows) - 1: len(rows)}
    done = {k: r for r, row in enumerate(rows) for (k, _), _ in row.m}
    drawn = {j: r for r, row in enumerate(rows) for j, _ in row.z}
    place, free, table, evaluated = {0: 0}, [], [], 0
    for r, row in enumerate(rows[1:], 1):
        ask = times[evaluated] if rows[r - 1].channels else None
        evaluated += rows[r - 1].channels
        terms = sorted(
            row.x, key=lambda term: last[term[0]] != r
        )  # a state that is not needed again is overwritten
        base, a = terms[0] if terms else (r - 1, 0.0)
        free += [place.pop(k) for k in [*place] if last.get(k, k) < r]
        dies = last.get(base, base) <= r and base in place
        target = place[base] if dies else free.pop() if free else len(place) + len(free)
        source = place.get(base, target)
        more = [(place[k], c) for k, c in terms[1:]]
        free += [place.pop(k) for k in [*place] if last.get(k, k) == r and place[k] != target]
        if dies:
            place.pop(base)
        place[r] = target
        drop = [k for k, end in done.items() if end == r]
        table.append(
            (ask, r - 1, place.get(r - 1, target), source, target, a, more, row.m, row.z, drop)
        )
    before = [0, *(line[4] for line in table[:-1])]
    table = [(ask, k, b, *rest) for (ask, k, _, *rest), b in zip(table, before, strict=True)]
    size = 1 + max(line[4] for line in table)

    def loop(x: Tensor) -> Tensor:
        states = [x.clone(), *(torch.empty_like(x) for _ in range(size - 1))]
        draw, outputs = noise(), {}
        fresh: dict[int, Tensor] = {}
        for r, (ask, k, at, source, target, a, more, m, z, drop) in enumerate(table, 1):
            if ask is not None:
                outputs[k] = net(states[at], ask)
            y = (
                states[source].mul_(a)
                if source == target
                else torch.mul(states[source], a, out=states[target])
            )
            for i, c in more:
                y.add_(states[i], alpha=c)
            for (i, _), c in m:
                y.add_(outputs[i], alpha=c)
            for j, c in z:
                if j not in fresh:
                    fresh[j] = draw(j, torch.empty_like(x))
                y.add_(fresh[j] if drawn[j] > r else fresh.pop(j), alpha=c)
            for i in drop:
                del outputs[i]
        return states[target]

    return loop
