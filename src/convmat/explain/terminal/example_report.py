"""The worked example in a terminal: one colour a channel, from the input to the output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from convmat.explain.story.example import Array, Example

CHANNELS = ("red", "green", "bright_blue")
"""The colour of each channel; the words say it too, for terminals without colours."""

OUTPUT = "bold yellow"

_LABEL = 18
_CELL = 13
"""Characters of the first columns of the table of U, and of each further one."""


def show(example: Example, console: Console) -> None:
    """Print all of it, in the console's width."""
    for part in _parts(example, console.width):
        console.print(part)


def _parts(e: Example, width: int) -> Iterator[RenderableType]:
    (rows, cols), (kh, kw) = e.x.shape[1:], e.w.shape[1:]
    yield Text("A convolution is a matrix multiplication", style="bold")
    yield Text(
        f"input {_cross(e.x.shape)}, kernel {_cross(e.w.shape)}, output 1x{_cross(e.geometry.P)}; "
        f"places are (channel,row,column)\n",
        style="dim",
    )
    boards = [_board(f"x[{c}]", e.x[c], _colour((c,))) for c in range(len(e.x))]
    kernels = [_board(f"w[{c}]", e.w[c], _colour((c,))) for c in range(len(e.w))]
    yield _title(
        f"The input x and the kernel w, {len(e.x)} channels each",
        Columns([*boards, *kernels], padding=(0, 3)),
    )
    flat = Text("A = ")
    for value, place in zip(e.A[0], e.taps, strict=True):
        flat.append(f"{value:3g}", _colour(place))
    yield _title(f"The kernel, flattened: A, {_cross(e.A.shape)}", flat)
    yield _title(
        f"The input, unrolled: U, {_cross(e.U.shape)}; a column holds the {len(e.U)} numbers behind one output",
        Group(*_lay_unrolled(e, width)),
    )
    yield _title("The product A @ U, written out", Group(*_products(e)))
    yield _title(
        f"The output by the definition, loops over windows of {kh}x{kw} in {rows}x{cols}",
        _board("y", e.y, OUTPUT),
    )
    yield _title("The chain: each line computed on its own", _chain(e))
    yield Text("All equal." if e.equal else "NOT EQUAL", style="bold green" if e.equal else "bold red")


def _title(title: str, body: RenderableType) -> RenderableType:
    return Group(Text(title, style="bold"), Padding(body, (0, 0, 1, 2), expand=False))


def _board(name: str, values: Array, style: str) -> RenderableType:
    """A matrix under its name."""
    wide = max(len(f"{v:g}") for v in values.ravel())
    lines = [" ".join(f"{v:{wide}g}" for v in row) for row in values]
    text = Text(name, style="dim")
    text.append("\n" + "\n".join(lines), style=f"not dim {style}")
    return text


def _lay_unrolled(e: Example, width: int) -> Iterator[RenderableType]:
    """U beside A, with where every element comes from; in several tables where the terminal is narrow."""
    each = max(1, (width - 2 - _LABEL) // _CELL)
    outputs = [f"y[{r},{q}]" for r in range(e.geometry.P[0]) for q in range(e.geometry.P[1])]
    for start in range(0, len(outputs), each):
        part = range(start, min(start + each, len(outputs)))
        table = _table()
        table.add_column("A", justify="right")
        table.add_column("of w", justify="left")
        for j in part:
            table.add_column(f"U[:, {j}]\n{outputs[j]}", justify="right")
        last = len(e.U) - 1
        for i, tap in enumerate(e.taps):
            style = _colour(tap)
            ends = i == last or e.taps[i + 1][0] != tap[0]
            cells = [_element(e.U[i, j], e.origins[i, j]) for j in part]
            table.add_row(
                Text(f"{e.A[0, i]:g}", style), Text(_place(tap), f"dim {style}"), *cells, end_section=ends
            )
        table.add_row("", Text("A @ U", OUTPUT), *(Text(f"{e.Y[0, j]:g}{' ' * 10}", OUTPUT) for j in part))
        yield table if start == 0 else Padding(table, (1, 0, 0, 0), expand=False)


def _element(value: float, origin: Any) -> Text:
    text = Text(f"{value:g} ", _colour(origin))
    return text.append(f"x{_place(origin)}", f"dim {_colour(origin)}")


def _products(e: Example) -> Iterator[Text]:
    """One line an output: twelve products and their sum."""
    for j in range(e.U.shape[1]):
        line = Text()
        for i, tap in enumerate(e.taps):
            weight, between = e.A[0, i], " " if i and tap[0] != e.taps[i - 1][0] else ""
            sign = "-" if weight < 0 else "+" if i else ""
            line.append(f"{between}{sign}{between}")
            line.append(f"{abs(weight):g}*{e.U[i, j]:g}", _colour(tap))
        line.append(" = ")
        yield line.append(f"{e.Y[0, j]:g}", OUTPUT)
    sums = Text("\nby channel: ", style="dim")
    for j in range(e.U.shape[1]):
        for c, part in enumerate(e.per_channel[:, j]):
            sums.append(f"{part:+g}" if c else f"{part:g}", _colour((c,)))
        sums.append(" = ").append(f"{e.per_channel[:, j].sum():g}", OUTPUT)
        sums.append("" if j == e.U.shape[1] - 1 else ",  ")
    yield sums


def _chain(e: Example) -> Table:
    table = _table()
    table.add_column("way", overflow="fold")
    table.add_column("formula", overflow="fold")
    table.add_column("y", justify="right")
    for step in e.chain:
        values = " ".join(f"{v:g}" for v in step.values.ravel())
        table.add_row(step.name, Text(step.formula, "dim"), Text(values, OUTPUT))
    return table


def _table() -> Table:
    return Table(
        box=box.SIMPLE_HEAD, show_edge=False, header_style="dim", pad_edge=False, padding=(0, 1, 0, 0)
    )


def _colour(place: Any) -> str:
    return CHANNELS[place[0] % len(CHANNELS)]


def _place(place: Any) -> str:
    return f"({','.join(map(str, place))})"


def _cross(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
