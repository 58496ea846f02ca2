"""What is said to someone who types another tool's name for a sampler or grid."""

from __future__ import annotations

from difftool.atlas import Answer, command, tools


def hint(axis: str | None, name: str) -> str:
    """What a name that is not ours means in another tool, in words; empty if nothing. `axis` is where it was typed."""

    def distance(answer: Answer) -> tuple[bool, bool]:
        other = axis is not None and (answer.grid if axis == "grids" else answer.sampler) is None
        return other, " ".join(row.name for row in answer.rows).lower() != name.lower()

    answers = [answer for tool in tools().values() for answer in tool.lookup(name)]
    answers = [answer for answer in answers if name.lower() not in answer.specs().values()]  # no more than another case
    return sentence(min(answers, key=distance), name, axis) if answers else ""


def sentence(answer: Answer, name: str, axis: str | None) -> str:
    """The answer in one line, for someone who typed the name where a thing of that axis is wanted."""
    title = answer.tool.title
    who = f"{title}'{'' if title.endswith('s') else 's'} {name}"
    specs, row = answer.specs(), answer.rows[0]
    if not specs:
        return f"{who} {'comes later here' if row.parity == 'later' else 'is nothing here'}: {row.why}"
    spec = next(iter(specs.values())) if list(specs) == [axis] else command(specs)
    parities = {row.parity for row in answer.rows}
    verb = "is nearest to" if "differs" in parities else "is"
    return f"{who} {verb} {spec} here" + " (for distilled models)" * ("distilled" in parities)
