"""Where commands print: results to stdout, all else to stderr; nothing here knows what is printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

FILE_WIDTH = 120
"""Characters a line where the output is no terminal and COLUMNS does not say more: enough for every table."""

PIPE_BROKEN = 141
"""What a shell gives a program that wrote to a reader that has gone: 128 and SIGPIPE."""


def console() -> Console:
    """Console for results: the terminal's width and colours; without a terminal, plain."""
    from rich.console import Console

    class Results(Console):
        def on_broken_pipe(self) -> None:
            raise typer.Exit(silence_output())

    made = Results(highlight=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = FILE_WIDTH
    return made


def error_console() -> Console:
    """Console for progress and complaints."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


@contextmanager
def progress(start: str) -> Iterator[Any]:
    """A line that says what is being done, and goes when it is done; silent without a terminal.

    Gives a function that takes the next text.
    """
    with error_console().status(start) as status:
        yield status.update


def as_json(value: Any) -> None:
    """Print a value as JSON, two spaces a level."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def complain(sentence: str) -> None:
    """An error's sentence on stderr; its first line stands out in a terminal, which also wraps it."""
    from rich.text import Text

    first, line, rest = sentence.partition("\n")
    console = error_console()
    console.print(
        Text(first, "bold red").append(line + rest, "default not bold"), soft_wrap=not console.is_terminal
    )


def print_remark(sentence: str) -> None:
    """Print a sentence that the user should know, on stderr; the command goes on."""
    from rich.text import Text

    console = error_console()
    console.print(Text(sentence, "yellow"), soft_wrap=not console.is_terminal)


def silence_output() -> int:
    """Send what is still to come to nobody, so that Python's own flush at exit is quiet; the exit code."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.stdout.fileno())
    os.close(quiet)
    return PIPE_BROKEN
