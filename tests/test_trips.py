"""Small inputs on which people of other tools were led astray: what comes out is right, or it is said."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from registered import ONE_EACH

from difftool import NetworkModel, sample
from difftool.errors import DifftoolError, DifftoolWarning, NotAffine
from difftool.grids import AYS, Explicit, FlowGrid, HalfLogSNR, Karras, Leading, Normal, Simple, Trailing, Uniform
from difftool.models import Clipped, GaussianMixture, Guided
from difftool.names.specs import make
from difftool.nn import MLP
from difftool.noise import BrownianPath, Independent, check_seed
from difftool.plan import trace
from difftool.runs.recipe import Recipe
from difftool.samplers import DDIM, DDPM, DPMpp, EulerMaruyama, FlowABM, Heun, Sampler, eps_of
from difftool.sampling import choose, make_path, prepare
from difftool.schedules import VE, Betas, Cosine, DDPMLinear, Flow, ScaledLinear, Shifted, VPLinear, ZeroTerminal

F64 = torch.float64


def normal(mean=0.0):
    return GaussianMixture(torch.full((1, 1), mean, dtype=F64), 1.0)


def said(run):
    """The warnings of a run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(w.message) for w in caught if issubclass(w.category, DifftoolWarning)]


# --- steering ---------------------------------------------------------------------------------------------------------

THREE = GaussianMixture(torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.5]], dtype=F64), 0.02)
STEERED = [
    name for name in ONE_EACH if not make("samplers", name).adaptive and name != "picard"
]  # it guesses all at once


@pytest.mark.parametrize("name", STEERED)
def test_a_known_coordinate_put_in_place_at_every_row_stays_there(name):
    sampler, schedule, n = make("samplers", name), VPLinear(), 400
    path = make_path(THREE, sampler, steps=30, schedule=schedule)
    try:
        plan = trace(sampler, path)
    except NotAffine:
        return
    draw = torch.Generator().manual_seed(0)
    x, eps = path[0].sigma * torch.randn(n, 2, generator=draw, dtype=F64), torch.randn(n, generator=draw, dtype=F64)
    source = Independent().source((n, 2), seed=1, dtype=F64, origin=path[0].level)
    run, bound = plan.steps(x, noise=source), THREE.bind(schedule)
    x, p, row = next(run)
    while row.channels:
        x[:, 0] = p.alpha * 1.0 + p.sigma * eps
        x, p, row = run.send(bound.answer(x, p, row.request))
    assert float(x[:, 0].mean()) == pytest.approx(1.0, abs=0.02)
    assert float(x[:, 0].std()) < 0.05
    assert 0.3 < float((x[:, 1] > 0).double().mean()) < 0.6  # the other one is drawn given the first: about 1/2


@pytest.mark.parametrize("sampler", [DDIM(), FlowABM(2), Heun(), make("samplers", "ode")], ids=str)
@pytest.mark.parametrize("grad", [False, True], ids=["plan", "loop"])
def test_a_callback_that_writes_into_the_state_is_stopped(sampler, grad):
    def callback(step):
        step.x[:, 0] = 1.0

    options = {} if sampler.adaptive else {"steps": 5}
    with pytest.raises(DifftoolError, match="a callback must not change the state"):
        sample(THREE, sampler, shape=(3, 2), schedule=VPLinear(), callback=callback, grad=grad, **options)


# --- starts, shifts, tables -------------------------------------------------------------------------------------------


@given(st.floats(0.05, 1.0))
def test_a_start_in_the_data_from_noise_alone_is_said(start):
    grid = FlowGrid(start=start)
    lines = said(lambda: sample(normal(2.0), DDIM(), shape=(4, 1), schedule=Flow(), grid=grid, steps=3))
    assert any("starts from pure noise at t=" in line for line in lines) == (start < 0.8)
    x = torch.zeros(4, 1)
    assert not said(lambda: sample(normal(2.0), DDIM(), x=x, schedule=Flow(), grid=grid, steps=3))


@pytest.mark.parametrize("schedule", [VPLinear(), DDPMLinear(), ScaledLinear(), Cosine(), Flow(), VE(80.0)], ids=str)
def test_no_usual_start_is_said(schedule):
    for sampler in (DDIM(), DPMpp(2), EulerMaruyama()):
        for grid in (None, Karras(), Trailing(), Leading(), Uniform()):
            options = {"shape": (2, 1), "schedule": schedule, "grid": grid, "steps": 10}
            assert not said(lambda sampler=sampler, options=options: sample(normal(), sampler, **options))


def test_the_shift_of_sd3_by_its_name():
    """s' = 3 s / (1 + 2 s) in 4 steps: 1, .9, .75, .5, 0."""
    path = make_path(normal(), DDIM(), steps=4, schedule=Shifted(Flow(), 3.0), grid=Uniform())
    assert [p.sigma for p in path] == pytest.approx([1, 0.9, 0.75, 0.5, 0])


@pytest.mark.parametrize("grid", [None, FlowGrid(), Karras(), HalfLogSNR(), AYS()], ids=str)
def test_a_shift_that_does_nothing_is_said(grid):
    run = lambda schedule: sample(normal(), DDIM(), shape=(2, 1), steps=6, schedule=schedule, grid=grid)  # noqa: E731
    assert any("the shift of 3 has no effect" in line for line in said(lambda: run(Shifted(Flow(), 3.0))))
    assert not said(lambda: run(Flow()))


@pytest.mark.parametrize("grid", [Uniform(), Normal(), Simple(), Trailing()], ids=str)
def test_a_shift_of_a_grid_in_t_is_not(grid):
    assert not said(lambda: sample(normal(), DDIM(), shape=(2, 1), steps=6, schedule=Shifted(Flow(), 3.0), grid=grid))


@pytest.mark.parametrize("length", [40, 100, 1000, 4000])
@pytest.mark.parametrize("grid", [Trailing(), Leading(), Simple(), Normal()], ids=str)
def test_tables_of_any_length(length, grid):
    """The network is told the entries of its own table, and the run ends where that of the exact model does."""
    table = DDPMLinear(1e-4 * 1000 / length, 0.02 * 1000 / length, length=length)
    data, asked = normal(1.0), []

    def net(x, index):
        asked.append(index[0].item())
        p = table.at((asked[-1] + 1) / length)
        return eps_of(x, data.x0(x, p), p)

    model = NetworkModel(net, table, "eps", time="rounded-index").to(dtype=F64)
    x = torch.linspace(-2, 2, 9, dtype=F64)[:, None]
    out = sample(model, DDIM(), x=x, steps=10, grid=grid)
    assert asked == sorted(asked, reverse=True)
    assert all(0 <= i < length for i in asked)
    if not isinstance(grid, Normal):  # it is not rounded to entries
        torch.testing.assert_close(
            out, sample(data, DDIM(), x=x, steps=10, grid=grid, schedule=table), rtol=0, atol=1e-6
        )


@pytest.mark.parametrize(
    "grid", [Karras(), HalfLogSNR(), make("grids", "polyexponential"), make("grids", "beta-level")], ids=str
)
@pytest.mark.parametrize("table", [ScaledLinear(), DDPMLinear(), ZeroTerminal(), Shifted(ScaledLinear(), 2.0)], ids=str)
def test_no_network_is_asked_below_its_lowest_level(grid, table):
    for schedule in (None, VPLinear()):
        model = NetworkModel(lambda x, t: x, table, "v")
        path = make_path(model, DDIM(), steps=20, grid=grid, schedule=schedule)
        assert min(p.level for p in path[:-1]) == pytest.approx(table.level(1 / 1000), rel=1e-6)
    assert ScaledLinear().lowest == pytest.approx(0.0292, abs=1e-4)


def test_recipes_of_version_2_keep_their_lowest_level_and_numbers(tmp_path):
    from difftool.outputs.samples import save

    file = tmp_path / "a.npz"
    old = {**Recipe(grid="karras:rho=5", sampler="em").to_dict(), "version": 2}
    save(torch.zeros(2, 2), file, old)
    assert Recipe.load(file).grid == "karras:rho=5,level_min=0.002"
    assert Recipe.load(file).noise == "independent-by-call"


# --- evaluations, networks in training, labels ------------------------------------------------------------------------


class Counted(torch.nn.Module):
    classes = 10

    def __init__(self):
        super().__init__()
        self.drop, self.rows = torch.nn.Dropout(0.5), 0

    def forward(self, x, t, label=None):
        self.rows += len(x)
        return self.drop(0.1 * x + (0 if label is None else 0.01 * label.to(x.dtype).reshape(-1, 1)))


@pytest.mark.parametrize("scale", [None, 0.0, 1.0, 3.0])
@pytest.mark.parametrize("sampler", [None, DDIM(), Heun(), FlowABM(2), make("samplers", "embedded")], ids=str)
def test_evaluations_are_those_of_the_network(scale, sampler):
    net = Counted()
    model = NetworkModel(net, Cosine(), "v")
    model = model if scale is None else Guided(model, scale)
    free = {} if sampler is not None and sampler.adaptive else {"steps": 5}
    job = prepare(model, sampler, shape=(4, 2), cond={"label": 3}, **free)
    job.batch(0, 4)
    assert net.rows == 4 * job.nfe if free else net.rows <= 4 * job.nfe
    if free:
        again = prepare(model, sampler, shape=(4, 2), cond={"label": 3}, nfe=job.nfe)
        assert (again.nfe, again.steps) == (job.nfe, job.steps)


def test_the_default_of_a_guided_model_follows_from_its_steps():
    model = Guided(NetworkModel(Counted(), Cosine(), "v"), 3.0)
    assert choose(model, nfe=40) == choose(model, steps=20)
    with pytest.raises(
        DifftoolError, match=r"exactly 9 evaluations here; the closest: 8 \(steps=4\) or 10 \(steps=5\)"
    ):
        sample(model, shape=(1, 2), nfe=9, cond={"label": 1})


@pytest.mark.parametrize(
    "wrap", [lambda m: m, lambda m: Guided(m, 2.0), lambda m: Clipped(m, -1, 1)], ids=["net", "w", "clip"]
)
def test_a_network_in_training_is_sampled_in_eval_mode_and_goes_on_training(wrap):
    net = torch.nn.Sequential(Counted())[0]
    net.drop.train()
    frozen = torch.nn.Dropout(0.5).eval()
    net.frozen = frozen
    model = wrap(NetworkModel(net, VPLinear(), "eps"))
    run = lambda **more: sample(model, DDIM(), shape=(3, 2), steps=4, cond={"label": 1}, **more)  # noqa: E731
    first, second = run(), run(grad=True)
    torch.testing.assert_close(first, second)
    assert (net.training, net.drop.training, frozen.training) == (True, True, False)
    with pytest.raises(KeyboardInterrupt):
        run(callback=lambda step: (_ for _ in ()).throw(KeyboardInterrupt))
    assert (net.training, net.drop.training, frozen.training) == (True, True, False)


LABELS = [
    2, 2.0, np.int64(2), np.float32(2), torch.tensor(2), [2, 2, 2], (2, 2, 2), [2.0] * 3, np.array([2, 2, 2]),
    np.array([2.0, 2.0, 2.0]), torch.tensor([2, 2, 2]), torch.tensor([2.0, 2.0, 2.0]),
    torch.tensor([2] * 3, dtype=torch.int8),
]  # fmt: skip


@pytest.mark.parametrize("label", LABELS, ids=repr)
@pytest.mark.parametrize("name", ["digits-unet", "digits-exact"])
def test_a_label_of_any_kind(name, label):
    model = make("models", name)
    options = {"shape": (3, 1, 8, 8), "steps": 2}
    expected = sample(model, DDIM(), cond={"label": torch.tensor([2, 2, 2])}, **options)
    assert torch.equal(sample(model, DDIM(), cond={"label": label}, batch_size=3, **options), expected)
    torch.testing.assert_close(sample(model, DDIM(), cond={"label": label}, batch_size=2, **options), expected)
    guided = [Guided(model, 2.0, without={"label": other}) for other in (label, torch.tensor([2, 2, 2]))]
    one, two = (sample(m, DDIM(), cond={"label": [1, 4, 5]}, batch_size=2, **options) for m in guided)
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("label", [2.5, [1, 2.5, 3], "three", 10, [1, 2, 99], [[1], [2]], [1, 2]], ids=repr)
@pytest.mark.parametrize("name", ["digits-unet", "digits-exact"])
def test_a_label_that_is_none_is_one_line(name, label):
    with pytest.raises(DifftoolError) as caught:
        sample(make("models", name), DDIM(), shape=(3, 1, 8, 8), steps=2, cond={"label": label})
    assert "\n" not in str(caught.value)


# --- grids and samplers -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EverySecond(Sampler):
    """DDIM on every second point of the path; or on points that are put between them."""

    between: int = 0

    accuracy = 1

    def __call__(self, model, x, path, noise):
        points = list(path)[::2] if not self.between else self.more(path)
        for now, nxt in pairwise(points):
            x0 = model(x, now)
            x = nxt.alpha * x0 + nxt.sigma * eps_of(x, x0, now)
        return x

    def more(self, path):
        ends = [(a + (b - a) * i / self.between) for a, b in pairwise(path.times) for i in range(self.between)]
        return [*map(path.at, ends), path[-1]]


@pytest.mark.parametrize("between", [0, 2, 5])
def test_samplers_that_skip_grid_points_or_add_some(between):
    grid, told = Uniform(), []
    options = {"shape": (3, 1), "schedule": Cosine(), "dtype": F64}
    out = sample(
        normal(1.0), EverySecond(between), steps=6, grid=grid, callback=lambda s: told.append(s.index), **options
    )
    same = sample(normal(1.0), DDIM(), steps=6 * between or 3, grid=grid, **options)
    torch.testing.assert_close(out, same, rtol=1e-9, atol=1e-9)
    assert told == ([0, 1, 2, 3, 4, 5] if between else [0, 2, 4])


@pytest.mark.parametrize(
    "name", [name for name in ONE_EACH if not (s := make("samplers", name)).adaptive and not s.downwards_only]
)
def test_encoding_into_pure_noise_is_right_or_one_line(name):
    x, grid = torch.linspace(-2, 2, 9, dtype=F64)[:, None], list(np.linspace(0.01, 1.0, 21))
    run = lambda: sample(normal(), make("samplers", name), x=x, schedule=Flow(), grid=grid)  # noqa: E731
    try:
        refusal, out = "", run()
    except DifftoolError as error:
        refusal, out = str(error), x
    assert not refusal or "is not defined at alpha = 0, which the grid reaches at t=1; keep to t <= 0.999" in refusal
    assert bool(torch.isfinite(out).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("noise", [Independent(), BrownianPath()], ids=str)
def test_torchs_default_dtype_changes_nothing(dtype, noise):
    options = {"shape": (3, 2), "steps": 6, "schedule": VPLinear(), "noise": noise}
    expected = sample(THREE, DDPM(), **options)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert torch.equal(sample(THREE, DDPM(), **options), expected)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("name", ["churn", "restart", "predictor-corrector:step_size=level"])
def test_path_noise_that_is_none_is_said(name):
    options = {"shape": (2, 2), "steps": 6, "schedule": VPLinear()}
    run = lambda noise: sample(THREE, make("samplers", name), noise=noise, **options)  # noqa: E731
    assert any("belongs to no step" in line for line in said(lambda: run(BrownianPath())))
    assert not any("belongs to no step" in line for line in said(lambda: run(Independent())))
    assert not said(lambda: sample(THREE, DDPM(), noise=BrownianPath(), **options))


@pytest.mark.parametrize(
    ("typed", "sampler", "grid"),
    [
        ({"sampler": "DPM++ 2M Karras"}, "dpmpp-2m", "karras"),
        ({"sampler": "dpmpp_2m"}, "dpmpp-2m", None),
        ({"sampler": "DPM++ 2M", "grid": "Karras"}, "dpmpp-2m", "karras"),
        ({"sampler": "DPM++ 2M Karras", "grid": "uniform"}, "dpmpp-2m", "uniform"),
        ({"sampler": "dpmpp_2m_sde", "grid": "sgm_uniform"}, "dpmpp-2m-sde", "sgm-uniform"),
        ({"sampler": "EulerDiscreteScheduler(use_karras_sigmas=True)"}, "euler", "karras"),
        ({"sampler": "Euler a", "grid": "flow:b=2"}, "euler-a", "flow:b=2"),
        ({"sampler": "LCM"}, "lcm", None),
        ({"sampler": "Euler"}, "euler", "normal"),
        ({"sampler": "EULER"}, "euler", None),
        ({"sampler": "Unipc"}, "unipc", None),
        ({"grid": "UNIFORM"}, None, "uniform"),
        ({"sampler": "heun", "grid": "DPM++ 2M Karras"}, "heun", "karras"),
        ({"grid": "DPM++ 2M Karras"}, "dpmpp-2m", "karras"),
        (
            {"sampler": "DPMSolverMultistepScheduler(solver_order=3)"},
            "dpmpp-3m:variant=published,taper=true",
            "linspace:extra=1",
        ),
        ({"grid": "sgm_uniform"}, None, "sgm-uniform"),
    ],
    ids=str,
)
def test_other_tools_names_run_and_it_is_said_as_what(typed, sampler, grid):
    recipe, told = Recipe(**typed, steps=7, seed=3).in_our_words()
    assert (recipe.sampler, recipe.grid) == (sampler, grid)
    assert (recipe.steps, recipe.seed) == (7, 3)
    assert "runs as" in str(told)
    assert recipe.in_our_words() == (recipe, None)


@pytest.mark.parametrize(
    ("name", "last", "runs"), [("gradient_estimation", None, "mean"), ("gradient_estimation", "step", "step")]
)
def test_the_last_step_goes_with_the_names_that_have_another(name, last, runs):
    assert Recipe(sampler=name, last=last).in_our_words()[0].last == runs


@pytest.mark.parametrize(
    ("noise", "runs"), [(None, "path"), ("independent", "independent"), ("generator", "generator")]
)
def test_path_noise_goes_with_the_names_that_draw_it(noise, runs):
    recipe, told = Recipe(sampler="DPM++ SDE Karras", noise=noise).in_our_words()
    assert (recipe.sampler, recipe.grid, recipe.noise) == ("dpmpp-sde:noise=independent", "karras", runs)
    assert ("--noise path" in str(told)) == (runs == "path")


def test_what_encodes_does_not_run_downwards():
    recipe = Recipe(sampler="DPMSolverMultistepInverseScheduler()")
    assert recipe.in_our_words() == (recipe, None)
    with pytest.raises(DifftoolError, match="on a grid that runs upwards"):
        recipe.check_names()


@pytest.mark.parametrize("sampler", ["heun", "dpmpp:order=2", "nonsense", "plan.json", "uni_pc_bh3", None])
def test_what_is_ours_or_nobodys_stays(sampler):
    recipe = Recipe(sampler=sampler, grid="karras:rho=5")
    assert recipe.in_our_words() == (recipe, None)


# --- errors that show the way -----------------------------------------------------------------------------------------


class Output:
    """As diffusers' networks return it."""

    def __init__(self, x):
        self.sample = x


def ask(net, predicts="eps", **options):
    return sample(NetworkModel(net, DDPMLinear(), predicts), DDIM(), shape=(2, 3, 8, 8), steps=2, **options)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: ask(lambda x, t: x, grid=[999, 850, 0]), "use what=level or what=entry"),
        (lambda: make("grids", "karras:sigma_min=0.03"), "level_min is what other tools call sigma_min"),
        (lambda: make("grids", "exponential:sigma_max=14.6"), "at the time start"),
        (lambda: ask(lambda x, t: torch.cat([x, x], 1)), "learned_variance=True"),
        (lambda: ask(lambda x, t: Output(x)), "return its .sample instead"),
        (lambda: make("schedules", "betas:betas=0.1+0.5+1"), "use zero-terminal"),
        (lambda: make("schedules", "karras"), "karras is a grid: --grid karras"),
        (lambda: make("samplers", "cosine"), "cosine is a schedule: --schedule cosine"),
        (lambda: make("models", "tests"), "checkpoint:path=tests"),
        (lambda: make("datasets", "tests"), "folder:path=tests"),
        (lambda: make("datasets", "samples.npz"), "npz:path=samples.npz"),
        (lambda: sample(normal(), torch.nn.Sequential(*[torch.nn.ReLU()] * 50), shape=(1, 1)), "got a Sequential"),
        (lambda: sample(normal(), make("samplers", "lms"), x=torch.zeros(1, 1), schedule=Flow(), grid=[0.1, 1.0]),
         "lms is not defined at alpha = 0"),
    ],
)  # fmt: skip
def test_the_way_out_is_told(run, words, monkeypatch):
    monkeypatch.chdir(__file__.rsplit("tests", 1)[0])
    with pytest.raises(DifftoolError) as caught:
        run()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.lists(st.integers(0, 999), min_size=1, max_size=20, unique=True))
def test_entries_as_a_grid(entries):
    falling = (*sorted(entries, reverse=True), -1)
    times = Explicit(times=falling, what="entry")(DDPMLinear(), len(entries))
    assert times == pytest.approx([(i + 1) / 1000 for i in falling])
    half = Explicit(times=falling, what="entry")
    assert half(DDPMLinear(length=2000), len(entries)) == pytest.approx([(i + 1) / 2000 for i in falling])


def test_a_class_that_is_not_named_is_said():
    model = NetworkModel(Counted(), VPLinear(), "eps")
    for each in (model, Clipped(model, -9, 9)):
        assert any("classes 0 to 9" in line for line in said(lambda m=each: sample(m, DDIM(), shape=(2, 2), steps=2)))
        named = {"shape": (2, 2), "steps": 2, "cond": {"label": 1}}
        assert not any("classes" in line for line in said(lambda m=each, o=named: sample(m, DDIM(), **o)))


def test_a_velocity_from_noise_to_data_is_sampled_as_the_docstring_says():
    """torchcfm's convention: x_t = (1 - t) eps + t x_0, dx/dt = x_0 - eps."""
    data = normal(2.0)

    def net(t, x):
        s = float(1 - t[0])
        p = Flow().at(s)
        return data.x0(x, p) - eps_of(x, data.x0(x, p), p)

    model = NetworkModel(lambda x, t: -net(1 - t, x), Flow(), "flow").to(dtype=F64)
    x = torch.linspace(-2, 2, 9, dtype=F64)[:, None]
    torch.testing.assert_close(
        sample(model, Heun(), x=x, steps=20), sample(data, Heun(), x=x, steps=20, schedule=Flow()), rtol=0, atol=1e-6
    )


def test_a_broken_picture_is_not_another_one_twice(tmp_path):
    from PIL import Image

    from difftool.runs.evaluation import _batches

    for i in range(11):
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(tmp_path / f"{i:02}.png")
    (tmp_path / "04.png").write_bytes(b"broken")
    data, parts = make("datasets", f"folder:path='{tmp_path}'"), []
    assert any("skipped" in line for line in said(lambda: parts.extend(_batches(data, len(data)))))
    x = torch.cat(parts)
    assert sorted(round(255 * float(v) / 2 + 127.5) for v in x[:, 0, 0, 0]) == [20 * i for i in range(11) if i != 4]


CLASSES = [("0-9", 30, 10), ("0-3", 9, 4), ("3", 30, 6), (None, 30, 6), ("0-9", 5, 3)]


@pytest.mark.parametrize(("label", "n", "columns"), CLASSES)
def test_classes_are_laid_out_in_columns(label, n, columns):
    from difftool.cli.report import _columns
    from difftool.outputs.plots import image_grid

    made = image_grid(torch.zeros(n, 1, 8, 8), _columns(Recipe(label=label, num_samples=n)))
    assert made.width / made.height == pytest.approx(columns / math.ceil(n / columns), rel=0.05)


@given(st.integers(0, 2**63 - 1))
def test_whole_numbers_of_any_kind_are_seeds(seed):
    for kind in (np.int64, np.uint64, np.array, torch.tensor):
        assert check_seed(kind(seed)) == seed


@pytest.mark.parametrize("seed", [True, False, np.True_, 1.0, -1, 2**64, "1", None])
def test_what_is_no_seed_is_one_line(seed):
    with pytest.raises(DifftoolError, match="seed must be an int with 0 <= seed"):
        sample(normal(), EulerMaruyama(), shape=(1, 1), steps=2, seed=seed)


# --- what a review found ----------------------------------------------------------------------------------------------


def test_a_run_that_broke_off_goes_on_by_the_steps_of_its_plan():
    broken = [True]

    def net(x, t):
        return x * float("nan") if broken[0] and bool((t < 0.6).all()) else 0.3 * x

    model, sampler = NetworkModel(net, VPLinear(), "eps", shape=(2,)), Heun()
    with pytest.raises(DifftoolError) as caught:
        sample(model, sampler, shape=(3, 2), steps=6)
    state, broken[0] = caught.value.state, False
    bound, source = prepare(model, sampler, shape=(3, 2), steps=6).start(0, 3)
    run = state.plan.steps(None, noise=source, raw=bound, state=state)
    x, _, row = next(run)
    while row.channels:
        x, _, row = run.send(0.3 * x)  # what the network returns
    torch.testing.assert_close(x, sample(model, sampler, shape=(3, 2), steps=6))


def test_conditioning_that_is_no_row_of_each_sample_arrives_as_it_was():
    model = NetworkModel(lambda x, t, size=(0, 0), emb=0.0: 0 * x + size[0] + emb, Flow(), "x0", shape=(2,))
    out = sample(model, DDIM(), shape=(3, 2), steps=2, cond={"size": (64, 64)}, batch_size=2)
    torch.testing.assert_close(out, torch.full((3, 2), 64.0))
    guided = Guided(model, 2.0, without={"emb": torch.zeros(1, 2)})
    out = sample(guided, DDIM(), shape=(3, 2), steps=2, cond={"emb": torch.ones(3, 2)}, batch_size=2)
    torch.testing.assert_close(out, torch.full((3, 2), 2.0))


def test_labels_that_are_no_classes_stay_numbers():
    linear = torch.nn.Linear(1, 2)
    model = NetworkModel(lambda x, t, label: 0 * x + linear(label[:, None]), Flow(), "x0", shape=(2,))
    for label in (torch.tensor([0.0, 1.0, 2.0]), 0.5):
        assert sample(model, DDIM(), shape=(3, 2), steps=2, cond={"label": label}).shape == (3, 2)


def test_inference_mode_changes_nothing():
    model = NetworkModel(lambda x, t: 0.3 * x, Flow(), "x0", shape=(2,))
    for sampler, options in (
        (make("samplers", "dpm-adaptive"), {}),
        (Heun(), {"steps": 4}),
        (FlowABM(2), {"steps": 4}),
    ):
        run = lambda s=sampler, o=options: sample(model, s, shape=(3, 2), callback=lambda step: None, **o)  # noqa: E731
        expected = run()
        with torch.inference_mode():
            assert torch.equal(run(), expected)


def test_a_network_of_low_levels_starts_at_its_own():
    model = NetworkModel(lambda x, t: 0.1 * x, VE(sigma_max=3.0), "eps", shape=(2,))
    assert not said(lambda: sample(model, DDIM(), shape=(3, 2), steps=5, schedule=VPLinear()))


def test_what_was_typed_beside_another_tools_name_stays():
    recipe, _ = Recipe(sampler="DPM++ 2M", last="mean", nfe=5, seed=4).in_our_words()
    assert (recipe.last, recipe.nfe, recipe.seed) == ("mean", 5, 4)


# --- what a second walk found -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [DDPMLinear(length=100), VPLinear(beta_max=1.0), VE(sigma_max=1.0)], ids=str)
def test_a_schedule_that_never_reaches_noise_is_said(schedule):
    run = lambda s: sample(THREE, DDIM(), shape=(2, 2), steps=5, schedule=s)  # noqa: E731
    assert any("where states are not pure noise" in line for line in said(lambda: run(schedule)))
    assert not said(lambda: run(VPLinear()))


class Counting(torch.nn.Module):
    """Its answer is 0 in eval mode, 1 in training."""

    def forward(self, x, t):
        return 0 * x + float(self.training)


class Around:
    def __init__(self, net):
        self.net = net

    def __call__(self, x, t):
        return self.net(x, t)


ARE_WRAPPED = {
    "lambda": lambda net: lambda x, t: -net(x, t),
    "method": lambda net: net.forward,
    "partial": lambda net: partial(lambda net, x, t: net(x, t), net),
    "object": Around,
    "lambda of an object": lambda net: (lambda around: lambda x, t: around(x, t))(Around(net)),
}


@pytest.mark.parametrize("wrapped", ARE_WRAPPED.values(), ids=ARE_WRAPPED)
def test_networks_inside_of_callables_are_in_eval_mode_for_the_run(wrapped):
    net = Counting()
    model = NetworkModel(wrapped(net), Flow(), "flow")
    x = torch.ones(1, 2)
    assert torch.equal(sample(model, DDIM(), x=x, steps=2), x)
    assert net.training


@pytest.mark.parametrize("label", [-2, [-7, 1], torch.tensor([0.0, float("nan")]), 1j, 3.5])
def test_labels_that_are_none(label):
    net = MLP(2, (8,), classes=3, embedding=4)
    mixture = GaussianMixture(torch.tensor([[0.0, 1.0], [2.0, -1.0]]), 0.1, labels=torch.tensor([0, 1]))
    for model in (NetworkModel(net, Flow(), "flow"), mixture):
        with pytest.raises(DifftoolError, match=r"unknown class -|labels must be whole numbers"):
            sample(model, DDIM(), shape=(2, 2), steps=2, cond={"label": label})


def test_a_condition_of_another_name_is_told_its_name():
    with pytest.raises(DifftoolError, match="takes no 'class'; pass classes as 'label'"):
        sample(
            NetworkModel(MLP(2, (8,), classes=3, embedding=4), Flow(), "flow"), shape=(2, 2), nfe=2, cond={"class": 1}
        )


@pytest.mark.parametrize("step_size", ["sample", "batch", "level"])
def test_steps_by_the_norm_of_few_numbers_are_said(step_size):
    sampler = make("samplers", f"predictor-corrector:step_size={step_size}")
    lines = said(lambda: sample(THREE, sampler, shape=(2, 2), steps=4, schedule=VPLinear()))
    assert any("step_size=batch" in line for line in lines) == (step_size == "sample")
    lines = said(lambda: sample(THREE, sampler, shape=(2, 2), steps=4, schedule=VPLinear(), noise=BrownianPath()))
    assert any("belongs to no step" in line for line in lines)


@pytest.mark.parametrize("options", ["shift=3", "use_dynamic_shifting=True"])
def test_options_of_the_schedule_in_another_tools_name_are_not_dropped(options):
    recipe = Recipe(sampler=f"FlowMatchEulerDiscreteScheduler({options})")
    assert recipe.in_our_words() == (recipe, None)
    with pytest.raises(DifftoolError, match="the schedule shifted"):
        recipe.check_names()


@pytest.mark.parametrize(
    ("name", "plain", "flow"),
    [("Heun", "heun:variable=level", "heun"), ("euler_ancestral", "euler-a", "ancestral:down=flow")],
)
def test_names_that_mean_another_sampler_on_flows(name, plain, flow):
    assert Recipe(sampler=name).in_our_words()[0].sampler == plain
    assert Recipe(sampler=name).in_our_words(flow=True)[0].sampler == flow


def test_steps_that_are_evaluations():
    recipe, told = Recipe(sampler="DPM fast", steps=10).in_our_words()
    assert (recipe.sampler, recipe.steps, recipe.nfe) == ("dpm-fast:ending=1", None, 10)
    assert "--nfe 10" in str(told)


def test_numbers_of_any_library_and_betas_that_are_one():
    x = sample(THREE, DDIM(), shape=(3, 2), steps=2, schedule=VPLinear(), batch_size=np.int64(2))
    assert x.shape == (3, 2)
    with pytest.raises(DifftoolError, match="at least two"):
        Betas(0.1)
