"""Files that are written whole or not at all, and extras that are named when they are missing."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import util
from pathlib import Path

from convmat.errors import PlanError, cannot_write

EXTRAS = {"PIL": ("pillow", "draw"), "jinja2": ("jinja2", "page")}
"""For each module from outside: the package it comes in and the extra that installs it."""


def require_module(module: str, call: str, what: str) -> None:
    """Raise PlanError with the line to install, where a module from an extra is missing."""
    if util.find_spec(module) is None:
        package, extra = EXTRAS[module]
        raise PlanError(
            f"{call}: {what} needs {package}, which is not installed\n  no module {module}\n"
            f"  pip install 'convmat[{extra}]'"
        )


@contextmanager
def replace_when_whole(path: str | os.PathLike[str], call: str) -> Iterator[Path]:
    """A new file beside `path` to write to, put in its place at the end.

    Whatever stops the writing, Ctrl-C included, leaves `path` as it was and nothing beside it. Raises PlanError with
    the path where it cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            part.touch(exist_ok=False)
        except OSError as error:
            raise cannot_write(call, target, error) from error
        try:
            yield part
            if target.is_dir():
                raise IsADirectoryError(21, "it is a folder")
            os.replace(part, target)
        except OSError as error:
            raise cannot_write(call, target, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
