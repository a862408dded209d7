"""The command before its first line runs: `python -m convmat`, its version, Ctrl-C while it loads, typing slips."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import convmat

Run = Callable[..., Any]
SOURCE = Path(convmat.__file__).parent.parent

INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Press:
    def find_spec(self, name, *rest):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press())
from convmat_command import main
main()
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip


def test_the_package_runs_as_a_program() -> None:
    done = python("-m", "convmat", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"convmat {convmat.__version__}\n", "")


@pytest.mark.parametrize("module", ["numpy", "typer"])
def test_ctrl_c_while_the_command_loads_is_no_traceback(module: str) -> None:
    done = python("-c", INTERRUPTED.format(module=module), "info")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_the_signal_is_python_s_again_once_the_command_is_loaded() -> None:
    program = "import signal, convmat_command as c\nfrom convmat import cli\n"
    program += "cli.main = lambda: print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    program += "signal.signal(signal.SIGINT, signal.default_int_handler)\nc.main()"
    assert python("-c", program).stdout == "True\n"


def test_an_ignored_signal_stays_ignored() -> None:
    program = "import signal, convmat_command as c\nfrom convmat import cli\n"
    program += "cli.main = lambda: print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)\n"
    program += "signal.signal(signal.SIGINT, signal.SIG_IGN)\nc.main()"
    assert python("-c", program).stdout == "True\n"


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("run model.onnx --mean 1 2 3", "--mean 1,2,3"),
        ("run --std 1 2.5 3 model.onnx", "--std 1,2.5,3"),
        ("run model.onnx --mean 1, 2, 3", "--mean 1,2,3"),
        ("plan 1x3x8x8 4x3x3x3 --stride 2 1", "--stride 2,1"),
    ],
)
def test_several_numbers_of_an_option(run: Run, line: str, fix: str) -> None:
    done = run(*line.split(), width=120)
    assert done.code == 2
    assert f"Several numbers are written with commas: {fix}" in done.out


def test_other_slips_are_told_as_before(run: Run) -> None:
    done = run("plan", "1x3x8x8", "4x3x3x3", "5")
    assert done.code == 2
    assert "commas" not in done.out
    assert run("plan", "1x3x8x8", "4x3x3x3", "--stride", "2,1").code == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "train lenet --data none --optimiser lion",
            "train: there is no optimiser of that name\n  --optimiser lion\n  one of sgd, adam, adamw\n",
        ),
        (
            "train lenet --data none --resume",
            "train: nothing says where to go on\n  --resume\n  add --checkpoint FILE\n",
        ),
        (
            "train lenot --data none",
            "train: there is no network of that name\n  lenot\n  one of lenet, resnet20, resnet18, mobilenet_v2, unet, "
            "or the path of an ONNX file\n",
        ),
        (
            "explain --example 1x3x3x3 1x3x2x2",
            "explain: it needs the shapes of input and weights, or --example\n"
            "  given: 1x3x3x3 1x3x2x2, --example\n  e.g. convmat explain 1x3x3x3 1x3x2x2\n",
        ),
        (
            "draw --example 1x3x3x3 layer.svg",
            "draw: --example needs a file alone\n  given: 1x3x3x3 layer.svg\n"
            "  e.g. convmat draw --example layer.svg\n",
        ),
        (
            "draw 1x3x8x8 layer.svg",
            "draw: it needs the shapes of input and weights, and a file\n  given: 1x3x8x8 layer.svg\n"
            "  e.g. convmat draw 1x3x8x8 4x3x3x3 layer.svg\n",
        ),
    ],
)
def test_options_that_do_not_go_together(run: Run, line: str, said: str) -> None:
    done = run(*line.split(), width=200)
    assert (done.code, done.out) == (1 if line.startswith("train") else 2, said)


def test_warnings_are_sentences() -> None:
    program = (
        "import sys, warnings\nsys.argv = ['convmat', 'info', '--json']\nfrom convmat.cli import app, info\n"
    )
    program += "warn = lambda *a, **k: warnings.warn('a thing to know', RuntimeWarning)\n"
    program += "app.screen.as_json = warn\nraise SystemExit(app.run())"
    done = python("-c", program)
    assert (done.returncode, done.stderr) == (0, "a thing to know\n")


def test_benchmarks_of_networks_name_the_extra() -> None:
    program = "import sys\nsys.modules['onnx'] = None\nsys.argv = ['benchmarks', 'nets']\n"
    program += "import runpy\nrunpy.run_module('benchmarks', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", program, "nets"], capture_output=True, text=True, timeout=300, check=False,
        cwd=SOURCE.parent, env={**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{SOURCE.parent}"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pip install 'convmat[" in done.stderr


def test_a_demo_in_a_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "demo.png"
    done = run("demo", "--output", str(output), "--no-network", width=400)
    assert done.code == 2
    assert done.out.splitlines()[0] == f"demo: cannot write {output}"
    assert "give a path that can be written, e.g. " in done.out
