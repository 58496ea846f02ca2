"""Error of samplers per evaluation on trained networks, against a converged reference.

    python benchmarks/networks.py                                    # the table; resumes if interrupted
    python benchmarks/networks.py --networks moons digits-unet --guidance 1 3 --methods default ddim heun@karras
    python benchmarks/networks.py --train                            # retrain the networks, into benchmarks/weights
    python benchmarks/networks.py --train mnist-eps --pictures DATA  # from copies in DATA/mnist, DATA/cifar10

An evaluation is one answer to the sampler; with guidance it costs two network evaluations. The
error of a cell is the RMS over the samples (512 points, 64 pictures) of the distance from the end
points to the reference, which is the classical Runge-Kutta method with its steps doubled until it
converges. Errors below ten times the last change of the reference are left out. The score of a
method is the geometric mean, and the worst, of its error divided by the best of RIVALS, in cells
where all of these were measured.

Networks: those of `networks.toml`, and the packaged `digits-unet` and `moons`. Results are kept in
`benchmarks/networks.json`, by the digest of the weights; references in `benchmarks/references`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from others import diffusers_on
from rich.console import Console
from rich.table import Table
from torch import Tensor

from difftool.errors import DifftoolError, NonFinite
from difftool.files.writing import CHECKPOINT, digest, writing
from difftool.grids import Grid
from difftool.models import Guided, Model, NetworkModel
from difftool.names.specs import make
from difftool.runs.experiments import Table as Experiments
from difftool.samplers import Sampler
from difftool.sampling import prepare
from difftool.schedules import DDPMLinear
from difftool.schedules import Path as Points
from difftool.study.errors import errors
from difftool.study.reference import reference
from difftool.training.checkpoint import Checkpoint
from difftool.training.config import Training, load_model
from difftool.training.session import Report, Session

HERE = Path(__file__).parent
TABLE, RESULTS = HERE / "networks.toml", HERE / "networks.json"
WEIGHTS, REFERENCES = HERE / "weights", HERE / "references"
PACKAGED = Path(__file__).parents[1] / "difftool" / "weights"

CHOICE = (
    "digits-unet", "moons", "rings-eps", "board-v", "digits-eps", "mnist-eps", "roll-eps", "grid-v", "moons-flow",
    "roll-x0", "digits-v", "digits-eps-cosine", "mnist-flow", "cifar-eps", "eight-v", "rings-flow", "grid-eps",
    "digits-flow", "digits-eps-scaled", "digits-x0", "mnist-v", "cifar-flow", "eight-eps", "moons-eps",
    "rings-eps-scaled", "moons-eps-linear", "board-eps-cosine", "grid-eps-vp", "eight-eps-scaled", "grid-eps-scaled",
)  # fmt: skip
CONFIRM = (
    "board-flow", "rings-v", "digits-v-linear", "mnist-flow-small", "digits-eps-small", "cifar-eps-small",
    "digits-eps-low", "rings-eps-vp", "roll-eps-vp",
)  # fmt: skip
RIVALS = (
    "flow-abm:order=2", "flow-ab:order=2@flow:a=4/3,b=5/3", "unipc:order=2,taper=true@half-log-snr:level_min=0.02",
    "dpmpp-2m@trailing", "dpmpp-2m@karras", "flow-sde:tau=0", "ddim",
)  # fmt: skip
DIFFUSERS = (
    "diffusers DPM++ 2M",
    "diffusers DPM++ 2M Karras",
    "diffusers UniPC",
    "diffusers DDIM trailing",
)
NFES, GUIDANCES = (5, 10, 20, 30, 50), (1.0, 3.0, 8.0)
SEED = 5
ENOUGH, MOST = (
    3e-5,
    1024,
)  # of a reference: its tolerance, and its largest number of steps
PART = 0.1  # largest error of the reference, relative to the error measured with it
console = Console(width=150)


def file_of(name: str) -> Path:
    return next(
        (f for folder in (WEIGHTS, PACKAGED) if (f := folder / f"{name}.safetensors").exists()),
        WEIGHTS / name,
    )


class Setting:
    """A network, its guidance (None: unconditional), unit noise to start from, and cycling classes."""

    def __init__(self, name: str, guidance: float | None, starts: int):
        self.name, self.guidance = name, guidance
        self.file = file_of(name)
        network = load_model(self.file)
        assert network.shape is not None
        count = 8 * starts if len(network.shape) == 1 else starts
        generator = torch.Generator().manual_seed(SEED)
        self.z = torch.randn(count, *network.shape, generator=generator, dtype=torch.float64)
        self.network, self.model, self.cond = network, guided(network, guidance), {}
        if guidance is not None:
            self.cond = {"label": torch.arange(count) % network.classes}

    @property
    def key(self) -> str:
        guided = "" if self.guidance is None else f" {self.guidance:g}"
        return f"{self.name} {digest(self.file)[:12]} {len(self.z)}{guided}"

    def reference(self, most: int) -> tuple[Tensor, float]:
        """Reference end points, and their RMS change when the steps were last doubled; kept on disk."""
        from safetensors.torch import load_file, save_file

        file = REFERENCES / f"{self.key} {most}.safetensors"
        if file.exists():
            known = load_file(file)
            return known["x"], float(known["change"])
        schedule = self.network.schedule
        path = Points(
            schedule, (schedule.t_start(self.network.divides_by_alpha), schedule.domain[0])
        )
        x = math.hypot(path[0].alpha, path[0].sigma) * self.z
        solved = reference(
            self.model, x, path, cond=self.cond, tolerance=ENOUGH, most=most, strict=False
        )
        file.parent.mkdir(exist_ok=True)
        with writing(file) as temporary:
            save_file(
                {"x": solved.x.contiguous(), "change": torch.tensor(solved.error.rms)},
                temporary,
            )
        return solved.x, solved.error.rms

    def run(self, method: str, nfe: int) -> Tensor:
        """End points of a method; infinite if the run was not finite."""
        if method.startswith("diffusers "):
            return diffusers_on(
                method.removeprefix("diffusers "),
                self.network,
                self.z,
                nfe,
                self.cond,
                self.guidance,
            )
        sampler, grid = method_of(method)
        job = prepare(
            self.model,
            sampler,
            nfe=nfe * self.model.nfe,
            cond=self.cond,
            grid=grid,
            shape=tuple(self.z.shape),
        )
        try:
            return job.batch(
                0, len(self.z), math.hypot(job.origin.alpha, job.origin.sigma) * self.z
            )
        except NonFinite:
            return torch.full_like(self.z, math.inf)


def method_of(text: str) -> tuple[Sampler | None, Grid | None]:
    """Sampler and grid of `sampler@grid`, or of `default`; None for the one that is left out."""
    name, _, grid = text.partition("@")
    return None if name == "default" else make("samplers", name), make(
        "grids", grid
    ) if grid else None


def guided(network: NetworkModel, guidance: float | None) -> Model:
    return network if guidance in (None, 1) else Guided(network, guidance)  # type: ignore[arg-type]


def settings(
    names: Sequence[str], guidances: Sequence[float], starts: int
) -> Iterator[Setting]:
    for name in names:
        classes = load_model(file_of(name)).classes
        for guidance in (None,) if classes is None else guidances:
            yield Setting(name, guidance, starts)


Cells = dict[str, dict[str, list[float]]]  # by setting, then "method | NFE": RMS and median


def measure(
    setting: Setting, methods: Sequence[str], nfes: Sequence[int], most: int, known: Cells
) -> None:
    """Fill in the missing cells of a setting."""
    cells = known.setdefault(setting.key, {})
    supported = (
        methods
        if isinstance(setting.network.schedule, DDPMLinear)
        else [m for m in methods if m not in DIFFUSERS]
    )
    wanted = [(m, n) for m in supported for n in nfes if f"{m} | {n}" not in cells]
    if not wanted:
        return
    ends = {(m, n): _attempt(setting, m, n) for m, n in wanted}
    truth, change = setting.reference(most)
    for (m, n), x in ends.items():
        e = None if x is None else errors(x, truth)
        sure = e is not None and change <= PART * e.rms
        cells[f"{m} | {n}"] = [e.rms, e.median] if e is not None and sure else []


def _attempt(setting: Setting, method: str, nfe: int) -> Tensor | None:
    try:
        return setting.run(method, nfe)
    except DifftoolError as error:
        console.print(f"left out: {setting.key}, {method}, {nfe}: {error}", highlight=False)
        return None


def ratios(cells: dict[str, list[float]], method: str, nfes: Sequence[int]) -> list[float]:
    """RMS errors of a method divided by the best rival's, in cells where every rival was measured."""
    out = []
    for n in nfes:
        rivals = [cells.get(f"{r} | {n}") for r in RIVALS]
        cell = cells.get(f"{method} | {n}")
        if cell and all(rivals):
            out.append(cell[0] / min(rival[0] for rival in rivals if rival))
    return out


def show(
    known: Cells, keys: Sequence[str], methods: Sequence[str], nfes: Sequence[int]
) -> None:
    for key in keys:
        name, _, _, *guidance = key.split(" ")
        table = Table(
            title=f"{name}{', guidance ' + guidance[0] if guidance else ''}: RMS (median)"
        )
        table.add_column("evaluations", overflow="fold", ratio=1)
        for n in nfes:
            table.add_column(str(n))
        for m in methods:
            row = [known[key].get(f"{m} | {n}") for n in nfes]
            if any(row):
                table.add_row(
                    m, *(f"{cell[0]:.3g} ({cell[1]:.2g})" if cell else "-" for cell in row)
                )
        console.print(table)
    table = Table(
        "method",
        "networks",
        "mean",
        "worst",
        *map(str, nfes),
        title="error relative to the best rival, cell by cell",
    )
    for title, names in (("choice", CHOICE), ("confirm", CONFIRM)):
        mine = [key for key in keys if key.split(" ")[0] in names]
        for m in methods:
            found = [r for key in mine for r in ratios(known[key], m, nfes)]
            if found:
                each = [[r for key in mine for r in ratios(known[key], m, (n,))] for n in nfes]
                table.add_row(m, title, mean(found), f"{max(found):.3g}", *map(mean, each))
    console.print(table)


def mean(values: Sequence[float]) -> str:
    """Geometric mean, formatted; - for no values."""
    return f"{math.exp(fmean(math.log(v) for v in values)):.3g}" if values else "-"


def train(names: Sequence[str], pictures: Path | None) -> None:
    """Train the given networks, or the whole table; keep the moving averages in half precision."""
    table = Experiments.load(TABLE)
    for name in names or table.experiments:
        training = table.experiments[name]
        folder = HERE / "trainings" / name
        if pictures and training.data in ("mnist", "cifar10"):
            used = replace(training, data=f"{training.data}:path={pictures / training.data}")
        else:
            used = training
        session = (
            Session.resumed(folder) if (folder / CHECKPOINT).exists() else Session(used, folder)
        )
        session.run(partial(print_loss, name), log_every=500, sample_every=None)
        keep(folder, name, training)


def print_loss(name: str, report: Report) -> None:
    console.print(f"{name} {report.step}/{report.steps} {report.loss:.4f}", highlight=False)


def keep(folder: Path, name: str, training: Training) -> None:
    """Save the weights of a training in half precision, with its data as the table specifies them."""
    saved = Checkpoint.load(folder, parts=("ema",))
    facts = {k: v for k, v in saved.facts.items() if k not in ("format", "version")}
    facts["training"]["data"] = training.data
    tensors = {
        key: value.half() if value.is_floating_point() else value
        for key, value in saved.tensors["ema"].items()
    }
    WEIGHTS.mkdir(exist_ok=True)
    Checkpoint(facts, {"ema": tensors}).save(WEIGHTS / f"{name}.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=(*CHOICE, *CONFIRM), metavar="NAME")
    parser.add_argument("--guidance", nargs="+", type=float, default=GUIDANCES, metavar="SCALE")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=("default", *RIVALS, *DIFFUSERS),
        metavar="SAMPLER[@GRID]",
    )
    parser.add_argument("--nfes", nargs="+", type=int, default=NFES, metavar="N")
    parser.add_argument(
        "--most",
        type=int,
        default=MOST,
        help="largest number of steps of a reference, four evaluations each",
    )
    parser.add_argument(
        "--starts",
        type=int,
        default=64,
        help="pictures per setting; eight times as many for points",
    )
    parser.add_argument(
        "--train",
        nargs="*",
        metavar="NETWORK",
        help="train these networks instead of measuring; without names, all of them",
    )
    parser.add_argument(
        "--pictures", type=Path, help="folder with copies of mnist and cifar10, for --train"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="file that keeps the results"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.train is not None:
        train(args.train, args.pictures)
        return
    known: Cells = json.loads(args.results.read_text()) if args.results.exists() else {}
    keys = []
    for setting in settings(args.networks, args.guidance, args.starts):
        measure(setting, args.methods, args.nfes, args.most, known)
        keys.append(setting.key)
        with writing(args.results) as file:
            file.write_text(json.dumps(known, indent=1) + "\n")
    show(known, keys, args.methods, args.nfes)


if __name__ == "__main__":
    main()
