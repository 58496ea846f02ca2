"""Options that commands share, each declared once, and the recipe that they describe.

A type (`Seed`) is an option as most commands use it. A name in capitals (`SEED`) is the
declaration alone, for commands that show it in a panel of their help:
`Annotated[int, under(PANEL, SEED)]`.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from difftool.runs.recipe import Recipe

SPEC = "name:key=value,..."
BY_RULE = "see difftool show default"
OF_THE_SAMPLER = "the sampler's own, else flow"
OF_THE_MODEL = "the model's own, else vp-linear"
BY_SHAPE = "8 pictures, 2000 points"


def spec(text: str, default: bool | str = True) -> Any:
    """An option that takes a spec, a name with options; default: how the help shows it."""
    return typer.Option(help=text, metavar=SPEC, show_default=default)


def under(panel: str, option: Any) -> Any:
    """A copy of the option for a panel of the help."""
    moved = copy(option)
    moved.rich_help_panel = panel
    return moved


MODEL = spec("Model.")
SAMPLER = spec("Sampler.", BY_RULE)
STEPS = typer.Option(help="Number of steps.", show_default="50")
NUM_SAMPLES = typer.Option(help="Number of samples.")
SEED = typer.Option(help="Seed of all random noise.")
CLASS = typer.Option(
    "--class",
    help="Class of a conditional model, or a range to cycle through.",
    metavar="0|0-9",
)
GUIDANCE = typer.Option(
    help="Guidance scale; 1 is the conditional model itself.", show_default="none"
)
DEVICE = typer.Option(help="Device to run on.", metavar="auto|cpu|cuda|mps")
THREADS = typer.Option(help="Number of CPU threads.", show_default="torch's own")
FORCE = typer.Option("--force", help="Overwrite --out if it exists.")

Model = Annotated[str, MODEL]
Sampler = Annotated[str | None, SAMPLER]
SamplerOrPlan = Annotated[str | None, spec("Sampler, or a saved plan (.json).", BY_RULE)]
Schedule = Annotated[str, spec("Noise schedule.")]
ScheduleOfModel = Annotated[str | None, spec("Noise schedule.", OF_THE_MODEL)]
Grid = Annotated[str | None, spec("Time grid.", OF_THE_SAMPLER)]
Steps = Annotated[int | None, STEPS]
Last = Annotated[
    str | None,
    typer.Option(
        help="Last step, to sigma = 0: a step of the sampler, or the mean of x0.",
        metavar="step|mean",
        show_default="the sampler's choice",
    ),
]
Seed = Annotated[int, SEED]
SeedOfData = Annotated[int, typer.Option(help="Seed of the samples and the noise.")]
Shown = Annotated[int | None, typer.Option(help="Number of samples.", show_default=BY_SHAPE)]
Class = Annotated[str | None, CLASS]
Guidance = Annotated[float | None, GUIDANCE]

Data = Annotated[str, spec("Data set.")]
OutPicture = Annotated[Path, typer.Option(help="Output file (.png).")]
OutFilm = Annotated[
    Path, typer.Option(help="Output file: .png (side by side) or .gif (animated).")
]
Force = Annotated[bool, FORCE]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def given(ctx: typer.Context) -> dict[str, Any]:
    """The options that the user gave, with their values."""
    named = {}
    for name, value in ctx.params.items():
        source = ctx.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            named[name] = value
    return named


def recipe_of(options: dict[str, Any], recipe: Recipe | None = None) -> Recipe:
    """The recipe with those of the options that it has; None leaves a value as it is."""
    from difftool.runs.recipe import Recipe, class_of

    words = {}
    for name, value in options.items():
        if name in Recipe.__dataclass_fields__ and value is not None:
            words[name] = value
    if isinstance(words.get("label"), str):
        words["label"] = class_of(words["label"])
    if recipe is None:
        return Recipe(**words)
    return recipe.changed(**words)
