"""Digests of kernels: the same for the same code, another one as soon as a text or the arguments are others."""

from __future__ import annotations

import pytest

from benchmarks import kernel_texts
from convmat.cases import Case, case
from convmat.engine import jit_cache
from convmat.engine.kernels import tile
from convmat.engine.kernels.panel import plan

LAYER = case("2d/1x1/tail")


def digests(layer: Case = LAYER) -> dict[str, tuple[str, str]]:
    """Digest of the text and of the arguments, by what the kernel is for."""
    found = [line.split(" ", 2) for line in kernel_texts.lines([layer], ["x86-64-v3"])]
    assert len({where for _, _, where in found}) == len(found)
    return {where: (text, arguments) for text, arguments, where in found}


FORWARD = f"x86-64-v3 2 {LAYER.name!r} NCHW forward im2col, a panel at a time: 0"


def test_digests_are_the_same_twice() -> None:
    assert digests() == digests()
    assert FORWARD in digests()


def test_another_text_has_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    text, arguments = digests()[FORWARD]
    monkeypatch.setattr(tile, "UNROLL", 2)
    changed, same = digests()[FORWARD]
    assert changed != text
    assert same == arguments


def test_other_arguments_have_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    text, arguments = digests()[FORWARD]
    monkeypatch.setattr(plan, "PANEL_BYTES", 1)
    same, changed = digests()[FORWARD]
    assert same == text
    assert changed != arguments


def test_networks_ask_for_products_and_sweeps_without_compiling() -> None:
    before = jit_cache.counts.compiled
    found = [line.split() for line in kernel_texts.network_lines(["keywords"])]
    assert [(name, int(number)) for _, name, number in found] == [("keywords", i) for i in range(len(found))]
    assert len({digest for digest, _, _ in found}) == len(found) > 3
    assert jit_cache.counts.compiled == before
