"""SciPy's own tests with convmat's functions in the place of theirs: what fails is listed, with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

scipy = pytest.importorskip("scipy")

pytestmark = pytest.mark.skipif(
    tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 17), reason="the list is of SciPy 1.17's tests"
)
HOME = Path(scipy.__file__).parent
ROOT = Path(__file__).parent.parent.parent


def listed(file: str) -> dict[str, str]:
    """The tests of a file that may not pass, each with its reason, from `differences.txt`."""
    lines = (Path(__file__).parent / "differences.txt").read_text().splitlines()
    found = (line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: reason for name, reason in found if name.startswith(file)}


def theirs(file: str, *options: str, only: tuple[str, ...] = ()) -> tuple[set[str], int]:
    """Run a file of SciPy's tests, or some classes of it.

    Gives the names of those that failed, without their parameters, and how many passed.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    environment["PYTEST_ADDOPTS"] = ""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.scipy.stand_in", "-W", "ignore"),
        *("--assert=plain", "-c", os.devnull, f"--rootdir={HOME}", f"--confcutdir={HOME}", "--tb=no", "-rfE"),
        *(f"{HOME / file}::{name}" for name in only),  # collecting all the file's takes longer than these
        *([] if only else [str(HOME / file)]), *options,
    ]  # fmt: skip
    run = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False, timeout=1800
    )
    lines = run.stdout.splitlines()
    failed = {
        line.split("::", 1)[1].split(" - ")[0] for line in lines if line.startswith(("FAILED", "ERROR"))
    }
    last = lines[-1].split() if lines else []
    assert "passed" in str(last), run.stdout[-2000:] + run.stderr[-2000:]
    passed = int(last[[word.strip(",") for word in last].index("passed") - 1])
    return {f"{file}::{name}" for name in failed}, passed


def hold(file: str, at_least: int, *options: str, only: tuple[str, ...] = ()) -> None:
    failed, passed = theirs(file, *options, only=only)
    known = listed(file)
    assert failed <= set(known), sorted(failed - set(known))
    assert passed >= at_least
    if at_least > 1000:
        assert set(known) <= failed, "these pass now, take them from the list"


def test_some_of_ndimage() -> None:
    some = (
        "correlate01 or convolve01 or gauss01 or gauss03 or laplace or sobel01 or uniform01 or imum_filter0"
    )
    hold("ndimage/tests/test_filters.py", 70, "-k", some)


def test_some_of_signal() -> None:
    hold("signal/tests/test_signaltools.py", 30, "-k", "not large", only=("TestConvolve", "TestConvolve2d"))


@pytest.mark.slow
def test_filters_of_ndimage() -> None:
    hold("ndimage/tests/test_filters.py", 2400)


CONVOLUTIONS = "onvolve or orrel"
"""Names of the tests of scipy.signal that call what convmat has."""


@pytest.mark.slow
def test_convolutions_of_signal() -> None:
    """Twelve thousand of them, most lengths of overlap-add."""
    hold("signal/tests/test_signaltools.py", 11700, "-k", CONVOLUTIONS)


def test_scipys_functions_are_scipys_here() -> None:
    """What other tests compare with is not convmat's own, which the plugin alone puts in its place."""
    from scipy import ndimage, signal

    for module in (ndimage, signal):
        names = ("convolve", "correlate")
        assert all(getattr(module, name).__module__.startswith("scipy.") for name in names)
