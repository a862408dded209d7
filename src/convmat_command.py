"""The entry point of the command `convmat`, outside the package: loading that takes part of a second.

Ctrl-C in that time ends the process as it does later, with exit code 130 and without a traceback.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any, NoReturn


def main() -> NoReturn:
    """Load the command line and run it. Raises SystemExit."""
    # Not where the signal is ignored, as it is for programs that a shell started in the background.
    asked = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if asked:
        signal.signal(signal.SIGINT, _leave)
    from convmat import cli

    with suppress(ModuleNotFoundError):  # an extra is missing: `main` says which
        from convmat.cli import app  # noqa: F401
    if asked:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


def _leave(*signal_and_frame: Any) -> None:
    """Nothing was begun, so nothing is cleaned up: an exception would be lost in some imports."""
    os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
