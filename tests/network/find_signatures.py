"""Prints what src/convmat/network/reading/signatures.py should hold: `python -m tests.network.find_signatures`.

Of each operator that is computed here, what every version takes that takes something else than the one before.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import onnx

from convmat.network.ops.base import OPERATORS


def lines() -> Iterator[str]:
    """One for each version that differs: name, operator set, counts of inputs and outputs, attributes with types."""
    schemas = onnx.defs.get_all_schemas_with_history()
    words = {(s.domain, s.name): f"{s.domain}.{s.name}" if s.domain else s.name for s in schemas}
    for key, word in sorted(words.items(), key=lambda each: each[1]):
        if word not in (*OPERATORS, "Constant"):
            continue
        before = ""
        own = sorted((s for s in schemas if (s.domain, s.name) == key), key=lambda s: s.since_version)
        for schema in own:
            counts = (schema.min_input, schema.max_input, schema.min_output, schema.max_output)
            kinds = [f"{name}:{a.type.value}" for name, a in sorted(schema.attributes.items())]
            now = " ".join([",".join("*" if n == 2**31 - 1 else str(n) for n in counts), *kinds])
            if now != before:
                yield f"{word if not before else '-'} {schema.since_version} {now}"
            before = now


def module() -> str:
    """The whole module."""
    text = "\n".join(textwrap.fill(line, 118, subsequent_indent="  ") for line in lines())
    return (
        HEAD.format(newest=onnx.defs.onnx_opset_version())
        + text
        + '\n"""\n\n__all__ = ["NEWEST", "SIGNATURES"]\n'
    )


HEAD = '''"""What the standard's operators computed here take: `python -m tests.network.find_signatures` says it.

    name  operator set  inputs, at least and at most, outputs likewise  attributes with the numbers of their types

A line for each version that takes something else than the one before, whose name is `-` then; `*` is any number.
"""

NEWEST = {newest}
"""The newest operator set whose operators these are."""

SIGNATURES = """
'''

if __name__ == "__main__":
    print(module(), end="")
