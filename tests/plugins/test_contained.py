"""Plugins that are hostile, broken or slow, in processes: none takes the tool with it, and none is imported unasked."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from installed import difftool, environment, install

from difftool.names.plugins import SECONDS

HEAD = "from difftool.hookspecs import hookimpl\n"
SAMPLERS = HEAD + "@hookimpl\ndef difftool_samplers(): return {names}\n"
MINE = SAMPLERS.format(names="{'mine': 'difftool.samplers:DDIM'}")
NOTES = "open(__file__ + '.imported', 'a').write('x')\n"  # how often a module was imported


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """`tool(source)(*arguments)`: the command with a plugin `bad` of that source, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def with_plugin(source: str, name: str = "bad", **others: str):
        site = install(tmp_path / "site", f"{name}-plugin", "1", {name: f"{name}_plugin"}, **{f"{name}_plugin": source})
        for other, its in others.items():
            install(tmp_path / "site", f"{other}-plugin", "1", {other: f"{other}_plugin"}, **{f"{other}_plugin": its})
        env = environment(site, XDG_CACHE_HOME=str(tmp_path / "cache"))

        def run(*arguments: str):
            begin = time.monotonic()
            done = difftool(*arguments, folder=tmp_path, env=env)
            done.seconds = time.monotonic() - begin
            assert "Traceback" not in done.stderr
            return done

        run.imported = lambda: len(list_of(site / f"{name}_plugin.py.imported"))
        run.site = site
        return run

    return with_plugin


def list_of(file: Path) -> str:
    return file.read_text() if file.exists() else ""


FATAL = {
    "an error": ("import nothing_at_all", "ModuleNotFoundError"),
    "no Python": ("def (", "SyntaxError"),
    "a base exception": ("class Skipped(BaseException): pass\nraise Skipped('here')", "Skipped: here"),
    "an exit": ("raise SystemExit(3)", "SystemExit: 3"),
    "an end": ("import os; os._exit(0)", "ended the process"),
    "a crash": ("import os; os.kill(os.getpid(), 11)", "ended the process"),
    "an interrupt": ("raise KeyboardInterrupt", "ended the process"),
    "items that raise": (
        HEAD + "class Names(dict):\n    def items(self): raise RuntimeError('no')\n"
        "@hookimpl\ndef difftool_samplers(): return Names(a=1)",
        "RuntimeError: no",
    ),
    "no hook": ("def difftool_samplers(): return {'mine': 'difftool.samplers:DDIM'}", "@hookimpl"),
    "a wrong name": (SAMPLERS.format(names="{'a:b': 1}"), "'a:b'"),
    "control characters": ("raise RuntimeError('\\x1b[31mred')", "red"),
}


@pytest.mark.parametrize("kind", FATAL)
def test_one_line_and_nothing_else(tool, kind):
    source, says = FATAL[kind]
    run = tool(source)
    listed = run("list", "samplers", "--json")
    assert listed.returncode == 0, listed.stderr
    assert any(row["name"] == "ddim" for row in json.loads(listed.stdout)["samplers"])
    (line,) = listed.stderr.splitlines()
    assert line.startswith("difftool: warning: plugin 'bad' of bad-plugin 1 ")
    assert says in line
    assert "\x1b" not in line
    assert run("--help").stderr == listed.stderr
    assert run("show", "ddim").returncode == 0
    plain = run("plan", "ddim", "--steps", "2")
    assert (plain.returncode, plain.stderr) == (0, "")  # no plugin was looked at


def test_prints_do_not_get_into_the_output(tool):
    run = tool("print('hello')\n" + MINE)
    listed = run("list", "samplers", "--json")
    assert "mine" in {row["name"] for row in json.loads(listed.stdout)["samplers"]}
    (line,) = listed.stderr.splitlines()
    assert "printed at its import: 'hello'" in line
    assert json.loads(run("show", "mine", "--json").stdout)[0]["name"] == "mine"


@pytest.mark.slow
def test_one_that_hangs(tool):
    run = tool("import time; time.sleep(1000)")
    first = run("--help")
    assert SECONDS <= first.seconds < SECONDS + 5
    assert "takes more than 10 s" in first.stderr
    assert run("--help").seconds < SECONDS / 2  # it is known by now
    assert run("plan", "ddim", "--steps", "2").stderr == ""


def test_built_in_names_never_import_one(tool):
    run = tool(NOTES + MINE)
    for arguments in (["plan", "ddim", "--steps", "2"], ["sample", "--help"], ["--version"], ["list", "--help"]):
        assert run(*arguments).returncode == 0
    assert run.imported() == 0
    assert "sample" in run("--help").stdout
    assert run.imported() == 1  # in a process of its own
    assert run("--help").returncode == 0
    assert run.imported() == 1
    assert run("plan", "mine", "--steps", "2").returncode == 0
    assert run.imported() == 2  # because it is used


def test_a_plugin_that_changes_is_asked_again(tool):
    run = tool(MINE)
    assert run("plan", "mine", "--steps", "2").returncode == 0
    (run.site / "bad_plugin.py").write_text(MINE.replace("mine", "yours"))
    assert run("plan", "yours", "--steps", "2").returncode == 0
    gone = run("plan", "mine", "--steps", "2")
    assert (gone.returncode, gone.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    "content", ["", "nonsense", "[]", "{}", '{"a": 3}', '{"a": {"names": {"x": 1}, "problem": ""}}']
)
def test_a_damaged_cache_is_made_again(tool, tmp_path, content):
    run = tool(MINE)
    cache = tmp_path / "cache" / "difftool" / "plugins.json"
    cache.parent.mkdir(parents=True)
    cache.write_text(content)
    assert run("plan", "mine", "--steps", "2").returncode == 0
    assert "mine" in cache.read_text()


def test_a_clash_refuses_that_name_alone(tool):
    other = SAMPLERS.format(names="{'mine': 'difftool.samplers:DDPM', 'yours': 'difftool.samplers:DDPM'}")
    run = tool(MINE, other=other)
    done = run("plan", "mine", "--steps", "2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    for words in ("bad-plugin 1", "other-plugin 1", "DIFFTOOL_PLUGINS"):
        assert words in done.stderr
    assert run("plan", "yours", "--steps", "2").returncode == 0
    assert run("plan", "ddim", "--steps", "2").returncode == 0


def test_a_built_in_name_wins(tool):
    run = tool(SAMPLERS.format(names="{'ddim': 'difftool.samplers:DDPM'}"))
    assert run("plan", "ddim", "--steps", "2").stdout.startswith("DDIM(")
    listed = run("list", "samplers")
    assert listed.returncode == 0
    assert listed.stderr.count("\n") == 1
    assert "sampler 'ddim' of bad-plugin 1" in listed.stderr


COMMANDS = (
    HEAD
    + """
def fine(): print("fine")
def odd(x: int | str): print("odd")
def ends(): raise RuntimeError("in the command")
def usurper(): print("not ours")
@hookimpl
def difftool_commands(): return {
    "fine": fine, "odd": odd, "gone": "no_such_module:gone", "ends": ends, "list": usurper}
"""
)


def test_commands(tool):
    run = tool(NOTES + COMMANDS)
    assert run("fine").stdout == "fine\n"
    helped = run("--help").stdout
    for name in ("fine", "odd", "gone"):
        assert name in helped
    for name, says in (("odd", "command 'odd' of bad-plugin 1"), ("gone", "no_such_module")):
        done = run(name, "3")
        assert done.returncode == 2, done.stdout
        assert says in done.stderr.splitlines()[-1]
    assert "not ours" not in run("list", "samplers").stdout


def test_a_distribution_that_cannot_be_read(tool, tmp_path):
    run = tool(MINE)
    info = tmp_path / "site" / "odd-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: odd\nVersion: 1\n")
    (info / "entry_points.txt").write_bytes(b"[difftool]\nodd = \xff\xfe\n")
    assert run("plan", "ddim", "--steps", "2").returncode == 0
    listed = run("list", "samplers")
    assert "mine" in listed.stdout
    assert "cannot be read" in listed.stderr
