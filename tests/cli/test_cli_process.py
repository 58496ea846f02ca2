"""What only a process can show: its exit code, what it imports, Ctrl-C, a pipe that closes, a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from installed import command, difftool, environment, install

HEAVY = ("torch", "numpy", "scipy", "matplotlib", "PIL", "pydantic")


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "--version",
        "list",
        "list samplers",
        "list --json",
        "show flow",
        "show em --json",
        "sample -h",
        "plan -h",
    ],
)
def test_answers_without_heavy_imports(tmp_path, line):
    code = (
        "import sys\n"
        "from difftool.cli.app import main\n"
        "try: main()\n"
        "finally: print([m for m in sys.modules if '.' not in m], file=sys.stderr)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, *line.split()], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert out.returncode == 0
    assert out.stdout
    imported = eval(out.stderr.splitlines()[-1])
    assert "typer" in imported
    assert not set(imported) & set(HEAVY)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("sample --steps 0", "steps"),
        ("sample --out nowhere/a.png", "no such folder"),
        ("sample --recipe nowhere.png", "cannot read nowhere.png"),
    ],
)
def test_refuses_before_torch_is_imported(tmp_path, line, says):
    code = "import sys\nsys.modules['torch'] = None\nfrom difftool.cli.app import main\nmain()"
    out = subprocess.run(
        [sys.executable, "-c", code, *line.split()], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert out.returncode == 2
    assert out.stderr.count("\n") == 1
    assert says in out.stderr


def test_exit_codes(tmp_path):
    assert difftool("--version", folder=tmp_path).returncode == 0
    wrong = difftool("show", "nothing", folder=tmp_path)
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert difftool("bogus", folder=tmp_path).returncode == 2
    assert difftool(folder=tmp_path).returncode == 2  # the help, and nothing done


def test_a_reader_that_has_enough(tmp_path):
    process = subprocess.Popen(
        command("list"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk(tmp_path):
    with open("/dev/full", "w") as full:
        out = subprocess.run(
            command("list"), cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert out.returncode == 2
    assert out.stderr.count("\n") == 1
    assert os.strerror(28) in out.stderr


def test_a_terminal_that_cannot_show_a_name(tmp_path):
    env = environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    wrong = difftool("show", "nö", folder=tmp_path, env=env)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_ctrl_c_in_the_middle(tmp_path):
    source = (Path(__file__).parent / "faulty.py").read_text()
    place = install(tmp_path / "site", "faulty", "1", {"faulty": "faulty"}, faulty=source)
    work, marker = tmp_path / "work", tmp_path / "marker"
    work.mkdir()
    process = subprocess.Popen(
        command("sample", "--model", f"slow:marker={marker}", "--steps", "1000", "--out", "a.npz"), cwd=work,
        env=environment(place), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not marker.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err == "difftool: interrupted; nothing half-written was left behind\n"
    assert list(work.iterdir()) == []


def test_ctrl_c_while_starting(tmp_path):
    """During the first imports, and wherever typer is."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from difftool.cli import app\nprint('up', flush=True)\napp.main()", "sample"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "difftool: interrupted; nothing half-written was left behind\n"
    assert list(tmp_path.iterdir()) == []
