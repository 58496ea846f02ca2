"""Distance from the samples of stochastic samplers to the data, on trained networks.

    python benchmarks/stochastic.py                                      # the networks of points and digits
    python benchmarks/stochastic.py --networks mnist-eps --pictures DATA # from copies in DATA/mnist, DATA/cifar10
    python benchmarks/stochastic.py --networks moons --methods default sa-solver dpmpp-2m-sde@karras

The sliced Wasserstein distance (order 2) from 4000 points or 500 pictures to the data, the mean
over two seeds; points are compared with freshly drawn ones. The floor is the distance of equally
many data. The score is the geometric mean, and the worst, of a method's distance divided by the
best of RIVALS, cell by cell. Networks, and which of them played a part in the choice:
`benchmarks/networks.py`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from networks import CHOICE, CONFIRM, NFES, TABLE, console, file_of, mean, method_of
from rich.table import Table
from torch import Tensor

from difftool.errors import NonFinite
from difftool.files.writing import digest, writing
from difftool.metrics import SlicedDistance
from difftool.names.specs import make
from difftool.runs.experiments import Table as Experiments
from difftool.sampling import sample
from difftool.training.config import load_model

RESULTS = Path(__file__).parent / "stochastic.json"
RIVALS = "euler-a", "dpmpp-2m-sde", "sa-solver"
POINTS, PICTURES, DATA, SEEDS = 4000, 500, 10_000, (3, 4)
LEARNED = {"digits-unet": "digits", "moons": "moons"}

Cells = dict[str, dict[str, float]]  # by network, then "method | NFE" or "floor"


def data_of(name: str, pictures: Path | None) -> Tensor:
    """The data that a network was trained on; points with another seed than in training."""
    spec = LEARNED.get(name) or Experiments.load(TABLE).experiments[name].data
    if spec in ("mnist", "cifar10"):
        spec = f"{spec}:path={pictures / spec}" if pictures else spec
    elif spec != "digits":
        spec += (":" if ":" not in spec else ",") + "seed=7"
    data = make("datasets", spec)
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(1))[:DATA]
    return data.batch(rows).x


def measure(
    name: str, methods: Sequence[str], nfes: Sequence[int], pictures: Path | None, known: Cells
) -> str:
    """Fill in the missing cells of a network; returns their key."""
    model = load_model(file_of(name))
    assert model.shape is not None
    count = POINTS if len(model.shape) == 1 else PICTURES
    key = f"{name} {digest(file_of(name))[:12]} {count}"
    cells = known.setdefault(key, {})
    wanted = [(m, n) for m in methods for n in nfes if f"{m} | {n}" not in cells]
    if not wanted:
        return key
    data = data_of(name, pictures)
    distance = SlicedDistance(data[count:] if len(data) > 2 * count else data)
    cells["floor"] = float(distance(data[:count]))
    classes = model.classes
    cond = {"label": torch.arange(count) % classes} if classes else {}
    for m, n in wanted:
        cells[f"{m} | {n}"] = fmean(
            float(distance(_run(model, m, n, count, cond, seed))) for seed in SEEDS
        )
    return key


def _run(
    model: Any, method: str, nfe: int, count: int, cond: dict[str, Tensor], seed: int
) -> Tensor:
    """Samples of a method; infinite if the run was not finite."""
    sampler, grid = method_of(method)
    try:
        return sample(
            model, sampler, stochastic=sampler is None, shape=(count, *model.shape), nfe=nfe, grid=grid, cond=cond,
            seed=seed,
        )  # fmt: skip
    except NonFinite:
        return torch.full((count, *model.shape), math.inf)


def ratios(cells: dict[str, float], method: str, nfes: Sequence[int]) -> list[float]:
    """Distances of a method divided by the best rival's, where all were measured."""
    measured = [
        n
        for n in nfes
        if f"{method} | {n}" in cells and all(f"{r} | {n}" in cells for r in RIVALS)
    ]
    return [
        cells[f"{method} | {n}"] / min(cells[f"{r} | {n}"] for r in RIVALS) for n in measured
    ]


def show(
    known: Cells, keys: Sequence[str], methods: Sequence[str], nfes: Sequence[int]
) -> None:
    for key in keys:
        table = Table(
            "evaluations",
            *map(str, nfes),
            title=f"{key.split(' ')[0]}: distance (floor {known[key]['floor']:.3g})",
        )
        for m in methods:
            table.add_row(m, *(f"{known[key][f'{m} | {n}']:.3g}" for n in nfes))
        console.print(table)
    table = Table(
        "method",
        "networks",
        "mean",
        "worst",
        title="distance relative to the best rival, cell by cell",
    )
    for title, names in (("choice", CHOICE), ("confirm", CONFIRM)):
        for m in methods:
            found = [
                r
                for key in keys
                if key.split(" ")[0] in names
                for r in ratios(known[key], m, nfes)
            ]
            if found:
                table.add_row(m, title, mean(found), f"{max(found):.3g}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    plain = [name for name in (*CHOICE, *CONFIRM) if not name.startswith(("mnist", "cifar"))]
    parser.add_argument("--networks", nargs="+", default=plain, metavar="NAME")
    parser.add_argument(
        "--methods", nargs="+", default=("default", *RIVALS), metavar="SAMPLER[@GRID]"
    )
    parser.add_argument("--nfes", nargs="+", type=int, default=NFES, metavar="N")
    parser.add_argument("--pictures", type=Path, help="folder with copies of mnist and cifar10")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="file that keeps the results"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    known: Cells = json.loads(args.results.read_text()) if args.results.exists() else {}
    keys = []
    for name in args.networks:
        keys.append(measure(name, args.methods, args.nfes, args.pictures, known))
        with writing(args.results) as file:
            file.write_text(json.dumps(known, indent=1) + "\n")
    show(known, keys, args.methods, args.nfes)


if __name__ == "__main__":
    main()
