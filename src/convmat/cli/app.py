"""The commands, and what becomes of their errors.

One module a command, or a group of commands; each imports what it needs inside its functions, so that
`convmat --help` stays quick. A new one is a module and a line in `COMMANDS` (a function) or `GROUPS` (a typer.Typer).
"""

from __future__ import annotations

import inspect
import sys
import warnings
from itertools import takewhile
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from convmat import __version__
from convmat.cli import (
    cache,
    choices,
    conv,
    demo,
    draw,
    example,
    explain,
    explain_missing,
    info,
    networks,
    plan,
    quantising,
    screen,
    train,
    tune,
)
from convmat.errors import ConvmatError, GeometryError, PlanError

COMMANDS = (
    demo.demo, example.example, plan.plan, conv.conv, tune.tune, draw.draw, explain.explain,
    networks.run, networks.summary, networks.profile, networks.compile, quantising.quantize,
    train.train,
    info.info,
)  # fmt: skip
GROUPS = {"choices": choices.commands, "cache": cache.commands}

SEVERAL = (
    "--mean",
    "--std",
    "--stride",
    "-s",
    "--padding",
    "-p",
    "--dilation",
    "-d",
    "--output-padding",
    "--threads",
)
"""Options that take several numbers in one word."""

HELP = {"help_option_names": ["-h", "--help"]}

FAILED, ASKED_WRONGLY, INTERRUPTED = 1, 2, 130
"""Exit codes; 130 is what a shell gives a program that Ctrl-C ended."""


class Group(TyperGroup):
    """The commands in the order of `COMMANDS`; an error of ours becomes its sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Runs one command. Raises typer.Exit for whatever it answers for."""
        try:
            return super().invoke(ctx)
        except ConvmatError as error:
            screen.complain(str(error))
            # Shapes, numbers and ways come from the command line; the rest is the machine's side.
            raise typer.Exit(
                ASKED_WRONGLY if isinstance(error, GeometryError | PlanError) else FAILED
            ) from None
        except ModuleNotFoundError as error:
            raise typer.Exit(explain_missing(error)) from None
        except BrokenPipeError:
            raise typer.Exit(screen.silence_output()) from None
        except OSError as error:
            screen.complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
            raise typer.Exit(FAILED) from None
        except MemoryError as error:
            screen.complain(f"there is not enough memory for this\n  {error}")
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt as stopped:
            screen.complain(str(stopped) or "interrupted")
            raise typer.Exit(INTERRUPTED) from None


class Command(TyperCommand):
    """A command that says how several numbers of an option are written, where they came as words of their own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What is typed, read. Raises click's UsageError."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # of a wrong line; typer has no public name for it
            said: Any = error
            for at, (name, first, second) in enumerate(zip(given, given[1:], given[2:], strict=False)):
                if name in SEVERAL and _is_number(first) and _is_number(second) and hasattr(said, "message"):
                    together = ",".join(word.strip(",") for word in takewhile(_is_number, given[at + 1 :]))
                    said.message += f"\nSeveral numbers are written with commas: {name} {together}"
                    break
            raise


def _is_number(word: str) -> bool:
    try:
        float(word.strip(","))
    except ValueError:
        return False
    return True


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"convmat {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Group,
    name="convmat",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=HELP,
)


@app.callback()
def convmat(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Convolutions as matrix products whose second operand, the unrolled input, need not exist.

    Each command has examples under --help and prints JSON with --json.
    """


def _paragraphs(text: str | None) -> str:
    """A docstring for typer: paragraphs in one line each, so that they fill the terminal; indented lines stay."""
    parts = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else part.replace("\n", " ") for part in parts)


for command in COMMANDS:
    app.command(cls=Command, context_settings=HELP, help=_paragraphs(command.__doc__))(command)
for name, commands in GROUPS.items():
    whole = commands.registered_callback
    said = _paragraphs(whole.callback.__doc__) if whole and whole.callback else commands.info.help
    app.add_typer(commands, name=name, context_settings=HELP, help=said)


def run(application: typer.Typer = app, name: str = "convmat") -> int:
    """Run what sys.argv says; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    warnings.showwarning = _say
    try:
        application(prog_name=name)
        sys.stdout.flush()
    except SystemExit as leaving:
        return _flush(leaving.code)
    except BrokenPipeError:
        return screen.silence_output()
    return 0


def _say(message: Warning | str, *where: Any, **more: Any) -> None:
    """A warning as a sentence on stderr: file and line of our own say nothing to who runs a command."""
    screen.print_remark(str(message))


def _flush(code: Any) -> int:
    """The exit code, once what was printed has gone where it should: a broken pipe shows here at the latest."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return screen.silence_output()
    return code if isinstance(code, int) else int(code is not None)


__all__ = ["COMMANDS", "GROUPS", "app", "run"]
