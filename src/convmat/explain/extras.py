"""Extras that are named when they are missing."""

from __future__ import annotations

from importlib import util

from convmat.errors import PlanError

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
