"""How many random geometries are tried, where kernels are kept meanwhile, and the texts kept beside the tests."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import convmat
from convmat.cases import CASES
from tests.support import TAILS

GOLDEN = Path(__file__).parent / "golden"
KERNELS = Path(__file__).parent.parent / ".kernels"
"""Machine code that sessions leave to the next ones; each object's name is a digest of all that decides it."""

KEPT_SECONDS = 7 * 24 * 3600.0
"""An object that no session read for so long comes from a text that nobody writes any more."""

OBJECTS = Path("convmat", "objects")
"""Where the library keeps kernels inside the user's cache folder."""

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
    _draw_from_strategies_alone()
    if config.getoption("--update-golden") and os.environ.get("CI"):
        raise pytest.UsageError("--update-golden is for people who then read the difference, not for CI")
    if not hasattr(config, "workerinput"):
        # Kernels and figures of this session, its workers' and its subprocesses': the user's cache stays as it is.
        KERNELS.mkdir(mode=0o700, exist_ok=True)
        for each in KERNELS.glob("session-*"):
            if time.time() - each.stat().st_mtime > KEPT_SECONDS:  # it did not come to its end
                shutil.rmtree(each, ignore_errors=True)
        folder = tempfile.mkdtemp(prefix="session-", dir=KERNELS)
        before = os.environ.get("XDG_CACHE_HOME")
        _share_packages(Path(before) if before else Path.home() / ".cache", Path(folder))
        _link_kernels(KERNELS, Path(folder) / OBJECTS)
        os.environ["XDG_CACHE_HOME"] = folder
        config.add_cleanup(lambda: _leave(folder, before))


def _draw_from_strategies_alone() -> None:
    """Leave numbers that stand in our sources out of what is drawn.

    Hypothesis reads them from all modules that a worker has imported by then: the same commit would draw other
    geometries, and compile other kernels, each time that tests are shared out in another way. It takes seconds, too.
    """
    with suppress(ImportError):  # an older Hypothesis does not
        from hypothesis.internal.conjecture import providers
        from hypothesis.internal.constants_ast import Constants

        vars(providers).update(_get_local_constants=Constants)


def _share_packages(user: Path, folder: Path) -> None:
    """Packages that tests fetch are kept for the next session: they are known by their checksums."""
    with suppress(OSError):
        kept = user / "convmat" / "packages"
        kept.mkdir(parents=True, exist_ok=True)
        (folder / "convmat").mkdir()
        (folder / "convmat" / "packages").symlink_to(kept)


def _link_kernels(source: Path, target: Path) -> None:
    """Give each object of one folder a name in another too, where that is new: neither bytes nor time are spent.

    What no session read for long goes.
    """
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in source.glob("*.o"):
        with suppress(OSError):
            if time.time() - each.stat().st_mtime > KEPT_SECONDS:
                each.unlink()
            else:
                os.link(each, target / each.name)


def _leave(folder: str, before: str | None) -> None:
    _link_kernels(Path(folder) / OBJECTS, KERNELS)
    if before is None:
        os.environ.pop("XDG_CACHE_HOME", None)
    else:
        os.environ["XDG_CACHE_HOME"] = before
    shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: looking for garbage in it would take a third of all time."""
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`each_case` is one of the tails and oddities; of all cases with --slow."""
    if "each_case" in metafunc.fixturenames:
        metafunc.parametrize("each_case", CASES if metafunc.config.getoption("--slow") else TAILS, ids=str)


@pytest.fixture(scope="session")
def slow(request: pytest.FixtureRequest) -> bool:
    """Whether the long tests run too."""
    return bool(request.config.getoption("--slow"))


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


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_interrupts() -> Iterator[None]:
    """Processes that a shell starts in the background ignore Ctrl-C, and so would those that tests start."""
    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="module")
def _garbage_is_new() -> None:
    """Looking for garbage again in all that modules before have left would take a third of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """The number of threads is the process's: what one test sets, the next does not find."""
    before = convmat.threads()
    yield
    convmat.threads(before)
