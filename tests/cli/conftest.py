"""Commands run in this process (`run`) and in processes of their own (`process`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import convmat
from convmat.cli.app import app

MAIN = "from convmat.cli import main; main()"
SOURCE = Path(__file__).parent.parent.parent / "src"


@dataclass(frozen=True)
class Done:
    """What a command printed (both streams where they were not kept apart) and left with."""

    code: int
    out: str
    errors: str = ""
    results: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.results or self.out)


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """`run("plan", "1x3x8x8", ...)` in this process, 80 characters wide unless `width` says more."""
    with convmat.threads(convmat.threads()):

        def invoke(*arguments: str, width: int = 80) -> Done:
            monkeypatch.setenv("COLUMNS", str(width))
            result = CliRunner().invoke(app, list(arguments))
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception
            return Done(result.exit_code, result.output, results=result.stdout)

        yield invoke


@pytest.fixture
def process(tmp_path: Path) -> Run:
    """`process("example")` in a fresh interpreter; `before` is a program that runs first, in the same one."""

    def start(*arguments: str, before: str = "", stdout: int = subprocess.PIPE, **environment: str) -> Done:
        names = {
            name: value
            for name, value in os.environ.items()
            if name not in ("COLUMNS", "FORCE_COLOR", "NO_COLOR")
        }
        done = subprocess.run(
            [sys.executable, "-c", f"{before}\n{MAIN}", *arguments],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**names, "PYTHONPATH": str(SOURCE), **environment},
            timeout=300,
            check=False,
        )
        return Done(done.returncode, done.stdout or "", done.stderr)

    return start
