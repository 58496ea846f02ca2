"""Tables of experiments: trainings that differ in some settings, all evaluated the same way.

A table is a TOML file,

    [all]                       settings of all experiments, unless they override them
    data = "digits"
    epochs = 20

    [evaluation]                how samples are drawn and compared; see `Evaluation`
    data = "digits:split=held-out"
    features = "digits.onnx"

    [experiments.small]
    network = "unet:widths=16+32"
    [experiments.wide]
    network = "unet:widths=32+64"
    learning_rate = 5e-4

with the settings of `difftool train`. It runs in a folder with one subfolder per experiment:
finished experiments there are kept, interrupted ones resume.
"""

from __future__ import annotations

import contextlib
import csv
import json
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from difftool.errors import DifftoolError, unknown
from difftool.errors.blame import line_of
from difftool.files.reading import parse_json, parse_toml, read_text
from difftool.files.writing import CHECKPOINT, digest, locked, writing
from difftool.metrics import Scores
from difftool.names.specs import is_file, make
from difftool.names.text import parse, write
from difftool.outputs.markdown import markdown_table
from difftool.outputs.samples import is_picture, save
from difftool.runs.evaluation import evaluate, features_of
from difftool.runs.recipe import Device, Recipe
from difftool.runs.run import Run
from difftool.training.checkpoint import Checkpoint, export
from difftool.training.config import Training
from difftool.training.session import Session
from difftool.training.trainer import Hyperparameters

NAMES = ("table.csv", "table.md")
PICTURE = "samples.png"  # in the folder of an experiment
PARTS = ("all", "evaluation", "experiments")  # of a file
SHOWN = 64  # maximum number of samples in a collage


@dataclass(frozen=True)
class Evaluation:
    """How the samples of every experiment are drawn and compared.

    data: the reference; default: the training data of the experiment. features: a feature
    network for FID, KID and more. sampler, steps, num_samples, batch_size, seed, label (`class`
    in the file), guidance: as in `difftool sample`.
    """

    data: str | None = None
    features: str | None = None
    sampler: str | None = None
    steps: int | None = None
    num_samples: int = 1000
    batch_size: int = 250
    seed: int = 0
    label: int | str | None = None
    guidance: float | None = None

    def recipe(self, folder: Path, device: Device = "auto") -> Recipe:
        """The recipe for drawing samples of the experiment in that folder."""
        own = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("data", "features")
        }
        return Recipe(model=write("checkpoint", {"path": str(folder)}), device=device, **own)


@dataclass(frozen=True)
class Table:
    """Experiments by name, and their evaluation."""

    experiments: Mapping[str, Training]
    evaluation: Evaluation

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read a table from a TOML file; `DifftoolError` if it is not readable and valid."""
        parts = _read(file)
        common, experiments = parts.get("all", {}), parts.get("experiments", {})
        if not experiments:
            raise DifftoolError(f"{file} has no experiments; add one as in [experiments.small]")
        trainings = {}
        for name, own in experiments.items():
            where = f"{file}, [experiments.{name}]"
            if not isinstance(own, dict) or not _is_name(name):
                raise DifftoolError(
                    f"{where}: an experiment must be a table with a name of letters, digits, - and _"
                )
            trainings[name] = _training({**_without(common, own), **own}, where)
        evaluation = _evaluation(parts.get("evaluation", {}), f"{file}, [evaluation]")
        return cls(trainings, evaluation)


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """The top-level tables of a TOML file."""
    try:
        parts = parse_toml(read_text(file))
    except ValueError as error:
        raise DifftoolError(f"{file} is not valid TOML: {error}") from None
    for name, part in parts.items():
        if name not in PARTS:
            raise unknown(f"table of {file}", name, PARTS)
        if not isinstance(part, dict):
            raise DifftoolError(f"{file}: {name} must be a table, as in [{name}], got {part!r}")
    return parts


def _is_name(name: str) -> bool:
    """Whether the name is allowed for a folder: letters, digits, - and _."""
    return name.replace("-", "").replace("_", "").isalnum()


def _evaluation(settings: Mapping[str, Any], where: str) -> Evaluation:
    """The evaluation from its settings; files call its label `class`."""
    settings = dict(settings)
    if "label" in settings:
        raise DifftoolError(f"{where}: {unknown('setting', 'label', ['class'])}")
    if "class" in settings:
        settings["label"] = settings.pop("class")
    evaluation: Evaluation = _from_settings(Evaluation, settings, where)
    return evaluation


Train = Callable[[str, Session], None]
Say = Callable[[str, str], None]  # arguments: the name of an experiment, and its status


def run_experiments(
    table: Table, folder: Path, train: Train, say: Say, device: Device = "auto"
) -> list[dict[str, Any]]:
    """Train and evaluate all unfinished experiments; returns the rows of the table.

    The table is rewritten after each experiment. train: runs a session to its end. Settings
    that cannot work are refused before the first training; if an experiment fails later, its
    row says why, and the next one starts.
    """
    _check(table)
    rows: dict[str, dict[str, Any]] = {name: {} for name in table.experiments}
    settings = differing(table.experiments)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        for name, training in table.experiments.items():
            own = folder / name
            try:
                session = _session(training, own, device)
                if session is not None:
                    say(name, "training")
                    train(name, session)
                say(name, "evaluation")
                rows[name] = _figures(table.evaluation, training, own, device)
                say(name, "done")
            except Exception as error:  # one experiment that fails never stops the others
                reason = str(error)
                if not isinstance(error, DifftoolError):
                    reason = line_of(error)
                rows[name] = {"failed": reason}
                say(name, f"failed: {reason}")
            _write(_rows(rows, settings), folder)
    return _rows(rows, settings)


def differing(experiments: Mapping[str, Training]) -> dict[str, dict[str, Any]]:
    """The settings in which experiments differ, with options of data and network separate."""
    flat = {name: _flat(training) for name, training in experiments.items()}
    differ = [key for key in heads_of(flat.values()) if _differs(key, flat.values())]
    return {name: {key: values.get(key, "") for key in differ} for name, values in flat.items()}


def heads_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The keys of all rows, in order of first appearance."""
    return [*dict.fromkeys(key for row in rows for key in row)]


def _differs(key: str, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether rows have different values for that key."""
    return len({str(row.get(key)) for row in rows}) > 1


def _flat(training: Training) -> dict[str, Any]:
    """All settings of a training by name; options of data and network get a prefix if taken."""
    whole = training.to_dict()
    whole |= whole.pop("numbers")
    for axis in ("data", "network"):
        if whole[axis] is not None:
            whole[axis], options = parse(whole[axis])
            taken = {*whole, "name"}
            for key, value in options.items():
                if key in taken:
                    head = f"{axis}.{key}"
                else:
                    head = key
                whole[head] = value
    if whole["epochs"] is not None:
        del whole["steps"]
    return {key: value for key, value in whole.items() if value is not None}


def _without(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The common settings, without steps (epochs) if the experiment sets epochs (steps)."""
    other = {"steps": "epochs", "epochs": "steps"}
    return {key: value for key, value in common.items() if other.get(key) not in own}


def _training(settings: Mapping[str, Any], where: str) -> Training:
    names = {f.name for f in fields(Hyperparameters)}
    if "steps" in settings and "epochs" in settings:
        raise DifftoolError(f"{where}: give steps or epochs, not both")
    numbers = _from_settings(
        Hyperparameters, {key: value for key, value in settings.items() if key in names}, where
    )
    words = {key: value for key, value in settings.items() if key not in names}
    return replace(_from_settings(Training, words, where, names), numbers=numbers)


def _from_settings(
    kind: Any,
    settings: Mapping[str, Any],
    where: str,
    others: set[str] | frozenset[str] = frozenset(),
) -> Any:
    """A dataclass from the settings in a file; `DifftoolError` for wrong names or types."""
    hints = typing.get_type_hints(kind)
    for key, value in settings.items():
        if key not in hints or key == "numbers":
            raise DifftoolError(
                f"{where}: {unknown('setting', key, ({*hints} | others) - {'numbers'})}"
            )
        wanted = typing.get_args(hints[key]) or (hints[key],)
        fits = {str, int, float, bool} & {*wanted} or {str}
        if type(value) not in fits and not (type(value) is int and float in fits):
            raise DifftoolError(
                f"{where}: {key} must be {' or '.join(sorted(t.__name__ for t in fits))}, got {value!r}"
            )
    try:
        return kind(**settings)
    except DifftoolError as error:
        raise DifftoolError(f"{where}: {error}") from None


def _check(table: Table) -> None:
    """Raise `DifftoolError` for what would fail hours later: bad names, options and data."""
    evaluation = table.evaluation
    Scores(features_of(evaluation.features))
    if evaluation.sampler is not None:
        make("samplers", evaluation.sampler)
    for name, training in table.experiments.items():
        try:
            data = training.dataset()
            filled = training.filled(data)
            filled.objective(), filled.net()
            classes = evaluation.recipe(Path(name)).classes
            reference = make("datasets", evaluation.data or training.data)
        except DifftoolError as error:
            raise DifftoolError(f"experiment {name}: {error}") from None
        if reference.shape != data.shape:
            raise DifftoolError(
                f"experiment {name} has samples of shape {data.shape}, the evaluation data {reference.shape}"
            )
        if classes is not None and (data.classes is None or classes[-1] >= data.classes):
            raise DifftoolError(
                f"experiment {name} has {data.classes or 'no'} classes, the evaluation asks for {evaluation.label}"
            )


def _session(training: Training, folder: Path, device: str) -> Session | None:
    """The unfinished training, or None; `DifftoolError` if the folder has a different one."""
    if not (folder / CHECKPOINT).exists():
        return Session(training, folder, device=device)
    saved = Checkpoint.load(folder, parts=())
    before = Training.of(saved, str(folder))
    wanted = training.filled(training.dataset())
    if training.network is None:  # the default network may have been another one then
        wanted = replace(wanted, network=before.network)
    if before != wanted:
        old, new = _settings(before), _settings(wanted)
        key = next(key for key in new if old.get(key) != new[key])
        raise DifftoolError(
            f"{folder} has a training with {key}={old.get(key)}, but the table says {new[key]}; "
            f"rename the experiment, or remove the folder"
        )
    if saved.step >= wanted.numbers.steps:
        return None
    return Session.resumed(folder, device=device)


def _settings(training: Training) -> dict[str, Any]:
    """All settings of a training by name."""
    whole = training.to_dict()
    return {**whole, **whole["numbers"], "numbers": None}


def _figures(
    evaluation: Evaluation, training: Training, folder: Path, device: Device
) -> dict[str, Any]:
    """The scores of an experiment: saved ones, if weights and evaluation are the same."""
    file = folder / "scores.json"
    files = [export(folder)]
    if evaluation.features is not None and is_file("features", evaluation.features):
        files.append(Path(evaluation.features))
    asked = {
        **asdict(evaluation),
        "data": evaluation.data or training.data,
        "files": {path.name: digest(path) for path in files},
    }
    with contextlib.suppress(DifftoolError, ValueError, TypeError, KeyError):
        before = parse_json(read_text(file))
        if before["evaluation"] == asked:
            return {**before["figures"]}
    recipe = evaluation.recipe(folder, device)
    scores = evaluate(recipe, asked["data"], features=evaluation.features).samples.scores
    _draw(recipe, folder)
    with writing(file) as temporary:
        temporary.write_text(
            json.dumps({"evaluation": asked, "figures": scores}, indent=1) + "\n"
        )
    return scores


def _draw(recipe: Recipe, folder: Path) -> None:
    """Save a collage of a few samples, if they can be drawn."""
    run = Run.of(replace(recipe, num_samples=min(SHOWN, recipe.num_samples)))
    if is_picture(run.job.shape):
        file = folder / PICTURE
        save(run.samples(), file, run.recipe.to_dict(), folder.name, overwrite=True)


def _rows(
    rows: Mapping[str, dict[str, Any]], settings: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Complete rows: name, settings, scores; `name` is always that of the experiment."""
    return [
        {"name": name} | settings[name] | row | {"name": name} for name, row in rows.items()
    ]


def _write(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write the table as CSV, and as Markdown with the collages."""
    heads = heads_of(rows)
    with writing(folder / NAMES[0]) as file, file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, heads, restval="")
        writer.writeheader()
        writer.writerows(rows)
    cells = []
    for row in rows:
        words = [word(row.get(key, "")) for key in heads]
        cells.append([*words, _collage(row["name"], folder)])
    text = markdown_table([*heads, "collage"], cells)
    with writing(folder / NAMES[1]) as file:
        file.write_text(text + "\n")


def _collage(name: str, folder: Path) -> str:
    """The Markdown for the picture of an experiment, if it has one."""
    if (folder / name / PICTURE).exists():
        return f"![{name}]({name}/{PICTURE})"
    return ""


def word(value: Any) -> str:
    """The text of a table cell."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
