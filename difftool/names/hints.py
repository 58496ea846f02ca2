"""Hints for someone who types another tool's name for a sampler or grid."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from difftool.names.atlas import FEW, Answer, Tool, tools
from difftool.names.text import write


def hint(axis: str | None, name: str) -> str:
    """What an unknown name means in another tool, in words, or ""; axis: where it was typed."""
    if name.lower() == "default" and axis in ("samplers", None):
        return (
            "it is what runs without --sampler: leave that out; "
            "difftool show default --model NAME shows which sampler it is"
        )

    schedule = next(
        (f"{tool.title}' {name} is {ours} here" for tool, ours in _schedules(name)), ""
    )
    if axis == "schedules":
        return schedule
    answers = _answers(name)
    ours = {
        spec
        for answer in answers
        for key, spec in answer.specs().items()
        if axis in (key, None)
    }
    if name.lower() in ours:  # it differs in case only
        return f"did you mean {name.lower()}?"
    if answers:
        return sentence(_nearest(answers, axis, name), name, axis)
    return schedule


def runs_as(
    axis: str, name: str, ours: Container[str], steps: int | None, nfe: int | None, flow: bool
) -> dict[str, Any] | None:
    """The run options that another tool's name stands for; None without an exact equivalent.

    A name that is spelled exactly as in the tool is the tool's; otherwise, a difftool name in
    another case is difftool's. steps, nfe: those requested; an `nfe` among the returned options
    replaces both. flow: on a flow model.
    """
    answers = _answers(name)
    if answers:
        answer = _nearest(answers, axis, name)
    else:
        answer = None
    if answer is not None and axis in answer.specs() and _same(answer):
        same = answer
    else:
        same = None
    if answers and name.lower() in ours and (same is None or _written(same) != name):
        return {axis[:-1]: name.lower()}
    if same is None:
        return None
    found: dict[str, Any] = {**same.run(same.specs((steps or nfe or FEW) < FEW, flow))}
    if steps is not None and same.sampler is not None and (endings := same.sampler.endings):
        found["sampler"] = write(found["sampler"], {"ending": endings[steps % len(endings)]})
        found["nfe"] = steps
    return found


def _same(answer: Answer) -> bool:
    if answer.without or answer.needs or answer.elsewhere:
        return False
    return all(row.parity == "same" and not row.upwards for row in answer.rows)


def _written(answer: Answer) -> str:
    return " ".join(row.name for row in answer.rows)


def _schedules(name: str) -> list[tuple[Tool, str]]:
    return [(tool, tool.schedules[name]) for tool in tools().values() if name in tool.schedules]


def _answers(name: str) -> list[Answer]:
    return [answer for tool in tools().values() for answer in tool.lookup(name)]


def _nearest(answers: list[Answer], axis: str | None, name: str) -> Answer:
    """The answer whose spelling is closest to what was typed, preferably on the right axis."""

    def distance(answer: Answer) -> tuple[bool, ...]:
        other = (
            axis is not None and (answer.grid if axis == "grids" else answer.sampler) is None
        )
        written = _written(answer)
        close, lower = (text.lower().replace(" ", "") for text in (written, name))
        return close != lower, written.lower() != name.lower(), written != name, other

    return min(answers, key=distance)


def sentence(answer: Answer, name: str, axis: str | None) -> str:
    """The answer in one line, for someone who typed the name where that axis is expected."""
    title = answer.tool.title
    who = f"{title}'{'' if title.endswith('s') else 's'} {name}"
    specs, row = answer.specs(), answer.rows[0]
    if not specs:
        return f"{who} {'is not supported yet' if row.parity == 'later' else 'has no counterpart here'}: {row.why}"
    alone = list(answer.run(specs)) == [axis[:-1] if axis else None]
    parities = {row.parity for row in answer.rows}
    if "differs" in parities or answer.without:
        verb = "is closest to"
    else:
        verb = "is"
    besides = ["for distilled models"] * ("distilled" in parities) + [
        "on a grid that runs upwards"
    ] * row.upwards
    besides += [
        f"{word} {', '.join(options)}" for word, options in _conditions(answer) if options
    ]
    besides += answer.elsewhere
    if besides:
        remarks = f" ({'; '.join(besides)})"
    else:
        remarks = ""
    return (
        f"{who} {verb} {specs[axis] if alone and axis else answer.command(specs)} here{remarks}"
    )


def _conditions(answer: Answer) -> list[tuple[str, list[str]]]:
    few = [row.few for row in answer.rows if row.few]
    return [
        ("with", answer.needs),
        ("without", answer.without),
        (f"below {FEW} steps add", few),
    ]
