"""The page's JavaScript modules as one script: no build step, no network, readable in the page's source.

    import { a } from "./b.js";     ->   const { a } = module_b;
    export function f() {}          ->   function f() {}          and f is among what module_f returns

Each module becomes a function that is called once, after all that it imports. What a module may say is little, and
checked: imports by name at its top, exports by declaration.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import PurePosixPath

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]*)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|const|class)", re.MULTILINE)
_EXPORTED = re.compile(r"^export (?:async )?(?:function|const|class) (\w+)", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


def link(entry: str = "main.js") -> str:
    """The modules that `entry` needs, innermost first, as one script.

    >>> script = link()
    >>> script.index("const module_geometry") < script.index("const module_main")
    True
    """
    modules: dict[str, str] = {}
    _visit(PurePosixPath(entry), modules, ())
    return "\n".join(modules.values())


def read_module(name: str) -> str:
    """The text of a file in `web`."""
    return files(__package__).joinpath("web", *PurePosixPath(name).parts).read_text(encoding="utf-8")


def _visit(path: PurePosixPath, modules: dict[str, str], within: tuple[PurePosixPath, ...]) -> None:
    if str(path) in modules:
        return
    assert path not in within, f"modules import each other: {' -> '.join(map(str, (*within, path)))}"
    text = read_module(str(path))
    for _, target in _IMPORT.findall(text):
        _visit(_resolve(path, target), modules, (*within, path))
    modules[str(path)] = _wrap(path, text)


def _wrap(path: PurePosixPath, text: str) -> str:
    exported = _EXPORTED.findall(text)
    body = _IMPORT.sub(lambda m: f"const {{{m[1]}}} = {_variable(_resolve(path, m[2]))};\n", text)
    body = _EXPORT.sub("", body)
    left = _LEFT.findall(body)
    assert not left, f"{path}: {left}: import {{ names }} at the top, export declarations"
    # A closing tag inside the script would end it early.
    body = body.replace("</", "<\\/")
    return (
        f"// {'-' * 20} {path}\nconst {_variable(path)} = (() => {{\n{body}"
        f"return {{ {', '.join(exported)} }};\n}})();\n"
    )


def _resolve(path: PurePosixPath, target: str) -> PurePosixPath:
    parts: list[str] = list(path.parent.parts)
    for part in PurePosixPath(target).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)


def _variable(path: PurePosixPath) -> str:
    return "module_" + re.sub(r"\W", "_", str(path.with_suffix("")))
