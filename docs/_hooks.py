"""Fills `<!-- lowerings: .. -->` in a page from the registry, so that no table of lowerings is typed twice."""

from __future__ import annotations

import re
import sys
from inspect import cleandoc
from typing import Any

from _docstrings import markdown

from convmat.geometry import Geometry
from convmat.lowering import ALL, Lowering
from convmat.planner import make
from convmat.planner.units import format_bytes
from convmat.problem import Problem


def table() -> str:
    """Name, summary and source of each."""
    rows = [f"| [`{each.name}`](#{_file(each)}) | {each.summary} | {each.source} |" for each in ALL]
    return "\n".join(["| lowering | in a sentence | source |", "|---|---|---|", *rows])


def one_layer() -> str:
    """What each would store for a well-known layer, or why it refuses."""
    plan = make(Problem.of(Geometry.of((1, 64, 56, 56), (64, 64, 3, 3), padding=1)))
    rows = ["| way | engine | product | GFLOP | stored |", "|---|---|---|---|---|"]
    refused = {}
    for way in plan.candidates:
        if way.cost is None:
            refused.setdefault(way.lowering, way.refusal)
        else:
            product = " x ".join(map(str, way.product or ()))
            flops = f"{way.cost.flops / 1e9:.4g}"
            rows.append(
                f"| {way.name} | {way.engine} | {product} | {flops} | {format_bytes(way.cost.workspace)} |"
            )
    ran = {way.lowering for way in plan.candidates if way.cost is not None}
    rows += [f"| {name} | | | | refuses: {why} |" for name, why in refused.items() if name not in ran]
    return "\n".join(rows)


def sections() -> str:
    """The docstring of each lowering's file, which may have several: its mathematics."""
    parts = {}
    for each in ALL:
        title, _, body = cleandoc(sys.modules[type(each).__module__].__doc__ or "").partition("\n")
        sentence = title.partition(": ")[2] or title
        parts[_file(each)] = f"## {_file(each)}\n\n{sentence[:1].upper()}{sentence[1:]}\n{markdown(body)}"
    return "\n\n".join(parts.values())


def _file(lowering: Lowering) -> str:
    return type(lowering).__module__.rpartition(".")[2]


FILLERS = {"table": table, "one layer": one_layer, "sections": sections}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return re.sub(r"<!-- lowerings: ([a-z ]+) -->", lambda found: FILLERS[found[1]](), markdown)
