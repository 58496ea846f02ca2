"""The error of samplers per network evaluation on trained networks, from the same noise, beside a converged reference.

    python benchmarks/networks.py                                    # the table; it goes on where it was stopped
    python benchmarks/networks.py --networks moons digits-unet --guidance 1 3 --methods default ddim heun@karras
    python benchmarks/networks.py --train                            # the networks anew, into benchmarks/weights
    python benchmarks/networks.py --train mnist-eps --pictures DATA  # from copies in DATA/mnist, DATA/cifar10

An evaluation is an answer to the sampler: with guidance it costs the network two. The error of a cell is the RMS over
the samples (512 points, 64 pictures) of the distance of the end points to the reference: the classical Runge-Kutta
method with its steps doubled; errors of less than ten times what its end points moved by at last are left out. Score of
a method: the geometric mean, and the worst, of its error over the best of RIVALS, in cells that hold all of these.

Networks: those of `networks.toml`, and `digits-unet` and `moons` of the package. What is done is kept in
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
)  # of a reference: the tolerance that is enough, the largest number of steps
PART = 0.1  # of an error, by which its reference may be wrong
console = Console(width=150)


def file_of(name: str) -> Path:
    return next(
        (f for folder in (WEIGHTS, PACKAGED) if (f := folder / f"{name}.safetensors").exists()),
        WEIGHTS / name,
    )


class Setting:
    """A network, its guidance (None: not conditional), starts of unit noise, and classes in turn."""

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
        """The end points, and what they moved by when the steps were doubled last (RMS); kept on disk."""
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
        made = reference(
            self.model, x, path, cond=self.cond, tolerance=ENOUGH, most=most, strict=False
        )
        file.parent.mkdir(exist_ok=True)
        with writing(file) as temporary:
            save_file(
                {"x": made.x.contiguous(), "change": torch.tensor(made.error.rms)}, temporary
            )
        return made.x, made.error.rms

    def run(self, method: str, nfe: int) -> Tensor:
        """The end points of a method; infinite ones for a run that came to nothing finite."""
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
    """`sampler@grid`, or `default`; None where nothing is named."""
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


Cells = dict[str, dict[str, list[float]]]  # by setting; by "method | NFE"; RMS and median


def measure(
    setting: Setting, methods: Sequence[str], nfes: Sequence[int], most: int, known: Cells
) -> None:
    """Fills in what is missing of a setting's cells."""
    cells = known.setdefault(setting.key, {})
    told = (
        methods
        if isinstance(setting.network.schedule, DDPMLinear)
        else [m for m in methods if m not in DIFFUSERS]
    )
    wanted = [(m, n) for m in told for n in nfes if f"{m} | {n}" not in cells]
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
    """The method's RMS error over that of the best rival, in the cells where every rival is known."""
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
        title="error over the best rival, cell by cell",
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
    """The geometric one."""
    return f"{math.exp(fmean(math.log(v) for v in values)):.3g}" if values else "-"


def train(names: Sequence[str], pictures: Path | None) -> None:
    """Train what is named, or all of the table, and keep the moving averages as half-precision numbers."""
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
        session.run(partial(tell, name), log_every=500, sample_every=None)
        keep(folder, name, training)


def tell(name: str, report: Report) -> None:
    console.print(f"{name} {report.step}/{report.steps} {report.loss:.4f}", highlight=False)


def keep(folder: Path, name: str, training: Training) -> None:
    """The weights of a training, in half precision, with the table's own words for its data."""
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
        "--most", type=int, default=MOST, help="steps of a reference, four evaluations each"
    )
    parser.add_argument(
        "--starts",
        type=int,
        default=64,
        help="pictures of a setting; eight times as many points",
    )
    parser.add_argument(
        "--train",
        nargs="*",
        metavar="NETWORK",
        help="train them in place of measuring; none: all",
    )
    parser.add_argument(
        "--pictures", type=Path, help="folder with copies of mnist and cifar10, for --train"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where the figures are kept"
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
