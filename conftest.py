"""Which tests run: the quick ones; --slow and --models add the others; `outside` ones wherever PyTorch 2.13 is."""

from __future__ import annotations

import shutil
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import pytest

TORCH = "2.13."
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options beside pytest's own."""
    group = parser.getgroup("convmat")
    group.addoption("--slow", action="store_true", help="also the tests that take minutes")
    group.addoption(
        "--models", action="store_true", help="also the tests on trained networks that are fetched"
    )
    group.addoption("--update-golden", action="store_true", help="write the expected texts anew")


@cache
def torch_version() -> str | None:
    """PyTorch's version, without loading it."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


collect_ignore = ["tests/scipy/stand_in.py"]
"""A plugin: imported to look for examples, it would put our functions in the place of those they are compared with."""

collect_ignore_glob = (
    [] if torch_version() else ["src/convmat/torch/*", "tests/torch/*", "benchmarks/torch_models.py"]
)
"""What stands inside PyTorch cannot even be imported without it."""


def chromium() -> str | None:
    """The browser that pages are tried in, if there is one, and Playwright to drive it."""
    if find_spec("playwright") is None:
        return None
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def left_out(config: pytest.Config) -> dict[str, str]:
    """Each marker whose tests do not run now, and the sentence why."""
    found = torch_version()
    reasons = {}
    if not config.getoption("--slow"):
        reasons["slow"] = "they take minutes; --slow runs them (make check-slow)"
    if not config.getoption("--models"):
        reasons["models"] = "they fetch trained networks; --models runs them (make check-models)"
    if found is None or not found.startswith(TORCH):
        there = "it is not installed" if found is None else f"installed is {found}"
        reasons["outside"] = (
            f"they compare with PyTorch {TORCH}x and {there} (make check-outside installs it)"
        )
    if chromium() is None:
        reasons["browser"] = (
            f"they need Playwright and one of {', '.join(BROWSERS)} (apt-get install chromium)"
        )
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            reasons[tool] = f"they need {tool}, which is not installed"
    return reasons


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what will not run, so that no test is missing silently."""
    return [f"left out: tests marked {marker}: {why}" for marker, why in left_out(config).items()]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect them: a skip would hide among the skips that carry a lowering's refusal."""
    shut = left_out(config)
    out = [item for item in items if any(item.get_closest_marker(marker) for marker in shut)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in set(out)]
