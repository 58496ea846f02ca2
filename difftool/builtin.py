"""The built-in plugin: what difftool itself registers. Adding a sampler is its file and one line here."""

from __future__ import annotations

from difftool.hookspecs import hookimpl


@hookimpl
def difftool_schedules() -> dict[str, str]:
    return {
        "vp-linear": "difftool.schedules.vp:VPLinear",
        "sub-vp": "difftool.schedules.vp:SubVP",
        "ddpm-linear": "difftool.schedules.table:DDPMLinear",
        "scaled-linear": "difftool.schedules.table:ScaledLinear",
        "betas": "difftool.schedules.table:Betas",
        "cosine": "difftool.schedules.vp:Cosine",
        "shifted-cosine": "difftool.schedules.transform:shifted_cosine",
        "sigmoid": "difftool.schedules.gamma:Sigmoid",
        "laplace": "difftool.schedules.gamma:Laplace",
        "ve": "difftool.schedules.ve:VE",
        "ve-geometric": "difftool.schedules.ve:GeometricVE",
        "flow": "difftool.schedules.flow:Flow",
        "shifted": "difftool.schedules.transform:Shifted",
        "zero-terminal": "difftool.schedules.transform:ZeroTerminal",
    }


@hookimpl
def difftool_grids() -> dict[str, str]:
    return {
        "uniform": "difftool.grids:Uniform",
        "quadratic": "difftool.grids:Quadratic",
        "half-log-snr": "difftool.grids:HalfLogSNR",
        "flow": "difftool.grids:FlowGrid",
        "karras": "difftool.grids:Karras",
        "explicit": "difftool.grids:Explicit",
    }


@hookimpl
def difftool_models() -> dict[str, str]:
    return {
        "digits-exact": "difftool.presets:digits_exact",
        "eight-gaussians": "difftool.presets:eight_gaussians",
    }


@hookimpl
def difftool_samplers() -> dict[str, str]:
    return {
        "ddpm": "difftool.samplers.ddpm:DDPM",
        "ddim": "difftool.samplers.ddim:DDIM",
        "em": "difftool.samplers.sde:EulerMaruyama",
        "euler": "difftool.samplers.ode:Euler",
        "heun": "difftool.samplers.ode:Heun",
        "ode": "difftool.samplers.adaptive:AdaptiveODE",
        "annealed-langevin": "difftool.samplers.langevin:AnnealedLangevin",
        "predictor-corrector": "difftool.samplers.langevin:PredictorCorrector",
    }


@hookimpl
def difftool_commands() -> dict[str, str]:
    return {
        "sample": "difftool.cli.sample:sample",
        "list": "difftool.cli.list:list_names",
        "show": "difftool.cli.show:show",
        "plan": "difftool.cli.plan:plan",
        "check": "difftool.cli.check:check",
    }
