"""What is left to the reference of the ONNX standard: operators, versions, attributes and optional inputs, each of
which a test has held against the standard's cases, onnxruntime or the text's own formula.

The reference is not right everywhere: it lacks older versions, and omits attributes and inputs that it has not
thought of. What is not in this table is refused when a network is loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ...lazy_dataclass import dataclass
from .base import OPERATORS


@dataclass(frozen=True)
class Held:
    """One operator: the operator sets its versions begin with, and the attributes and optional inputs it may have."""

    versions: tuple[int, ...]
    attributes: str = ""
    optional: str = ""


HELD: dict[str, Held] = {
    "AffineGrid": Held((20,), "align_corners"),
    "Bernoulli": Held((15, 22), "dtype seed"),
    "BitCast": Held((26,), "to"),
    "BlackmanWindow": Held((17,), "periodic output_datatype"),
    "CenterCropPad": Held((18,), "axes"),
    "CumProd": Held((26,), "exclusive reverse"),
    "DFT": Held((17, 20), "axis inverse onesided", "dft_length axis"),
    "Det": Held((11, 22)),
    "EyeLike": Held((9, 22), "dtype k"),
    "HammingWindow": Held((17,), "periodic output_datatype"),
    "HannWindow": Held((17,), "periodic output_datatype"),
    "ImageDecoder": Held((20,), "pixel_format"),
    "LinearAttention": Held((27,), "kv_num_heads q_num_heads scale update_rule", "past_state decay beta"),
    "MelWeightMatrix": Held((17,)),
    "RandomNormal": Held((1, 22), "dtype mean scale seed shape"),
    "RandomNormalLike": Held((1, 22), "dtype mean scale seed"),
    "RandomUniform": Held((1, 22), "dtype high low seed shape"),
    "RandomUniformLike": Held((1, 22), "dtype high low seed"),
    "RegexFullMatch": Held((20,), "pattern"),
    "RotaryEmbedding": Held((23,), "interleaved num_heads rotary_embedding_dim", "position_ids"),
    "StringConcat": Held((20,)),
    "StringNormalizer": Held((10,), "case_change_action is_case_sensitive stopwords"),
    "StringSplit": Held((20,), "delimiter maxsplit"),
    "SwiGLU": Held((28,), "alpha"),
    "TensorScatter": Held((24,), "axis mode", "write_indices"),
    "TfIdfVectorizer": Held(
        (9,), "max_gram_length max_skip_count min_gram_length mode ngram_counts ngram_indexes pool_int64s"
    ),
    "Unique": Held((11, 28), "axis sorted"),
}
"""By name, with the domain where it is not the standard's first."""


def find_refusal(name: str, version: int, attributes: Collection[str], given: Collection[str]) -> str | None:
    """Why an operator is not left to the reference, and what would do; None where it is.

    `version`: the operator set that its version began with. `given`: the names of its optional inputs that are there.

    >>> find_refusal("Det", 22, (), ())
    >>> find_refusal("DFT", 1, (), ())
    'no version of it but those of operator sets 17 and 20; convert the model to one of them'
    """
    held = HELD.get(name)
    if held is None:
        return "nothing here computes it; export the model without it"
    if version not in held.versions:
        sets = " and ".join(map(str, held.versions))
        return f"no version of it but those of operator sets {sets}; convert the model to one of them"
    odd = sorted(set(attributes) - set(held.attributes.split()))
    if odd:
        return f"its attribute {odd[0]!r} is not computed; omit it"
    odd = sorted(set(given) - set(held.optional.split()))
    return f"its input {odd[0]!r} is not computed; omit it" if odd else None


def list_refused(onnx: Any, protos: Iterable[Any], versions: Mapping[str, int]) -> list[str]:
    """A line for each operator among the nodes of a model that is neither written here nor left to the reference.

    The standard has them all, with `versions` of the domains.
    """
    found: Counter[tuple[str, str]] = Counter()
    for proto in protos:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        word = f"{domain}.{proto.op_type}" if domain else proto.op_type
        if word in (*OPERATORS, "Constant"):
            continue
        optional = onnx.defs.OpSchema.FormalParameterOption.Optional
        schema = onnx.defs.get_schema(proto.op_type, versions.get(proto.domain, 1), domain)
        places = zip(schema.inputs, proto.input, strict=False)
        given = [each.name for each, name in places if name and each.option == optional]
        attributes = [each.name for each in proto.attribute if each.name in schema.attributes]
        why = find_refusal(word, schema.since_version, attributes, given)
        if why is not None:
            found[f"{word}-{schema.since_version}", why] += 1
    return [f"{word} ({n} node{'s' if n > 1 else ''}): {why}" for (word, why), n in sorted(found.items())]
