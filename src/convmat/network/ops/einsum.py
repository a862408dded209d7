"""Einsum: a sum of products by its equation.

    "bhid,bhjd->bhij"     y[b, h, i, j] = sum over d of  x0[b, h, i, d] * x1[b, h, j, d]

A letter is an index, and what the output lacks is summed. "..." stands for as many axes as an operand has besides; they
broadcast from the right. Without "->" the output has the axes of "..." and then, in ASCII's order, each letter that
occurs once. An extent of 1 broadcasts against any other.
"""

from __future__ import annotations

import numpy as np

from ..graph import Node, Spec
from .base import Specs, Step, input_at, step_operator
from .options import Options

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def equation_of(node: Node, specs: Specs) -> str:
    """The equation with "..." and "->" written out. Raises NetworkError where it does not fit the inputs."""
    terms, right = _terms(node, specs)
    return ",".join(terms) + "->" + right


def _terms(node: Node, specs: Specs) -> tuple[list[str], str]:
    """The letters of each operand and those of the output, "..." written out in letters of its own."""
    equation = str(node.get("equation", "")).replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(specs):
        raise node.error(f"its equation {equation!r} has {len(terms)} operands\n  it has {len(specs)} inputs")
    for term in (*terms, right):
        if term.count("...") > 1 or not set(term.replace("...", "", 1)) <= set(LETTERS):
            raise node.error(
                f"its equation {equation!r} has the term {term!r}\n  letters and one ... are needed"
            )
    spare = [letter for letter in LETTERS if letter not in equation]
    widest = 0
    for i, term in enumerate(terms):
        spec, letters = input_at(node, specs, i), term.replace("...", "")
        more = spec.rank - len(letters)
        if more < 0 or ("..." not in term and more):
            raise node.error(f"its equation {equation!r} does not fit its input {i}\n  {term!r} and {spec}")
        widest = max(widest, more)
    if widest > len(spare):
        raise node.error(f"its equation {equation!r} and {widest} axes for ... need more than 52 letters")
    dots = "".join(spare[:widest])
    written = []
    for i, term in enumerate(terms):
        more = input_at(node, specs, i).rank - len(term.replace("...", ""))
        written.append(term.replace("...", dots[widest - more :]))
    if not arrow:
        single = sorted(c for c in set(left) & set(LETTERS) if left.count(c) == 1)
        return written, dots + "".join(single)
    return written, right.replace("...", dots)


def _sum_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    terms, right = _terms(node, specs)
    equation, first = node.get("equation"), input_at(node, specs, 0)
    extents: dict[str, int] = {}
    for i, term in enumerate(terms):
        spec, own = input_at(node, specs, i), dict[str, int]()
        if spec.dtype != first.dtype:
            raise node.error(f"its inputs are {first} and {spec}\n  one element type is needed")
        for letter, extent in zip(term, spec.shape, strict=True):
            known = extents.setdefault(letter, extent)
            if (1 not in (known, extent) and known != extent) or own.setdefault(letter, extent) != extent:
                raise node.error(
                    f"its equation {equation!r} gives {letter!r} two extents\n  {known} and {extent}, of {spec}"
                )
            extents[letter] = extent if known == 1 else known
    if len(set(right)) != len(right) or not set(right) <= set(extents):
        raise node.error(
            f"its equation {equation!r} has the output {right!r}\n  letters of its operands, once each"
        )
    return (Spec(tuple(extents[letter] for letter in right), first.dtype),)


@step_operator("Einsum", shape=_sum_shape)
def einsum(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The sum of products that the equation names."""
    equation = equation_of(node, specs)
    return lambda *arrays: np.einsum(equation, *arrays[:-1], out=arrays[-1], optimize=len(arrays) > 2)
