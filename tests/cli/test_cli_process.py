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

from difftool.cli.guard import guarding
from difftool.errors import DifftoolError

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


REFUSED = [
    ("sample --steps 0", "steps"),
    ("sample --out nowhere/a.png", "no such folder"),
    ("sample --recipe nowhere.png", "cannot read nowhere.png"),
    ("sample --sampler hein", "did you mean heun"),
    ("sample --sampler hein:order=2", "no sampler 'hein'"),
    ("sample --sampler DPM++", "no sampler 'DPM++'"),
    ("sample --grid krras", "did you mean karras"),
    ("sample --schedule cosin", "did you mean cosine"),
    ("sample --schedule karras", "karras is a grid: --grid karras"),
    ("sample --model digits-unit", "did you mean digits-unet"),
    ("trajectory --sampler hein", "did you mean heun"),
    ("interpolate --model moon", "did you mean moons"),
    ("plan hein", "did you mean heun"),
    ("plan ddim --grid sgm_uniform", "sgm_uniform is sgm-uniform here"),
    ("plan ddim --schedule cosin", "did you mean cosine"),
    ("plan ddim --model moon", "did you mean moons"),
    ("show hein", "did you mean heun"),
    ("show default --model moon", "did you mean moons"),
    ("show --as a1111 hein", "no sampler or grid 'hein'"),
    ("check hein:order=2", "did you mean heun"),
    ("evaluate --sampler hein", "did you mean heun"),
    ("evaluate --data digitz", "did you mean digits"),
    ("evaluate --against digitz", "did you mean digits"),
    ("evaluate --exact moon", "did you mean moons"),
    ("evaluate --features incepton", "did you mean inception"),
    ("evaluate samples.npz --data digitz", "did you mean digits"),
    ("forward --data digitz", "did you mean digits"),
    ("forward --schedule karras", "karras is a grid"),
    ("neighbors samples.npz --data digitz", "did you mean digits"),
    ("neighbors samples.npz --against digitz", "did you mean digits"),
    ("statistics --model moon", "did you mean moons"),
    ("train --data moon", "did you mean moons"),
    ("train --network unit", "did you mean unet"),
    ("train --schedule karras", "karras is a grid"),
    ("train --weighting simpel", "did you mean simple"),
    ("train --times unifrm", "did you mean uniform"),
]


@pytest.mark.parametrize(
    ("line", "says"),
    [*REFUSED[::3], *(pytest.param(*pair, marks=pytest.mark.slow) for pair in REFUSED if pair not in REFUSED[::3])],
)
def test_refuses_before_torch_is_imported(tmp_path, line, says):
    code = "import sys\nsys.modules['torch'] = None\nfrom difftool.cli.app import main\nmain()"
    out = subprocess.run(
        [sys.executable, "-c", code, *line.split()], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert out.returncode == 2
    assert out.stderr.count("\n") == 1
    assert says in out.stderr


@pytest.mark.parametrize(
    "line",
    [
        "sample --sampler DPM++_2M_Karras",
        "sample --sampler plan.json",
        "trajectory --grid sgm_uniform",
        "plan plan.json",
        "evaluate --features network.onnx",
        "train --resume nowhere",
    ],
)
def test_what_may_run_is_left_to_what_runs_it(tmp_path, line):
    """Other tools' names, and files in the place of names."""
    code = "import sys\nsys.modules['torch'] = None\nfrom difftool.cli.app import main\nmain()"
    words = [word.replace("_", " ") if "++" in word else word for word in line.split()]
    out = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert "import of torch halted" in out.stderr


def test_exit_codes(tmp_path):
    assert difftool("--version", folder=tmp_path).returncode == 0
    wrong = difftool("show", "nothing", folder=tmp_path)
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert difftool("bogus", folder=tmp_path).returncode == 2
    assert difftool(folder=tmp_path).returncode == 2  # the help, and nothing done


PRINTING = ["list", "list --json", "show em", "--version", "--help"]


@pytest.mark.parametrize("line", PRINTING)
def test_a_reader_that_has_enough(tmp_path, line):
    process = subprocess.Popen(
        command(*line.split()), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("line", PRINTING)
def test_a_full_disk(tmp_path, line):
    with open("/dev/full", "w") as full:
        out = subprocess.run(
            command(*line.split()), cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert out.returncode == 2
    assert out.stderr.count("\n") == 1
    assert os.strerror(28) in out.stderr


def test_a_terminal_that_cannot_show_a_name(tmp_path):
    source = (
        "from difftool.hookspecs import hookimpl\n"
        "def say(): print('n\\u00f6')\n"
        "@hookimpl\n"
        "def difftool_commands(): return {'say': say}\n"
    )
    site = install(tmp_path / "site", "say", "1", {"say": "say_plugin"}, say_plugin=source)
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = difftool("say", folder=tmp_path, env=environment(site, **ascii_only))
    assert (done.returncode, done.stdout, done.stderr) == (0, "n\\xf6\n", "")
    wrong = difftool("show", "n\u00f6", folder=tmp_path, env=environment(**ascii_only))
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def heed_ctrl_c():
    """What a shell starts in the background ignores Ctrl-C, and so would the programs that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_in_the_middle(tmp_path):
    source = (Path(__file__).parent / "faulty.py").read_text()
    place = install(tmp_path / "site", "faulty", "1", {"faulty": "faulty"}, faulty=source)
    work, marker = tmp_path / "work", tmp_path / "marker"
    work.mkdir()
    process = subprocess.Popen(
        command("sample", "--model", f"slow:marker={marker}", "--steps", "1000", "--out", "a.npz"), cwd=work,
        env=environment(place), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    while not marker.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err == "difftool: interrupted; no half-written files were left behind\n"
    assert list(work.iterdir()) == []


def test_ctrl_c_while_starting(tmp_path):
    """During the first imports, and wherever typer is."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from difftool.cli import app\nprint('up', flush=True)\napp.main()", "sample"],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "difftool: interrupted; no half-written files were left behind\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            SystemExit(130),
            130,
            "difftool: interrupted; no half-written files were left behind\n",
        ),
        (KeyboardInterrupt(), 130, "difftool: interrupted; no half-written files were left behind\n"),
        (DifftoolError("one\ntwo"), 2, "difftool: error: one two\n"),
        (FileNotFoundError(2, "No such file", "a.txt"), 2, "difftool: error: a.txt: No such file\n"),
        (BrokenPipeError(), 1, ""),
        (SystemExit(3), 3, ""),
    ],
)
def test_ends_are_told_once(capsys, error, code, says):
    """A command stands under two guards, its own and that of the whole program."""
    with pytest.raises(SystemExit) as caught, guarding(), guarding():
        raise error
    assert caught.value.code == code
    assert capsys.readouterr().err == says
