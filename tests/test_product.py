"""Layouts and activations: where elements lie, and what is done to them."""

from __future__ import annotations

import pytest

from convmat.layout import Dim, Layout
from convmat.product import ACTIVATIONS, Activation, Coordinate, Index, View

EXTENTS = {"b": 2, "g": 1, "c": 32, "i0": 5, "i1": 7}


def test_layouts_are_orders_of_axes() -> None:
    first = Layout.of("b", "g c", "i0", "i1", extents=EXTENTS)
    last = Layout.of("b", "i0", "i1", "g c", extents=EXTENTS)
    assert (first.shape, last.shape) == ((2, 32, 5, 7), (2, 5, 7, 32))
    assert [dim.role for dim in first.dims] == ["b", "g", "c", "i0", "i1"]


def test_an_axis_may_be_split_and_turned() -> None:
    blocked = Layout.of("b", "c/16", "i0", "-i1", "c%16", extents=EXTENTS)
    assert blocked.shape == (2, 2, 5, 7, 16)
    assert blocked.dims[1] == Dim("c", 2, step=16)
    assert blocked.dims[4] == Dim("c", 16)
    assert blocked.splits("c") == {1, 16}
    turned = blocked.rename({"i0": "p0", "i1": "p1"}, flip="i")
    assert [(dim.role, dim.flip) for dim in turned.dims[2:4]] == [("p0", True), ("p1", False)]
    assert blocked.with_extent("b", 9).shape == (9, 2, 5, 7, 16)


def test_what_leaves_an_array_is_risky_on_its_axis_alone() -> None:
    rows, cols = (Index("f", 3),), (Index("p", 4), Index("b", 2))
    inside, outside = Coordinate(2, (("b", 1),)), Coordinate(5, (("p", 1), ("f", 1)), -1)
    view = View("x", rows, cols, (inside, outside))
    assert (view.shape, view.elements, view.risky) == ((3, 8), 24, (1,))
    assert view.outside == pytest.approx(1 / 12)
    backwards = View("x", rows, cols, (inside, Coordinate(6, (("p", -1), ("f", 1)), 3)))
    assert backwards.inside
    assert View("x", (Index("f", 0),), cols, (inside, outside)).inside, "nothing is read of nothing"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_name(name: str) -> None:
    if ACTIVATIONS[name] is None:
        with pytest.raises(ValueError) as caught:
            Activation.of(name)
        assert str(caught.value) == "clip takes a low and a high bound, e.g. ('clip', 0.0, 6.0), got 'clip'"
        assert Activation.of((name, 0.0, 6.0)) == Activation("clip", (0.0, 6.0))
    else:
        assert Activation.of(name) == Activation.of((name,)) == Activation(name, ACTIVATIONS[name] or ())


def test_bounds_in_the_wrong_order_are_no_clip() -> None:
    with pytest.raises(ValueError) as caught:
        Activation.of(("clip", 6, 0))
    assert (
        str(caught.value) == "clip takes a low and a high bound, e.g. ('clip', 0.0, 6.0), got ('clip', 6, 0)"
    )
