"""The built-in plugin: what difftool itself registers. A new sampler needs one line here."""

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
        "leading": "difftool.grids:Leading",
        "ddim-uniform": "difftool.grids:ddim_uniform",
        "trailing": "difftool.grids:Trailing",
        "linspace": "difftool.grids:Linspace",
        "simple": "difftool.grids:Simple",
        "normal": "difftool.grids:Normal",
        "sgm-uniform": "difftool.grids:SGMUniform",
        "flow": "difftool.grids:FlowGrid",
        "linear-quadratic": "difftool.grids:LinearQuadratic",
        "half-log-snr": "difftool.grids:HalfLogSNR",
        "exponential": "difftool.grids:HalfLogSNR",
        "polyexponential": "difftool.grids:PolyExponential",
        "karras": "difftool.grids:Karras",
        "kl-optimal": "difftool.grids:KLOptimal",
        "beta": "difftool.grids:Beta",
        "beta-entries": "difftool.grids:BetaEntries",
        "beta-level": "difftool.grids:BetaLevel",
        "ays": "difftool.grids:AYS",
        "gits": "difftool.grids:GITS",
        "explicit": "difftool.grids:Explicit",
        "file": "difftool.grids:from_file",
    }


@hookimpl
def difftool_models() -> dict[str, str]:
    return {
        "digits-exact": "difftool.zoo:digits_exact",
        "eight-gaussians": "difftool.zoo:eight_gaussians",
        "digits-unet": "difftool.zoo:digits_unet",
        "moons": "difftool.zoo:moons",
        "checkpoint": "difftool.zoo:checkpoint",
    }


@hookimpl
def difftool_samplers() -> dict[str, str]:
    return {
        "ddpm": "difftool.samplers.ddpm:DDPM",
        "ddim": "difftool.samplers.ddim:DDIM",
        "em": "difftool.samplers.sde:EulerMaruyama",
        "flow-abm": "difftool.samplers.flow_abm:FlowABM",
        "flow-sde": "difftool.samplers.flow_sde:FlowSDE",
        "euler": "difftool.samplers.runge_kutta:Euler",
        "heun": "difftool.samplers.runge_kutta:Heun",
        "midpoint": "difftool.samplers.runge_kutta:Midpoint",
        "ralston": "difftool.samplers.runge_kutta:Ralston",
        "heun3": "difftool.samplers.runge_kutta:Heun3",
        "kutta3": "difftool.samplers.runge_kutta:Kutta3",
        "rk4": "difftool.samplers.runge_kutta:RK4",
        "runge-kutta": "difftool.samplers.runge_kutta:RungeKutta",
        "adams": "difftool.samplers.adams:Adams",
        "dpmpp": "difftool.samplers.dpmpp:DPMpp",
        "dpmpp-2m": "difftool.samplers.dpmpp:dpmpp_2m",
        "dpmpp-3m": "difftool.samplers.dpmpp:dpmpp_3m",
        "dpmpp-2m-sde": "difftool.samplers.dpmpp:dpmpp_2m_sde",
        "dpmpp-3m-sde": "difftool.samplers.dpmpp:dpmpp_3m_sde",
        "singlestep": "difftool.samplers.singlestep:Singlestep",
        "dpm-solver-1": "difftool.samplers.singlestep:dpm_solver_1",
        "dpm-solver-2": "difftool.samplers.singlestep:dpm_solver_2",
        "dpm-solver-3": "difftool.samplers.singlestep:dpm_solver_3",
        "dpm-fast": "difftool.samplers.singlestep:dpm_fast",
        "dpmpp-2s": "difftool.samplers.singlestep:dpmpp_2s",
        "dpmpp-3s": "difftool.samplers.singlestep:dpmpp_3s",
        "res-2s": "difftool.samplers.singlestep:res_2s",
        "unipc": "difftool.samplers.unipc:UniPC",
        "unip": "difftool.samplers.unipc:unip",
        "sa-solver": "difftool.samplers.sa:SASolver",
        "lms": "difftool.samplers.adams:lms",
        "deis": "difftool.samplers.adams:deis",
        "flow-ab": "difftool.samplers.adams:flow_ab",
        "exponential-adams": "difftool.samplers.adams:exponential_adams",
        "ode": "difftool.samplers.adaptive:AdaptiveODE",
        "embedded": "difftool.samplers.embedded:EmbeddedRK",
        "dpm-adaptive": "difftool.samplers.dpm_adaptive:DPMAdaptive",
        "gotta-go-fast": "difftool.samplers.gotta_go_fast:GottaGoFast",
        "annealed-langevin": "difftool.samplers.langevin:AnnealedLangevin",
        "predictor-corrector": "difftool.samplers.langevin:PredictorCorrector",
        "churn": "difftool.samplers.churn:Churn",
        "ancestral": "difftool.samplers.ancestral:Ancestral",
        "euler-a": "difftool.samplers.ancestral:euler_a",
        "dpm-2-a": "difftool.samplers.ancestral:dpm_2_a",
        "dpmpp-2s-a": "difftool.samplers.ancestral:dpmpp_2s_a",
        "restart": "difftool.samplers.restart:Restart",
        "dpm-2": "difftool.samplers.karras:DPM2",
        "heunpp2": "difftool.samplers.karras:HeunPP2",
        "reverse-diffusion": "difftool.samplers.sde:ReverseDiffusion",
        "gradient-estimation": "difftool.samplers.gradient_estimation:GradientEstimation",
        "interpolant": "difftool.samplers.interpolant:Interpolant",
        "seeds-1": "difftool.samplers.seeds:Seeds1",
        "seeds-2": "difftool.samplers.seeds:Seeds2",
        "seeds-3": "difftool.samplers.seeds:Seeds3",
        "exp-heun": "difftool.samplers.seeds:exp_heun",
        "dpmpp-sde": "difftool.samplers.dpmpp_sde:DPMppSDE",
        "er-sde": "difftool.samplers.er_sde:ERSDE",
        "ipndm": "difftool.samplers.ipndm:IPNDM",
        "ipndm-v": "difftool.samplers.ipndm:ipndm_v",
        "pndm-prk": "difftool.samplers.pndm:PNDM",
        "pndm-plms": "difftool.samplers.pndm:pndm_plms",
        "reab": "difftool.samplers.reab:REAB",
        "stork": "difftool.samplers.stork:Stork",
        "stork-4": "difftool.samplers.stork:stork_4",
        "dpm-solver-v3": "difftool.samplers.dpm_solver_v3:DPMSolverV3",
        "consistency": "difftool.samplers.distilled:Consistency",
        "lcm": "difftool.samplers.distilled:lcm",
        "tcd": "difftool.samplers.distilled:TCD",
        "picard": "difftool.samplers.picard:Picard",
    }


@hookimpl
def difftool_datasets() -> dict[str, str]:
    return {
        "digits": "difftool.data.digits:dataset",
        "moons": "difftool.data.toys:moons",
        "rings": "difftool.data.toys:rings",
        "eight-gaussians": "difftool.data.toys:eight_gaussians",
        "swiss-roll": "difftool.data.toys:swiss_roll",
        "checkerboard": "difftool.data.toys:checkerboard",
        "grid": "difftool.data.toys:grid",
        "folder": "difftool.data.folder:Folder",
        "npz": "difftool.data.given:npz",
        "hub": "difftool.data.hub:Hub",
        "mnist": "difftool.data.hub:mnist",
        "cifar10": "difftool.data.hub:cifar10",
        "lsun-bedrooms": "difftool.data.hub:lsun_bedrooms",
    }


@hookimpl
def difftool_networks() -> dict[str, str]:
    return {"mlp": "difftool.nn:MLP", "unet": "difftool.nn:UNet", "dit": "difftool.nn:DiT"}


@hookimpl
def difftool_weightings() -> dict[str, str]:
    return {
        "simple": "difftool.training.weightings:Simple",
        "output": "difftool.training.weightings:Output",
        "edm": "difftool.training.weightings:EDM",
        "min-snr": "difftool.training.weightings:MinSNR",
        "vlb": "difftool.training.weightings:VLB",
    }


@hookimpl
def difftool_times() -> dict[str, str]:
    return {
        "uniform": "difftool.training.times:UniformTimes",
        "stratified": "difftool.training.times:StratifiedTimes",
        "table": "difftool.training.times:TableTimes",
        "logit-normal": "difftool.training.times:LogitNormalTimes",
        "log-normal": "difftool.training.times:LogNormalTimes",
    }


@hookimpl
def difftool_features() -> dict[str, str]:
    return {
        "onnx": "difftool.metrics.features:onnx",
        "inception": "difftool.metrics.features:inception",
    }


@hookimpl
def difftool_commands() -> dict[str, str]:
    return {
        "sample": "difftool.cli.sample:sample",
        "list": "difftool.cli.list:list_names",
        "show": "difftool.cli.show:show",
        "plan": "difftool.cli.plan:plan",
        "check": "difftool.cli.check:check",
        "train": "difftool.cli.train:train",
        "experiments": "difftool.cli.experiments:experiments",
        "forward": "difftool.cli.forward:forward",
        "trajectory": "difftool.cli.trajectory:trajectory",
        "interpolate": "difftool.cli.interpolate:interpolate",
        "neighbors": "difftool.cli.neighbors:neighbors",
        "evaluate": "difftool.cli.evaluate:evaluate",
        "statistics": "difftool.cli.statistics:statistics",
    }
