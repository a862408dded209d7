"""From docstrings as they are read in an editor to Markdown: examples and formulas stay what they look like."""

from __future__ import annotations

import re
from typing import Any

import griffe


def markdown(text: str) -> str:
    """Doctests fenced, formulas and columns set apart, and the stars of `(B, C, *I)` taken literally."""
    lines: list[str] = []
    kind = ""  # of the paragraph that is open: example, columns, formula, text, or none
    for line in [*text.split("\n"), ""]:
        begun = _kind(line, kind)
        if kind == "example" and begun != kind:
            lines.append("```")
        if kind and begun and begun != kind:
            lines.append("")
        if begun == "example" and kind != begun:
            lines.append("```pycon")
        kind = begun
        lines.append({"columns": "    " + line, "text": _literal(line)}.get(kind, line))
    return "\n".join(lines[:-1])


def _kind(line: str, before: str) -> str:
    """What a line belongs to, where the line before belongs to `before`."""
    if not line.strip():
        return ""
    if before in ("example", "columns"):
        return before
    if line.startswith(">>>"):
        return "example"
    if line.startswith("    "):
        return "formula"
    return "columns" if "   " in line else "text"


def _literal(line: str) -> str:
    """Stars outside `code` escaped."""
    parts = re.split("(`[^`]*`)", line)
    return "".join(part if i % 2 else part.replace("*", r"\*") for i, part in enumerate(parts))


class Docstrings(griffe.Extension):
    """Rewrites each docstring once, before its page is made."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute that was read."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
