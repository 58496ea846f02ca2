"""The plugin hooks: each maps names to objects, or to lazy "module:attribute" strings.

A plugin is a package with an entry point in the group `difftool` that refers to a module (or
object) with any of these functions, marked with `hookimpl`:

    from difftool.hookspecs import hookimpl

    @hookimpl
    def difftool_samplers():
        return {"my-sampler": "my_package.samplers:MySampler"}

Names consist of letters, digits, and . _ -; built-in names always win, and a name that two plugins
offer is refused. Fields (or parameters) are the options, typed by their annotations. Import torch
inside functions: listing an axis loads all of its objects.
"""

from __future__ import annotations

from collections.abc import Mapping

import pluggy

hookspec = pluggy.HookspecMarker("difftool")
hookimpl = pluggy.HookimplMarker("difftool")


@hookspec
def difftool_schedules() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Names to `Schedule` classes."""


@hookspec
def difftool_grids() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Names to `Grid` classes."""


@hookspec
def difftool_models() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Names to functions or classes that create a `Model`; their parameters are options."""


@hookspec
def difftool_samplers() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Names to `Sampler` classes."""


@hookspec
def difftool_datasets() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Names to functions or classes that create a `Dataset`; their parameters are options."""


@hookspec
def difftool_networks() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Names to `torch.nn.Module` classes, called as net(x, time, **cond); parameters: options.

    The parameters `channels` or `size`, `classes` and `text` are filled in from the data.
    """


@hookspec
def difftool_weightings() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Names to `Weighting` classes: the loss weight at each noise level."""


@hookspec
def difftool_times() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Names to `Times` classes: the distribution of training times."""


@hookspec
def difftool_features() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Names to functions or classes that create `Features`, for comparing pictures."""


@hookspec
def difftool_commands() -> Mapping[str, object]:  # type: ignore[empty-body]
    """Names to functions with typer annotations, one per CLI command."""
