"""Fewer nodes with the same answer: each rule a function, tried at every node until none applies.

    fold_scale           (w*x + b)*s + t = (s*w)*x + (s*b + t)     BatchNormalization; Mul, Div, Add, Sub of constants
    fold_columns         (x @ w + b)*s + t                         the same of a product with a constant matrix
    scale_before         w*(s*x) = (w*s)*x
    pad_into_conv        zeros that Pad puts around x are the convolution's own padding
    swish                x*sigmoid(x), x*hardsigmoid(x)            one activation
    gelu                 x * 0.5 * (1 + erf(x / sqrt(2)))          one activation
    layer_norm           (x - mean) / sqrt(variance + e) * s + b    one node, over the last axes
    add_bias             x @ w + b                                 b, a number a column, is the bias
    add_into_epilogue    conv(x) + r, x @ w + r                    r is the residual
    activate             f(conv(x) + b + r)                        f in the epilogue
    multiply_once        x[0] @ w, x[1] @ w, ..                    slices of x @ w
    cancel_transposes    two in a row are one; one that moves axes of length 1 alone is a Reshape
    choose_first         Transpose(x)[i] = Transpose(x[i])         what is chosen is moved alone
    turn_in_product      Transpose(a) @ b, Transpose(a @ b)        one Einsum, where a and b are computed
    reduce_unstacked     ReduceMax(Concat(x, y)) = Max(x, y)       of arrays of extent 1 along the axis that is reduced
    skip                 Identity, and Dropout outside training
    shift_before         w*(x + t) = w*x + w*t                     where no zeros are put around x + t
    mean_of_bytes        AveragePool between 8-bit numbers         a product with equal weights
    batch_as_pass        BatchNormalization left over              (x - less) * by + add, an elementwise node
    scale_as_pass        Scaler of ai.onnx.ml                      (x - offset) * scale, another
    rows_first           rows of a table in 8 bits, before it is made float32; before all others
    quantise_constants   constants that are quantised, as 8-bit numbers; after it
    quantised            products between dequantised and quantised numbers by integers; after it
    in_float             products of dequantised numbers whose outputs stay in float32; after it
    steps_in_bytes       an LSTM of numbers and weights in 8 bits counts its states so, too; after it
    join                 g(f(x), z) element by element             one pass; tried once the others have settled
    requantise_in_product, add_in_product
                         passes over the bytes of a product        rounded again in its epilogue; after all others

A rule looks back from a node to what it reads, and changes the graph only if nobody else needs what would vanish.
What it computes of constants it computes in float64 and rounds once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ...arguments import entries_of
from ...errors import NetworkError, format_value
from ..graph import Graph, Node, Spec
from .again import add_in_product, requantise_in_product
from .draft import Draft
from .folding import fold_columns, fold_scale, pad_into_conv, scale_before, shift_before
from .fusing import activate, add_bias, add_into_epilogue, gelu, swish
from .joining import batch_as_pass, join, scale_as_pass
from .moving import cancel_transposes, skip
from .normalising import layer_norm
from .pooled import mean_of_bytes
from .quantised import in_float, quantise_constants, quantised
from .recurrent import steps_in_bytes
from .slices import multiply_once
from .stacked import reduce_unstacked
from .tables import rows_first
from .turning import choose_first, turn_in_product

Rule = Callable[[Draft, Node], bool]

MOST_PASSES = 16


def rewrite(
    graph: Graph, specs: Mapping[str, Spec], rules: Collection[str] | None = None
) -> tuple[Graph, dict[str, Spec]]:
    """The graph after all rules, or those named; Specs of new constants are added. Raises NetworkError."""
    wanted = [rule for rule in choose_rules(rules) if rule not in FIRST]
    draft = Draft(graph, specs)
    late = (*LAST, *BEHIND)
    for together in (
        [rule for rule in wanted if rule not in late],
        [rule for rule in wanted if rule in LAST],
        [rule for rule in wanted if rule in BEHIND],
    ):
        for _ in range(MOST_PASSES):
            reading = (node for node in draft if node.inputs)
            changed = [rule(draft, node) for node in reading for rule in together if _is_there(draft, node)]
            if not any(changed):
                break
    return draft.finish(), draft.specs


def rewrite_before_constants(graph: Graph, rules: Collection[str] | None = None) -> Graph:
    """The graph after those of the rules that come before anything is computed of constants. Raises NetworkError."""
    wanted = [rule for rule in choose_rules(rules) if rule in FIRST]
    draft = Draft(graph, {name: Spec.of(array) for name, array in graph.constants.items()})
    changed = [rule(draft, node) for rule in wanted for node in draft if _is_there(draft, node)]
    return draft.finish() if any(changed) else graph


def choose_rules(names: Collection[str] | None) -> list[Rule]:
    """Rules by their names; None: all. Raises NetworkError for a name that is none."""
    if names is None:
        return list(RULES.values())
    given = entries_of(names)
    if given is None or any(not isinstance(name, str) or name not in RULES for name in given):
        raise NetworkError(
            f"load: there is no rule of that name\n  rewrite = {format_value(names)}\n"
            f"  True, False, or some of {', '.join(map(repr, RULES))}"
        )
    return [rule for name, rule in RULES.items() if name in given]


def _is_there(draft: Draft, node: Node) -> bool:
    """Whether no rule has taken the node away."""
    return draft.holds(node)


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        rows_first,
        quantise_constants,
        quantised,
        in_float,
        steps_in_bytes,
        skip,
        multiply_once,
        cancel_transposes,
        choose_first,
        turn_in_product,
        reduce_unstacked,
        pad_into_conv,
        fold_scale,
        fold_columns,
        scale_before,
        shift_before,
        swish,
        gelu,
        layer_norm,
        add_bias,
        add_into_epilogue,
        activate,
        mean_of_bytes,
        batch_as_pass,
        scale_as_pass,
        join,
        requantise_in_product,
        add_in_product,
    )
}
"""In the order in which they are tried at a node."""

FIRST = (rows_first, quantise_constants, quantised, in_float, steps_in_bytes)
"""Rules that are tried before anything is computed of constants."""

LAST = (batch_as_pass, scale_as_pass, join)
"""Rules that are tried once the others have settled."""

BEHIND = (requantise_in_product, add_in_product)
"""Rules that are tried once those have: what they take is no pass that another may join."""
