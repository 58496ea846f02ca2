"""Every scheduler, sampler and function of the packages has a row in the atlas, and every option an answer."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from difftool.names import atlas

FOLDERS = {"diffusers": ("diffusers", "schedulers"), "azula": ("azula", "."), "k-diffusion": ("k_diffusion", ".")}
OF_A_STEP = {
    *("model_output", "timestep", "sample", "generator", "return_dict", "variance_noise", "pred_original_sample"),
    *("old_pred_original_sample", "timestep_back", "sigma_hat", "sigma_prev", "sample_hat"),
}


def things(tool):
    """The classes and functions of a package by name, read and not imported."""
    package, folder = FOLDERS[tool]
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{tool} is not installed")
    files = sorted((Path(spec.submodule_search_locations[0]) / folder).rglob("*.py"))
    nodes = [node for file in files for node in ast.parse(file.read_text(encoding="utf-8")).body]
    return {node.name: node for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def options(node):
    """The options of a function, or of `__init__` and `step`: the text of the default, or None."""
    if isinstance(node, ast.ClassDef):
        own = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name in ("__init__", "step")]
        return {key: text for method in own for key, text in options(method).items() if key != "self"}
    keys, defaults = node.args.args, node.args.defaults
    texts = [None] * (len(keys) - len(defaults)) + list(map(ast.unparse, defaults))
    given = dict(zip([key.arg for key in keys], texts, strict=True))
    only = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return given | {key.arg: text and ast.unparse(text) for key, text in only}


def value(text):
    """A default as it is written in the table."""
    number = re.fullmatch(r"(-?)float\(.inf.\)", text)
    return f"{number[1]}inf" if number else str(ast.literal_eval(text)) if "/" not in text else str(eval(text))


def test_every_scheduler_of_diffusers_and_every_option():
    found = {name: set(options(node)) for name, node in things("diffusers").items() if name.endswith("Scheduler")}
    tool = atlas.tool("diffusers")
    rows = {name: [row for row in tool.rows["samplers"] if row.head == name] for name in found}
    assert [name for name in found if not rows[name]] == []
    assert {row.head for row in tool.rows["samplers"]} == set(found)
    for name, theirs in found.items():
        answered = set().union(*(row.looked_at for row in rows[name]))
        assert answered <= theirs, name
        if any(row.ours for row in rows[name]):
            grids = {key for row in tool.rows["grids"] if name in row.of for key in row.looked_at}
            told = {key.removeprefix(f"{name}.") for key in (*tool.options, *tool.without)}
            assert theirs - OF_A_STEP - answered - grids - told == set(), name
    for row in tool.rows["grids"]:
        (key,) = row.options
        having = {name for name, theirs in found.items() if key in theirs}
        assert {name for other in tool.rows["grids"] if key in other.options for name in other.of} == having, row.name


def test_every_sampler_of_azula():
    found = {name for name in things("azula") if name.endswith("Sampler")} - {"Sampler"}
    assert {row.head for row in atlas.tool("azula").rows["samplers"]} == found


def test_every_function_of_k_diffusion():
    found = {name: set(options(node)) for name, node in things("k-diffusion").items()}
    functions = {name for name in found if name.startswith(("sample_", "get_sigmas_"))}
    tool = atlas.tool("k-diffusion")
    rows = [row for rows in tool.rows.values() for row in rows]
    assert {row.head for row in rows} - {"log_likelihood"} == functions
    for row in rows:
        assert row.looked_at <= found.get(row.head, set()), row.name
        if row.ours:
            assert found[row.head] - {*tool.options, *tool.without} <= {*tool.defaults}, row.name


@pytest.mark.parametrize("tool", FOLDERS)
def test_defaults(tool):
    """Those of all options that a row answers, or that make an answer differ."""
    of, found = atlas.tool(tool), things(tool)
    heads = {row.head for rows in of.rows.values() for row in rows if row.ours and row.head}
    for head in heads:
        for key, text in options(found[head]).items():
            told = key in of.options or f"{head}.{key}" in of.options
            if text is not None and not told and key not in OF_A_STEP:
                assert atlas.fits(atlas.Row(f"{head}({key}={value(text)})"), {}, {key: of.default(key, head)}), (
                    head,
                    key,
                )


def test_what_clips_x0_by_default_says_so():
    """Those that read the option: CogVideoX' schedulers have it and do not."""
    rows = [row for row in atlas.tool("diffusers").rows["samplers"] if row.ours]
    found = things("diffusers")
    for row in rows:
        node = found[row.head]
        clips = [key for key in ("clip_sample", "clip_denoised") if options(node).get(key) == "True"]
        read = [key for key in clips if f"self.config.{key}:" in ast.unparse(node)]
        assert [row.needs.get(key) for key in read] == ["False"] * len(read), row.name


def test_spacing_does_nothing_beside_levels_of_the_whole_table():
    """As the rows of schedulers with a history say; in others it moves the ends."""
    diffusers = pytest.importorskip("diffusers")
    for row in atlas.tool("diffusers").rows["grids"]:
        if "timestep_spacing" in row.idle:
            for name in row.of:
                found = [levels(getattr(diffusers, name), row.options, spacing) for spacing in ("linspace", "trailing")]
                assert found[0] == found[1], (name, row.name)
    euler = [
        levels(diffusers.EulerDiscreteScheduler, {"use_karras_sigmas": "True"}, s) for s in ("linspace", "leading")
    ]
    assert euler[0] != euler[1]


def levels(scheduler, switch, spacing):
    made = scheduler(**dict.fromkeys(switch, True), timestep_spacing=spacing)
    made.set_timesteps(9)
    return made.sigmas.tolist()
