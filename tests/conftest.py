"""How many random geometries are tried, where kernels are kept meanwhile, and the texts kept beside the tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import convmat
from convmat.cases import CASES
from tests.support import TAILS

GOLDEN = Path(__file__).parent / "golden"

for name, examples in (("quick", 200), ("slow", 1000)):
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,  # the machine is shared, and time is never a test
        derandomize=name == "quick",  # one commit, one verdict; the slow profile looks elsewhere each time
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        print_blob=True,
    )


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("slow" if config.getoption("--slow") else "quick")
    if config.getoption("--update-golden") and os.environ.get("CI"):
        raise pytest.UsageError("--update-golden is for people who then read the difference, not for CI")
    if not hasattr(config, "workerinput"):
        # Kernels and figures of this session, its workers' and its subprocesses': the user's cache stays as it is.
        folder = tempfile.mkdtemp(prefix="convmat-tests-")
        before = os.environ.get("XDG_CACHE_HOME")
        _share_packages(Path(before) if before else Path.home() / ".cache", Path(folder))
        os.environ["XDG_CACHE_HOME"] = folder
        config.add_cleanup(lambda: _leave(folder, before))


def _share_packages(user: Path, folder: Path) -> None:
    """Packages that tests fetch are kept for the next session: they are known by their checksums."""
    with suppress(OSError):
        kept = user / "convmat" / "packages"
        kept.mkdir(parents=True, exist_ok=True)
        (folder / "convmat").mkdir()
        (folder / "convmat" / "packages").symlink_to(kept)


def _leave(folder: str, before: str | None) -> None:
    if before is None:
        os.environ.pop("XDG_CACHE_HOME", None)
    else:
        os.environ["XDG_CACHE_HOME"] = before
    shutil.rmtree(folder, ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`each_case` is one of the tails and oddities; of all cases with --slow."""
    if "each_case" in metafunc.fixturenames:
        metafunc.parametrize("each_case", CASES if metafunc.config.getoption("--slow") else TAILS, ids=str)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the kept one of that name; a missing file fails unless --update-golden writes it."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.is_file(), f"{path.name} is missing: run once with --update-golden and read what it wrote"
        assert text == path.read_text()

    return compare


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """The number of threads is the process's: what one test sets, the next does not find."""
    before = convmat.threads()
    yield
    convmat.threads(before)
