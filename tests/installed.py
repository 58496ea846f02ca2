"""Distributions as pip would leave them: modules and a dist-info folder, for a process that finds them on its path."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


def install(folder: Path, name: str, version: str, entry_points: dict[str, str], **modules: str) -> Path:
    """Writes the modules (name to source) and the metadata of a distribution into a folder, and returns it."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{key} = {value}" for key, value in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[difftool]", *lines, ""]))
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)
    return folder


def environment(*folders: Path, **variables: str) -> dict[str, str]:
    """The environment of a process that finds those folders, and the difftool that is under test."""
    path = os.pathsep.join(map(str, [*folders, Path(find_spec("difftool").origin).parents[1]]))  # type: ignore[arg-type, union-attr]
    ours = ("DIFFTOOL_PLUGINS", "PYTHONPATH", "PYTHONUNBUFFERED")
    known = {key: value for key, value in os.environ.items() if key not in ours}
    return {**known, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **variables}


def command(*arguments: str) -> list[str]:
    """The command line of `difftool`, whatever the folder of scripts is."""
    return [sys.executable, "-c", "from difftool.cli.app import main; main()", *arguments]


def difftool(*arguments: str, folder: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`difftool` as a process of its own, in a folder."""
    return subprocess.run(
        command(*arguments), cwd=folder, env=env or environment(), capture_output=True, text=True, timeout=120
    )
