"""What holds for every command: help, exit codes, errors as sentences, pipes, Ctrl-C, missing extras."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import convmat
from convmat.cli import EXTRA
from convmat.errors import EngineError, GeometryError, NetworkError, PlanError

Run = Callable[..., Any]

COMMANDS = (
    "demo", "example", "plan", "conv", "tune", "draw", "explain", "run", "summary", "profile", "compile", "quantize",
    "train", "info",
    "choices show", "choices export", "choices import", "choices clear", "cache info", "cache clear",
)  # fmt: skip


# -- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_commands_in_order(run: Run, flag: str) -> None:
    done = run(flag)
    assert done.code == 0
    assert re.findall(r"^│ (\w+) ", done.out, re.MULTILINE) == list(
        dict.fromkeys(c.split()[0] for c in COMMANDS)
    )


def test_no_arguments_show_help(run: Run) -> None:
    assert run().out.strip() == run("--help").out.strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_examples_and_json(run: Run, command: str) -> None:
    done = run(*command.split(), "--help", width=100)
    assert done.code == 0
    assert "Examples:" in done.out
    assert f"convmat {command}" in done.out.split("Examples:")[1]
    assert "--json" in done.out


def test_version(run: Run) -> None:
    assert run("--version").out == f"convmat {convmat.__version__}\n"


@pytest.mark.parametrize("arguments", [["frobnicate"], ["plan"], ["plan", "1x3x8x8"], ["example", "--loud"]])
def test_usage_errors_are_2(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert "Usage: convmat" in done.out


def test_help_is_quick(process: Run) -> None:
    """It loads none of what commands need."""
    before = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
    )
    done = process("--help", before=before)
    loaded = set(json.loads(done.errors.splitlines()[-1]))
    assert done.code == 0
    assert not loaded & {
        "llvmlite",
        "PIL",
        "jinja2",
        "threadpoolctl",
        "matplotlib",
        "onnx",
        "torch",
        "convmat.explain",
    }
    assert not [name for name in loaded if name.startswith(("convmat.explain", "benchmarks"))]


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"), [(GeometryError, 2), (PlanError, 2), (EngineError, 1), (NetworkError, 1), (OSError, 1)]
)
def test_errors_become_sentences(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: type[Exception], code: int
) -> None:
    def fail() -> None:
        raise error("first line\n  the values [in brackets]\n  the rule")

    monkeypatch.setattr("convmat.explain.story.example.work_out", fail)
    done = run("example")
    assert (done.code, done.out) == (code, "first line\n  the values [in brackets]\n  the rule\n")


def test_errors_go_to_stderr_without_a_traceback(process: Run) -> None:
    done = process("plan", "1x3x4x4", "1x2x3x3")
    assert (done.code, done.out) == (2, "")
    assert done.errors == (
        "plan: the channels of x do not match the filters in groups\n"
        "  x has C = 3, w 1x2x3x3 is (O, C//G, *F) and takes 2 channels a group;  groups = 1\n"
        "  1 * 2 != 3: give w the shape (1, 3, 3, 3)\n"
    )


def test_a_mistake_of_ours_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError("ours")

    monkeypatch.setattr("convmat.explain.story.example.work_out", fail)
    with pytest.raises(KeyError):
        run("example")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
@pytest.mark.parametrize("arguments", [["example"], ["example", "--json"], ["plan", "1x3x8x8", "4x3x3x3"]])
def test_a_full_disk_is_a_sentence(process: Run, arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = process(*arguments, stdout=full.fileno())
    assert done.code == 1
    assert done.errors == "[Errno 28] No space left on device\n"


# -- missing extras ---------------------------------------------------------------------------------------------------

ABSENT = """\
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {absent!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.mark.parametrize("package", ["typer", "rich"])
@pytest.mark.parametrize("command", ["example", "--help"])
def test_the_entry_point_names_the_missing_extra(process: Run, package: str, command: str) -> None:
    done = process(command, before=ABSENT.format(absent=[package]))
    if package == "rich" and command == "--help" and done.code == 0:
        return  # a typer that can print help without rich
    assert (done.code, done.out) == (1, "")
    assert done.errors == (
        f"convmat: this command needs {package}, which is not installed\n  pip install 'convmat[cli]'\n"
    )


def test_the_demo_names_its_extra(process: Run) -> None:
    done = process("demo", before=ABSENT.format(absent=["PIL"]))
    assert done.code in (1, 2)
    assert "pip install 'convmat[draw]'" in done.errors
    assert "Traceback" not in done.errors


def test_extras_are_those_of_the_project() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parent.parent.parent / "pyproject.toml").read_text())["project"]
    for package, extra in EXTRA.items():
        wanted = {"PIL": "pillow", "click": "typer"}.get(package, package)
        assert any(each.startswith(wanted) for each in project["optional-dependencies"][extra])


# -- pipes, terminals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["example"], ["example", "--json"], ["--help"], ["cache", "info"]])
def test_a_reader_that_has_gone_is_no_error(process: Run, arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = process(*arguments, stdout=write)
    finally:
        os.close(write)
    assert done.code in (1, 141)  # typer's own output ends with 1
    assert done.errors == ""


def test_no_colours_where_nobody_sees_them(process: Run) -> None:
    assert "\x1b" not in process("example").out
    assert "\x1b" in process("example", FORCE_COLOR="1", TERM="xterm-256color").out
    without = process("example", FORCE_COLOR="1", NO_COLOR="1", TERM="xterm-256color").out
    assert "\x1b[3" not in without.replace("\x1b[3m", "")


def test_a_terminal_without_unicode_gets_question_marks_at_worst(process: Run) -> None:
    done = process("plan", "1x3x8x8", "4x3x3x3", PYTHONIOENCODING="ascii")
    assert done.code == 0
    assert done.out.isascii()


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------


def test_ctrl_c_is_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convmat.explain.story.example.work_out", interrupted)
    done = run("example")
    assert (done.code, done.out) == (130, "interrupted\n")


INTERRUPT = """\
import os, signal
def ctrl_c(*arguments, **options):
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(10**9):
        pass
import functools
import convmat.explain.demo.demo as demo
demo.run = functools.partial(demo.run, seconds=0.05)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    "at",
    [
        "import convmat.planner.trial as w; w.measure_allocation = ctrl_c",  # amid measuring
        "import convmat.explain.demo.sheet as s; s.draw = ctrl_c",  # amid drawing
        "import PIL.Image; PIL.Image.Image.save = lambda self, path, **o: (open(path, 'wb').write(b'half'), ctrl_c())",
    ],
    ids=["measuring", "drawing", "writing"],
)
def test_ctrl_c_leaves_no_half_file(process: Run, tmp_path: Path, at: str) -> None:
    target = tmp_path / "out" / "demo.png"
    target.parent.mkdir()
    target.write_bytes(b"the one before")
    Image.new("RGB", (24, 16), "teal").save(tmp_path / "small.png")
    done = process("demo", "--image", "small.png", before=INTERRUPT + at)
    assert done.code == 130
    assert "Traceback" not in done.errors
    assert done.errors.endswith("interrupted\n")
    assert [path.name for path in target.parent.iterdir()] == ["demo.png"]
    assert target.read_bytes() == b"the one before"
