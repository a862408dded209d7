"""Operators of `ai.onnx.ml`: what stands before and behind a network that a file of scikit-learn's brings along.

    scale:     y[n, c] = (x[n, c] - offset[c]) * scale[c]          impute:  y[n, c] = x[n, c], or imputed[c]
    classify:  s[n, e] = sum over c of x[n, c] w[e, c] + b[e],     the label with the largest s, and f(s)
    encode:    y = table[x], or the default

A row of x is an example, a column a feature; x with one axis is one row. Sums run in float64 and are rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ..graph import Array, Node, Spec, Value
from .base import ShapeRule, Specs, Step, input_at, operator, same_spec, unknown_outputs
from .options import Options

DOMAIN = "ai.onnx.ml"
"""Domain of these operators' names."""

Run = TypeVar("Run", bound=Callable[..., Any])

FLOAT = np.dtype(np.float32)

NEAR_ZERO = 1e-7
"""What SOFTMAX_ZERO takes for 0, as onnxruntime does."""


def _float_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    return (Spec(input_at(node, specs, 0).shape, FLOAT),)


def numbers_of(node: Node, name: str, default: Iterable[float] = ()) -> Array:
    """An attribute with a number for each feature."""
    known: dict[str, Array] = node.__dict__.setdefault("_numbers", {})  # made of it once, not in each call
    if name not in known:
        known[name] = np.array(node.get(name, tuple(default)), np.float64)
    return known[name]


def ml_operator(*names: str, shape: ShapeRule) -> Callable[[Run], Run]:
    """Enter an operator of this domain; its step writes what the function makes, but texts, which lie in no arena."""

    def enter(run: Run) -> Run:
        def prepare(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
            count, at = sum(spec is not None for spec in specs), [i for i, n in enumerate(node.outputs) if n]

            def step(*arrays: Array) -> None:
                found = run(node, *arrays[:count])
                several = found if isinstance(found, tuple) else (found,)
                for i, out in zip(at, arrays[count:], strict=True):
                    out[...] = several[i]

            return None if any(spec.dtype.hasobject for spec in made) else step

        operator(*(f"{DOMAIN}.{name}" for name in names), shape=shape, prepare=prepare)(run)
        return run

    return enter


def _each_feature(node: Node, name: str, values: Array, x: Array) -> Array:
    """One number, or one for each feature of x. Raises NetworkError."""
    features = x.shape[-1] if x.ndim else 1
    if values.size not in (1, features):
        raise node.error(
            f"its {name} has {values.size} numbers, and x has {features} features\n  1 or {features} are needed"
        )
    return values


@ml_operator("Scaler", shape=_float_shape)
def scale(node: Node, x: Array) -> Array:
    """(x - offset) * scale, a number for each feature or one for all; float32."""
    offset = _each_feature(node, "offset", numbers_of(node, "offset", [0.0]), x)
    factor = _each_feature(node, "scale", numbers_of(node, "scale", [1.0]), x)
    made: Array = ((x.astype(np.float64) - offset) * factor).astype(FLOAT)
    return made


@ml_operator("Imputer", shape=same_spec)
def impute(node: Node, x: Array) -> Array:
    """x with another number in place of the one that stands for nothing: NaN, or what the node says."""
    kind = "int64" if x.dtype.kind in "iu" else "float"
    imputed = np.array(node.get(f"imputed_value_{kind}s", ()), x.dtype)
    if not imputed.size:
        raise node.error(
            f"it says no imputed_value_{kind}s\n  its input is {x.dtype}: a number for each feature, or one for all"
        )
    nothing = x.dtype.type(node.get(f"replaced_value_{kind}", 0))
    gone = np.isnan(x) if nothing != nothing else x == nothing
    return np.where(gone, _each_feature(node, f"imputed_value_{kind}s", imputed, x), x)


@ml_operator("Binarizer", shape=same_spec)
def binarize(node: Node, x: Array) -> Array:
    """1 where x is above the threshold, else 0; of x's type."""
    made: Array = (x > node.get("threshold", 0.0)).astype(x.dtype)
    return made


@ml_operator("Normalizer", shape=_float_shape)
def normalize(node: Node, x: Array) -> Array:
    """Each row by its largest element, the sum of its magnitudes or its length; rows whose norm is 0 stay."""
    wide, norm = x.astype(np.float64), node.get("norm", "MAX")
    measures = {
        "MAX": lambda a: a.max(axis=-1, keepdims=True),
        "L1": lambda a: np.abs(a).sum(axis=-1, keepdims=True),
        "L2": lambda a: np.sqrt((a * a).sum(axis=-1, keepdims=True)),
    }
    if norm not in measures:
        raise node.error(f"its norm is {norm!r}\n  one of {', '.join(measures)} is needed")
    found = measures[norm](wide) if x.size else np.ones(1)
    made: Array = (wide / np.where(found == 0, 1.0, found)).astype(FLOAT)
    return made


# -- features ----------------------------------------------------------------------------------------------------------


def _extract_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, at = input_at(node, specs, 0), input_at(node, specs, 1)
    return (Spec((*(x.shape[:-1] or (1,)), at.size), x.dtype),)


@ml_operator("ArrayFeatureExtractor", shape=_extract_shape)
def extract_features(node: Node, x: Array, at: Array) -> Array:
    """The features at some places, in their order: x[..., at]; of one axis, a row."""
    places = at.reshape(-1)
    if not x.ndim or (places.size and not 0 <= places.min() <= places.max() < x.shape[-1]):
        raise node.error(f"it asks for features {places.tolist()[:8]}\n  its input is {Spec.of(x)}")
    rows = x.reshape(1, -1) if x.ndim == 1 else x
    return rows[..., places]


def _sizes(node: Node, specs: Specs) -> list[int]:
    wanted = node.get("inputdimensions")
    rows = [spec for spec in specs if spec is not None]
    own = [spec.size // max(spec.shape[0], 1) if spec.rank > 1 else spec.size for spec in rows]
    if wanted is not None and len(wanted) != len(rows):
        raise node.error(
            f"its inputdimensions are {wanted}\n  a size for each of its {len(rows)} inputs is needed"
        )
    return own if wanted is None else list(wanted)


def _vector_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    rows = {spec.shape[0] if spec.rank > 1 else 1 for spec in specs if spec is not None}
    if len(rows) != 1:
        raise node.error(
            f"its inputs have {', '.join(map(str, sorted(rows)))} rows\n  as many each are needed"
        )
    return (Spec((rows.pop(), sum(_sizes(node, specs))), FLOAT),)


@ml_operator("FeatureVectorizer", shape=_vector_shape)
def join_features(node: Node, *inputs: Array) -> Array:
    """All inputs' features beside each other, each cut to its size or filled up with zeros."""
    specs = [Spec.of(x) for x in inputs]
    (made,) = _vector_shape(node, specs)
    y, begin = np.zeros(made.shape, FLOAT), 0
    for x, size in zip(inputs, _sizes(node, specs), strict=True):
        own = x.reshape(len(y), -1)[:, :size]
        y[:, begin : begin + own.shape[1]] = own
        begin += size
    return y


# -- labels ------------------------------------------------------------------------------------------------------------


def _table(keys: Sequence[Any], values: Sequence[Any]) -> dict[Any, Any]:
    """Each key's value; NaN is a key like any other, called None, and of equal keys the last counts."""
    return {None if key != key else key: value for key, value in zip(keys, values, strict=True)}


def _look_up(x: Array, table: Mapping[Any, Any], default: Any, dtype: Any) -> Array:
    """The value of each element's key."""
    elements = x.reshape(-1).tolist()
    if x.dtype.kind == "f" and np.isnan(x).any():
        elements = [None if math.isnan(each) else each for each in elements]
    found = np.empty(x.size, dtype)
    found[:] = [table.get(each, default) for each in elements]
    return found.reshape(x.shape)


_KINDS = {
    "strings": ("default_string", "_Unused", np.dtype(object)),
    "int64s": ("default_int64", -1, np.dtype(np.int64)),
    "floats": ("default_float", -0.0, FLOAT),
}
"""How the attributes of an encoder end, the name of its default, what that is, and the element type."""


def _side(node: Node, side: str) -> tuple[list[Any], Any, np.dtype[Any]]:
    """The keys or values of an encoder, what is given where there is none, and their element type."""
    tensor = node.get(f"{side}_tensor")
    if tensor is not None:
        default = node.get("default_tensor")
        kind = "strings" if tensor.dtype.hasobject else "int64s" if tensor.dtype.kind in "iu" else "floats"
        word, usual, _ = _KINDS[kind]
        given = node.get(word, usual) if default is None else default.reshape(-1).tolist()[0]
        return tensor.reshape(-1).tolist(), given, tensor.dtype
    for kind, (word, usual, dtype) in _KINDS.items():
        if (found := node.get(f"{side}_{kind}")) is not None:
            default = node.get("default_tensor")
            given = node.get(word, usual) if default is None else default.reshape(-1).tolist()[0]
            return list(found), given, dtype
    raise node.error(f"it has no {side}\n  {side}_strings, {side}_int64s or {side}_floats is needed")


def _encoder(node: Node, x: np.dtype[Any]) -> tuple[list[Any], list[Any], Any, np.dtype[Any]]:
    """Keys, values, default and the type of what a LabelEncoder or CategoryMapper gives for x."""
    if node.op == "CategoryMapper" or node.version < 2:
        texts = list(node.get("cats_strings" if node.op == "CategoryMapper" else "classes_strings", ()))
        numbers = list(node.get("cats_int64s", range(len(texts))))
        keys, kind = (texts, "int64s") if x.hasobject else (numbers, "strings")
        values = numbers if x.hasobject else texts
        word, usual, dtype = _KINDS[kind]
        default = node.get(word, usual)
    else:
        keys, (values, default, dtype) = _side(node, "keys")[0], _side(node, "values")
    if len(keys) != len(values):
        raise node.error(
            f"it has {len(keys)} keys and {len(values)} values\n  a value for each key is needed"
        )
    return keys, values, default, dtype


def _encode_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    return (Spec(x.shape, _encoder(node, x.dtype)[3]),)


@ml_operator("LabelEncoder", "CategoryMapper", shape=_encode_shape)
def encode_labels(node: Node, x: Array) -> Array:
    """Each label's number, or each number's label; the default for those that the node does not know."""
    known = node.__dict__.setdefault("_tables", {})  # made of it once, not in each call
    if x.dtype not in known:
        keys, values, default, dtype = _encoder(node, x.dtype)
        known[x.dtype] = _table(keys, values), default, dtype
    return _look_up(x, *known[x.dtype])


def _categories(node: Node) -> list[Any]:
    return list(node.get("cats_strings") or node.get("cats_int64s") or ())


def _hot_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    return (Spec((*input_at(node, specs, 0).shape, len(_categories(node))), FLOAT),)


@ml_operator("OneHotEncoder", shape=_hot_shape)
def encode_one_hot(node: Node, x: Array) -> Array:
    """1 at a category's place along a new last axis, 0 elsewhere; all 0 for what is no category."""
    known = _categories(node)
    table = _table(known, range(len(known)))
    places = _look_up(x if x.dtype.hasobject else x.astype(np.int64), table, -1, np.dtype(np.int64))
    if not node.get("zeros", 1) and (places < 0).any():
        odd = x.reshape(-1)[places.reshape(-1) < 0].tolist()[0]
        raise node.error(f"{odd!r} is none of its {len(known)} categories\n  with zeros=1 all are 0 there")
    made: Array = (places[..., None] == np.arange(len(known))).astype(FLOAT)
    return made


@operator(f"{DOMAIN}.ZipMap", shape=unknown_outputs, late=True)
def zip_labels(node: Node, x: Value) -> Any:
    """A list with a dict for each row: label -> score."""
    labels = list(node.get("classlabels_strings") or node.get("classlabels_int64s") or ())
    if not isinstance(x, np.ndarray) or not x.ndim or x.shape[-1] != len(labels):
        raise node.error(f"it has {len(labels)} labels\n  a score for each is needed: (N, {len(labels)})")
    return [dict(zip(labels, row, strict=True)) for row in x.reshape(-1, len(labels)).tolist()]


# -- linear models -----------------------------------------------------------------------------------------------------


def transform_scores(node: Node, scores: Array, way: str = "") -> Array:
    """Scores in float64 as `way` has them, the node's `post_transform` if it is omitted: (N, E)."""
    way = way or node.get("post_transform", "NONE")
    if way == "NONE":
        return scores
    if way == "LOGISTIC":
        return 1 / (1 + np.exp(-scores))
    if way in ("SOFTMAX", "SOFTMAX_ZERO"):
        grown = np.exp(scores - scores.max(axis=-1, keepdims=True))
        if way == "SOFTMAX_ZERO":  # what is 0 stays 0
            grown = np.where(np.abs(scores) > NEAR_ZERO, grown, 0.0)
        total = grown.sum(axis=-1, keepdims=True)
        made: Array = grown / np.where(total == 0, 1.0, total)
        return made
    if way == "PROBIT":
        from statistics import NormalDist

        normal = NormalDist()
        inverse = np.vectorize(lambda p: normal.inv_cdf(p) if 0 < p < 1 else _beyond(p), otypes=[np.float64])
        return np.asarray(inverse(scores))
    raise node.error(
        f"its post_transform is {way!r}\n  one of NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO, PROBIT is needed"
    )


def _beyond(p: float) -> float:
    """What the inverse of the normal distribution is at 0, at 1, and where it is nothing."""
    return -math.inf if p == 0 else math.inf if p == 1 else math.nan


def rows_of(x: Array) -> Array:
    """x, whose one axis, if there is no second, is one row."""
    return x.reshape(1, -1) if x.ndim < 2 else x


def _linear(node: Node, x: Array, outputs: int) -> Array:
    """x @ coefficients^T + intercepts in float64: (N, outputs). Raises NetworkError."""
    rows, w = rows_of(x), numbers_of(node, "coefficients")
    if rows.ndim != 2 or w.size != outputs * rows.shape[1]:
        raise node.error(
            f"it has {w.size} coefficients for {outputs} outputs\n  its input is {Spec.of(x)}: "
            f"{outputs} x {rows.shape[-1]} are needed"
        )
    b = numbers_of(node, "intercepts")
    if b.size not in (0, outputs):
        raise node.error(
            f"it has {b.size} intercepts\n  one for each of its {outputs} outputs is needed, or none"
        )
    made: Array = rows.astype(np.float64) @ w.reshape(outputs, -1).T + (b if b.size else 0.0)
    return made


def _regress_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    return (Spec((x.shape[0] if x.rank > 1 else 1, node.get("targets", 1)), FLOAT),)


@ml_operator("LinearRegressor", shape=_regress_shape)
def regress(node: Node, x: Array) -> Array:
    """x: (N, C) -> (N, targets)."""
    return transform_scores(node, _linear(node, x, node.get("targets", 1))).astype(FLOAT)


def labels_of(node: Node, numbers: str) -> Array:
    """The classes of a classifier, texts as objects; `numbers` is the attribute of those that are numbers."""
    texts = node.get("classlabels_strings")
    if texts:
        return np.array(texts, object)
    return np.array(node.get(numbers) or (0, 1), np.int64)


def _classes(node: Node) -> tuple[Array, int]:
    """The labels, and how many rows of coefficients there are: two classes may share one."""
    labels, b = labels_of(node, "classlabels_ints"), len(node.get("intercepts", ()))
    return labels, 1 if len(labels) == 2 and b == 1 else len(labels)


def _classify_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, (labels, _) = input_at(node, specs, 0), _classes(node)
    rows = x.shape[0] if x.rank > 1 else 1
    return Spec((rows,), labels.dtype), Spec((rows, len(labels)), FLOAT)


@ml_operator("LinearClassifier", shape=_classify_shape)
def classify(node: Node, x: Array) -> tuple[Array, Array]:
    """x: (N, C) -> the label of each row, (N,), and a score for each label, (N, E)."""
    labels, rows = _classes(node)
    scores = _linear(node, x, rows)
    if rows < len(labels):  # one sum decides between two
        chosen, scores = (scores[:, 0] > 0).astype(np.int64), two_scores(node, scores)
        return labels[chosen], scores.astype(FLOAT)
    return labels[scores.argmax(axis=1)], transform_scores(node, scores).astype(FLOAT)


def two_scores(node: Node, scores: Array) -> Array:
    """(N, 1) sums for the second of two classes -> the scores of both: (N, 2).

    The standard is silent here: as in onnxruntime LOGISTIC is taken of both signs, and otherwise both add up to 1.
    """
    way = node.get("post_transform", "NONE")
    if way == "PROBIT":
        raise node.error(
            "its post_transform is PROBIT, and one sum decides between two classes\n  give coefficients for both"
        )
    if way == "LOGISTIC":
        return transform_scores(node, np.concatenate([-scores, scores], axis=1))
    return np.concatenate([1 - scores, scores], axis=1)
