"""`difftool show NAME`: everything about a name; with `--as TOOL`, its name in another tool."""

from __future__ import annotations

import json as _json
from typing import Annotated, Any

import typer


def show(
    name: Annotated[
        list[str],
        typer.Argument(
            help="A schedule, grid, model or sampler; with --as also sampler@grid, or that tool's own name.",
            metavar="NAME",
        ),
    ],
    tool: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="Tool to translate to or from: comfyui, a1111, diffusers, k-diffusion or azula.",
            metavar="TOOL",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="For `default`: the model.", metavar="name:key=value,..."),
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(
            help="For `default`: the number of steps.", metavar="<int>", show_default="50"
        ),
    ] = None,
    nfe: Annotated[
        str | None,
        typer.Option(
            help="For `default`: the number of function evaluations, instead of --steps.",
            metavar="<int>",
        ),
    ] = None,
    # numbers are taken as text: typer's own conversion loads pydantic, if that is installed
    guidance: Annotated[
        str | None, typer.Option(help="For `default`: the guidance scale.", metavar="<float>")
    ] = None,
    stochastic: Annotated[
        bool, typer.Option("--stochastic", help="For `default`: a stochastic sampler.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show formula, reference, options and claims of NAME, or which sampler is the `default`.

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
            "--model, --steps, --nfe, --guidance and --stochastic are only for difftool show default"
        )
    from difftool.names.describe import descriptions

    found = descriptions(" ".join(name))
    if json:
        print(_json.dumps(found))
    else:
        _print_descriptions(found)


def _print_descriptions(found: list[dict[str, Any]]) -> None:
    """Print title, description, claims and options of each entry."""
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
    """A number from the command line."""
    from difftool.errors import DifftoolError

    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        raise DifftoolError(f"--{name} must be a number, got {text!r}") from None


def _show_default(
    model: str | None,
    steps: str | None,
    nfe: str | None,
    guidance: str | None,
    stochastic: bool,
    json: bool,
) -> None:
    """Print which sampler runs if none is given, and why."""
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
    """Print what it is called in that tool and here."""
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
