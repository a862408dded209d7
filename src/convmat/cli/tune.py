"""`convmat tune`: measure before choosing, and remember."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from convmat.cli import options, parse, screen
from convmat.errors import PlanError

INTERRUPTED = 130


def tune(
    x: Annotated[
        str | None, typer.Argument(help="Shape of the input, BxCxI: 1x64x56x56.", show_default=False)
    ] = None,
    w: Annotated[
        str | None,
        typer.Argument(help="Shape of the weights, Ox(C/groups)xF: 128x64x3x3.", show_default=False),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            "-l",
            help="Layers of the benchmark by number, range or part of the name, instead of shapes.",
        ),
    ] = None,
    effort: Annotated[
        str,
        typer.Option("--effort", "-e", help="quick: ways predicted near the best; full: all that can run."),
    ] = "full",
    seconds: Annotated[
        float | None, typer.Option(help="Time for each problem, without compiling.", show_default=False)
    ] = None,
    stride: options.Stride = "1",
    padding: options.Padding = "0",
    dilation: options.Dilation = "1",
    groups: options.Groups = 1,
    transposed: options.Transposed = False,
    output_padding: options.OutputPadding = "0",
    direction: options.Direction = "forward",
    dtype: options.Dtype = "float32",
    layout: options.Layout = "NCHW",
    padding_mode: options.PaddingMode = "zeros",
    bias: options.Bias = False,
    residual: options.Residual = False,
    activation: options.Activation = "",
    lowering: options.Lowering = "",
    engine: options.Engine = "",
    workspace_limit: options.WorkspaceLimit = "",
    rtol: options.Rtol = None,
    exact: options.Exact = False,
    weight_limit: options.WeightLimit = "",
    once: options.Once = False,
    threads: options.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Measure the ways to run a convolution, and remember which was quickest: plans of the same problem follow it.

    What is found is kept for this CPU, one line a problem; `convmat choices` shows it and takes it elsewhere. Ways
    measured before are not measured again. Ctrl-C keeps what was found.

    Examples:

      convmat tune 1x64x56x56 64x64x3x3 --padding 1

      convmat tune 8x96x112x112 96x1x3x3 -s 2 -p 1 -g 96 --effort quick

      convmat tune 1x64x56x56 64x64x3x3 -p 1 --once          (as conv() runs it)

      convmat tune --layers 3x3 --threads 1

      convmat tune -l 1-20 --json
    """
    given = options.keywords(
        stride=stride, padding=padding, dilation=dilation, groups=groups, transposed=transposed,
        output_padding=output_padding, direction=direction, dtype=dtype, layout=layout, padding_mode=padding_mode,
        bias=bias, residual=residual, activation=activation, lowering=lowering, engine=engine,
        workspace_limit=workspace_limit, rtol=rtol, exact=exact, weight_limit=weight_limit, once=once, threads=threads,
    )  # fmt: skip
    wanted = _list_problems(x, w, layers, given)
    found: list[Tuned] = []
    try:
        _measure(wanted, effort, seconds, found)
    except KeyboardInterrupt:
        screen.complain(
            f"interrupted: {len(found)} of {len(wanted)} done, and remembered with what was begun"
        )
        _show(found, json)
        raise typer.Exit(INTERRUPTED) from None
    _show(found, json)


@dataclass(frozen=True)
class Tuned:
    """One problem: its name, its plan by prediction and the one that measurement chose."""

    name: str
    before: Any
    after: Any

    def as_dict(self) -> dict[str, Any]:
        """Figures for JSON, in seconds of a call."""
        measured = {c.way: c.measured for c in self.after.candidates if c.measured is not None}
        chosen = self.after.chosen
        return {
            "problem": self.name,
            "before": self.before.chosen.way,
            "chosen": chosen.way,
            "seconds": measured,
        }

    @property
    def gain(self) -> float | None:
        """How many times as long the way took that was chosen before; None where it was not measured."""
        before = next((c for c in self.after.candidates if c.way == self.before.chosen.way), None)
        if before is None or before.measured is None or not self.after.chosen.measured:
            return None
        return float(before.measured / self.after.chosen.measured)


def _list_problems(
    x: str | None, w: str | None, layers: list[str] | None, given: dict[str, Any]
) -> list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]]:
    """Name, shapes and keywords of every problem."""
    if (x is None) != (w is None) or (x is None) != bool(layers):
        shown = " ".join(word for word in (x, w) if word) or "no shapes"
        raise PlanError(
            f"tune: it needs the shapes of input and weights, or --layers\n"
            f"  given: {shown}{', --layers' if layers else ''}\n"
            f"  e.g. convmat tune 1x64x56x56 64x64x3x3 --padding 1, or convmat tune --layers 3x3"
        )
    if x is not None and w is not None:
        return [(f"{x} * {w}", parse.shape("x", x), parse.shape("w", w), given)]
    from convmat.cases import case, select_layers

    cases = [case(name) for name in select_layers(layers or [], call="tune")]
    shapes = ("stride", "padding", "dilation", "groups")
    rest = {name: value for name, value in given.items() if name not in shapes}
    return [(each.name, each.x_shape, each.w_shape, {**rest, **each.options}) for each in cases]


def _measure(wanted: list[Any], effort: str, seconds: float | None, found: list[Tuned]) -> None:
    """Tune each problem in turn, telling how far it is."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    import convmat

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[n]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen.error_console(), transient=True) as progress:
        task = progress.add_task("", n="")
        for number, (name, x, w, given) in enumerate(wanted, 1):
            progress.reset(task, description=name, n=f"{number} of {len(wanted)}", total=1.0)

            def tell(done: int, steps: int) -> None:
                progress.update(task, completed=done / steps)

            before = convmat.plan(x, w, **given)
            after = convmat.plan(x, w, tune=effort, seconds=seconds, progress=tell, **given)
            found.append(Tuned(name, before, after))


def _show(found: list[Tuned], json: bool) -> None:
    if json:
        screen.as_json([each.as_dict() for each in found])
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from convmat.planner.units import format_seconds

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="dim", pad_edge=False)
    for head in ("problem", "quickest", "engine"):
        table.add_column(head, overflow="fold")
    for head in ("seconds", "measured", "gain"):
        table.add_column(head, justify="right", no_wrap=True)
    for each in found:
        chosen = each.after.chosen
        timed = sum(c.measured is not None for c in each.after.candidates)
        table.add_row(
            Text(each.name),
            chosen.name,
            chosen.engine,
            format_seconds(chosen.measured) if chosen.measured else "",
            f"{timed} ways" if timed else "the only way",
            f"{each.gain:.2f}" if each.gain else "",
        )
    if found:
        screen.console().print(table)


__all__ = ["tune"]
