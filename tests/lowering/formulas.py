"""What the language of products means, evaluated as its docstrings say: no engine, no packing, no blocks."""

from __future__ import annotations

import string
from collections.abc import Mapping

import ml_dtypes
import numpy as np

from convmat.problem import Problem
from convmat.product import Coordinate, Fourier, Product, Transform, View
from tests.support import Array


def positions(view: View, coordinate: Coordinate) -> Array:
    """Where along one array axis each entry lies; an axis for each index of the View."""
    grid = np.indices([index.extent for index in view.indices], sparse=True)
    at = dict(zip((index.name for index in view.indices), grid, strict=True))
    return np.asarray(coordinate.offset + sum(by * at[name] for name, by in coordinate.terms))


def entries(view: View, operands: Mapping[str, Array]) -> Array:
    """All entries of a View, an axis for each of its indices."""
    source = operands[view.source] if isinstance(view.source, str) else entries(view.source, operands)
    shape = tuple(index.extent for index in view.indices)
    at = [np.broadcast_to(positions(view, each), shape) for each in view.coordinates]
    inside = np.ones(shape, bool)
    for each, coordinate in zip(at, view.coordinates, strict=True):
        inside &= (each >= 0) & (each < coordinate.extent)
    found = np.full(shape, view.fill, source.dtype)
    found[inside] = source[tuple(each[inside] for each in at)]
    return found.conj() if view.conjugate else found


def matrices(transform: Transform | Fourier) -> tuple[Array, Array, Array]:
    """`pre_a`, `pre_b` and `post`."""
    if isinstance(transform, Transform):
        made = transform.pre_a, transform.pre_b, transform.post
        a, b, c = (np.array([[float(number) for number in row] for row in matrix]) for matrix in made)
        return a, b, c
    T = transform.window
    taps, window, outputs = map(np.arange, transform.windows)
    z = np.exp(-2j * np.pi / T)
    points = np.arange(T)
    return z ** -np.outer(points, taps), z ** np.outer(points, window), z ** -np.outer(outputs, points) / T


def along(matrix: Array, array: Array, axis: int) -> Array:
    """The matrix times an axis."""
    return np.moveaxis(np.tensordot(matrix, array, (1, axis)), 0, axis)


def summed(product: Product, operands: Mapping[str, Array]) -> Array:
    """C before its epilogue, an axis for each of its indices."""
    groups, transforms = len(product.groups(product.c)), list(map(matrices, product.transforms))
    total: Array | float = 0.0
    for a, b in product.terms:
        left, right = entries(a, operands), entries(b, operands)
        if product.rounded:
            left, right = (each.astype(ml_dtypes.bfloat16).astype(np.float32) for each in (left, right))
        for number, (pre_a, pre_b, _) in enumerate(transforms):
            left, right = along(pre_a, left, groups + number), along(pre_b, right, groups + number)
        batch = len(a.batch)
        left = left.reshape(*left.shape[:batch], *a.shape)
        right = right.reshape(*right.shape[:batch], *b.shape)
        letters = string.ascii_lowercase[:batch]
        total = total + np.einsum(f"{letters}MK,{letters}KN->{letters}MN", left, right)
    found = np.asarray(total)
    for number, (_, _, post) in enumerate(transforms):
        found = along(post, found, groups + number)
    return found.reshape([index.extent for index in product.c.indices])


def computed(products: tuple[Product, ...], problem: Problem, x: Array, w: Array) -> Array:
    """y of a problem's products, in the shape that its owner sees; every element is written once."""
    operands = {
        name: array.reshape([dim.extent for dim in getattr(problem, name).dims])
        for name, array in (("x", x), ("w", w))
    }
    y = np.zeros([dim.extent for dim in problem.y.dims], np.result_type(x, w))
    written = np.zeros(y.shape, int)
    for product in products:
        values = summed(product, operands)
        at = [np.broadcast_to(positions(product.c, each), values.shape) for each in product.c.coordinates]
        inside = np.ones(values.shape, bool)
        for each, extent in zip(at, y.shape, strict=True):
            inside &= (each >= 0) & (each < extent)
        where = tuple(each[inside] for each in at)
        y[where] = values[inside] if np.iscomplexobj(y) else values[inside].real
        np.add.at(written, where, 1)
    assert (written == 1).all()
    return y.reshape(problem.y.shape)
