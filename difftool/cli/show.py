"""`difftool show NAME`: all about one thing; with `--as TOOL`, what another tool calls it."""

from __future__ import annotations

import json as _json
from typing import Annotated, Any

import typer


def show(
    name: Annotated[
        list[str],
        typer.Argument(
            help="A schedule, grid, model or sampler; with --as also sampler@grid, or a name of that tool.",
            metavar="NAME",
        ),
    ],
    tool: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="What it is called in comfyui, a1111, diffusers, k-diffusion or azula.",
            metavar="TOOL",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Of default: for which model.", metavar="name:key=value,..."),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(
            help="Of default: for how many steps.", metavar="<int>", show_default="50"
        ),
    ] = None,
    nfe: Annotated[
        str | None,
        typer.Option(help="Of default: evaluations, in place of --steps.", metavar="<int>"),
    ] = None,
    guidance: Annotated[
        str | None, typer.Option(help="Of default: with how much guidance.", metavar="<float>")
    ] = None,  # numbers as text: typer's own conversion of them loads pydantic, where that is installed
    stochastic: Annotated[
        bool, typer.Option("--stochastic", help="Of default: a stochastic sampler.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the formula, the reference, the options and the claims of NAME; of `default`, what runs if none is named.

    Try: difftool show default --model digits-unet --nfe 20 --guidance 3
    """
    if tool is not None:
        _show_as(tool, " ".join(name), json)
        return
    if name == ["default"]:
        _show_default(model, steps, nfe, guidance, stochastic, json)
        return
    if stochastic or not (model is steps is nfe is guidance is None):
        from difftool.errors import DifftoolError

        raise DifftoolError(
            "--model, --steps, --nfe, --guidance and --stochastic are for difftool show default"
        )
    from difftool.names.describe import descriptions

    found = descriptions(" ".join(name))
    if json:
        print(_json.dumps(found))
    else:
        _print_descriptions(found)


def _print_descriptions(found: list[dict[str, Any]]) -> None:
    """Title, text, claims and options of each."""
    from difftool.cli.text import print_columns, print_facts, print_text, print_title

    for i, thing in enumerate(found):
        if i > 0:
            print("\n")
        print_title(thing["name"], f"  {thing['kind']}, from {thing['origin']}\n")
        print_text(thing["text"])
        if thing["facts"]:
            print()
            print_facts(thing["facts"])
        if thing["options"]:
            print()
            rows = [
                [option["name"], option["type"], option["default"]]
                for option in thing["options"]
            ]
            print_columns(rows, ("option", "type", "default"))


def _number(name: str, text: str | None, kind: type) -> Any:
    """A number as it was typed."""
    from difftool.errors import DifftoolError

    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        raise DifftoolError(f"--{name} takes a number, got {text!r}") from None


def _show_default(
    model: str | None,
    steps: str | None,
    nfe: str | None,
    guidance: str | None,
    stochastic: bool,
    json: bool,
) -> None:
    """Which sampler runs where none is named, and why."""
    from difftool.names.specs import check_names

    check_names(models=model)
    from difftool.cli.text import print_facts, print_text
    from difftool.runs.plans import default_of

    n, evaluations = _number("steps", steps, int), _number("nfe", nfe, int)
    why, facts = default_of(
        model, n, evaluations, _number("guidance", guidance, float), stochastic
    )
    if json:
        print(_json.dumps({"text": why, **facts}))
        return
    print_text(why)
    print()
    print_facts(facts)


def _show_as(tool: str, name: str, json: bool) -> None:
    """The names in that tool and here."""
    from difftool.cli.text import print_facts
    from difftool.names.translate import translations

    found = translations(tool, name)
    if json:
        print(_json.dumps(found))
        return
    for i, facts in enumerate(found):
        if i > 0:
            print()
        print_facts(
            {
                facts["tool"]: facts["theirs"],
                "difftool": facts["ours"] or "-",
                "parity": facts["parity"],
            }
        )
