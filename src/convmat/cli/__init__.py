"""The command line, `convmat`: thin commands over the rest of the library.

    0 done    1 something failed while running    2 what was asked cannot be    130 interrupted    141 reader gone

`main` needs no extra: where typer or rich are missing it says which to install.
"""

from __future__ import annotations

import sys
from typing import NoReturn

EXTRA = {
    "typer": "cli",
    "click": "cli",
    "rich": "cli",
    "PIL": "draw",
    "jinja2": "page",
    "onnx": "onnx",
    "onnxruntime": "bench",
    "matplotlib": "bench",
}
"""Which extra brings a package that a command needs."""


def main() -> NoReturn:
    """The entry point: runs the command in sys.argv, leaves with its exit code.

    Raises SystemExit.
    """
    try:
        from convmat.cli.app import run

        code = run()
    except ModuleNotFoundError as error:
        code = explain_missing(error)
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)


def explain_missing(error: ModuleNotFoundError) -> int:
    """Say what to install for a module that is not there; any other than an extra's is a mistake of ours."""
    package = (error.name or "").split(".")[0]
    if package not in EXTRA:
        raise error
    print(
        f"convmat: this command needs {package}, which is not installed\n"
        f"  pip install 'convmat[{EXTRA[package]}]'",
        file=sys.stderr,
    )
    return 1


__all__ = ["EXTRA", "explain_missing", "main"]
