"""Choices of a folder of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convmat.planner import choices


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where choices are kept meanwhile."""
    path = tmp_path / "choices"
    choices.use_folder(path)
    yield path
    choices.use_folder(None)
