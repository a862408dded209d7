"""The page as a file: self-contained, linked from its modules, refused with a sentence where it cannot be."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.cases import CASES
from convmat.errors import PlanError
from convmat.explain.story.costs import way_name
from convmat.explain.webpage import linker
from convmat.explain.webpage.page import DRAWN, html, page_example
from convmat.lowering import ALL
from tests.explain.twins import WEB


def plan(**options: Any) -> convmat.Plan:
    return convmat.plan((1, 3, 3, 3), (1, 3, 2, 2), **options)


def refused(act: Callable[[], Any]) -> str:
    with pytest.raises(PlanError) as error:
        act()
    return str(error.value)


def config(text: str) -> Any:
    found = re.search(r'<script type="application/json" id="config">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


# -- the file ---------------------------------------------------------------------------------------------------------


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    text = plan().page(tmp_path / "layer.html").read_text()
    assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[\w.]+\.\w+/", text)
    assert not re.findall(r'\b(?:src|href)="(?!#|data:)', text)
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)  # types are imported in comments
    assert not re.findall(r"\b(?:fetch|XMLHttpRequest|WebSocket|importScripts)\b|\bimport\s*\(|@import", code)
    assert len(text) < 300_000


def test_the_page_opens_with_what_was_asked_for() -> None:
    found = config(html(plan(), direction="weight", lowering="mec"))
    assert (found["pass"], found["way"], found["itemsize"], found["given"]) == ("weight", "mec", 4, {})
    assert found["geometry"] == {
        "B": 1, "C": 3, "O": 1, "G": 1, "I": [3, 3], "F": [2, 2],
        "s": [1, 1], "d": [1, 1], "lo": [0, 0], "hi": [0, 0], "e": [1, 1],
    }  # fmt: skip
    assert 'data-theme="dark"' in html(plan(), theme="dark")
    assert "data-theme=" not in html(plan()).split("<style>")[0]


def test_the_example_carries_its_own_numbers(tmp_path: Path) -> None:
    given = config(page_example(tmp_path / "example.html").read_text())["given"]
    assert given["x"][:9] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert given["w"] == [1, 2, 0, 1, 2, 0, 1, 1, 0, 1, 2, -1]


@pytest.mark.parametrize("case", CASES[::7], ids=str)
def test_every_plan_has_a_page_and_a_notebook_cell(case: Any) -> None:
    if 0 in (*case.x_shape, *case.geometry.y_shape) or case.transposed:
        made = convmat.plan((1, 2, 4), (2, 2, 3))
    else:
        made = convmat.plan(case.x_shape, case.w_shape, **case.options)
    cell = made._repr_html_()
    assert cell.startswith("<iframe srcdoc=")
    assert cell.endswith("</iframe>")
    assert str(made.problem.geometry).replace(">", "&gt;") in cell


def test_what_a_title_says_cannot_end_the_script(tmp_path: Path) -> None:
    text = html(plan(), title="</script><script>alert(1)</script>")
    assert "alert(1)</script>" not in text


# -- the modules ------------------------------------------------------------------------------------------------------


def test_every_module_is_linked_once_after_what_it_needs() -> None:
    script = linker.link()
    names = re.findall(r"^const (module_\w+) = \(\(\) => \{$", script, re.MULTILINE)
    files_ = {f"module_{'_'.join(p.relative_to(WEB).with_suffix('').parts)}" for p in WEB.rglob("*.js")}
    # What a lowering is lies in a module of types and helpers alone.
    assert set(names) == files_
    assert len(names) == len(set(names))
    for i, name in enumerate(names):
        body = script.split(f"const {name} = (() => {{\n")[1].split("\n})();")[0]
        assert set(re.findall(r"= (module_\w+);", body)) <= set(names[:i])


def test_modules_say_what_the_linker_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"main.js": 'import { a } from "./a.js";\na();\n', "a.js": "export default 3;\n"}
    monkeypatch.setattr(linker, "read_module", texts.__getitem__)
    with pytest.raises(AssertionError, match="export default 3"):
        linker.link()
    texts["a.js"] = 'import { b } from "./main.js";\nexport const a = 1;\n'
    with pytest.raises(AssertionError, match="import each other"):
        linker.link()


def test_every_module_is_a_way_there_is() -> None:
    """A new lowering joins the page with a module; until then a plan that chose it opens with im2col."""
    modules = {path.stem for path in (WEB / "lowering").glob("*.js")} - {"all", "lowering"}
    assert modules == {name.split()[0] for name in DRAWN}
    assert set(DRAWN) <= {way_name(way.name, packing) for way in ALL for packing in way.packings}


@pytest.mark.npm
def test_types_of_the_modules(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`tsc --checkJs` on the JSDoc types, strictly."""
    npm = shutil.which("npm")
    assert npm is not None
    folder = tmp_path_factory.getbasetemp().parent / "convmat-typescript"
    folder.mkdir(exist_ok=True)
    compiler = folder / "node_modules/typescript/bin/tsc"
    if not compiler.is_file():
        install = subprocess.run(
            [
                npm,
                "install",
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--prefix",
                str(folder),
                "typescript@5.9.3",
            ],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert install.returncode == 0, install.stderr
    run = subprocess.run(
        ["node", str(compiler), "-p", str(WEB / "tsconfig.json")],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert run.returncode == 0, run.stdout


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_what_makes_no_page(tmp_path: Path) -> None:
    path = tmp_path / "layer.txt"
    assert refused(lambda: plan().page(path)) == (
        f"page: the name does not say that it is a page\n  path = '{path}' ends in '.txt'\n"
        f"  e.g. '{tmp_path}/layer.html'"
    )
    good = tmp_path / "layer.html"
    assert refused(lambda: plan().page(good, direction="up")) == (
        "page: unknown direction\n  direction = 'up'\n  one of 'forward', 'input', 'weight'"
    )
    assert refused(lambda: plan().page(good, lowering="fft")).startswith("page: unknown lowering\n")
    assert refused(lambda: plan().page(good, theme="pink")).startswith("page: unknown theme\n")
    assert refused(lambda: convmat.plan((0, 1, 3), (1, 1, 2)).page(good)).startswith(
        "draw: there is nothing to draw\n"
    )
    large = convmat.plan((1, 1, 300, 300), (1, 1, 3, 3))
    assert refused(lambda: large.page(good, x=np.ones((1, 1, 300, 300)))) == (
        "page: x is too large to put into a page\n  x has 90,000 elements;  at most 50,000\n"
        "  omit x=: digits stand in for it"
    )
    assert refused(lambda: plan().page(tmp_path / "no" / "layer.html")).startswith("page: cannot write ")
    assert list(tmp_path.iterdir()) == []


def test_without_jinja2_a_notebook_shows_the_text_and_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("convmat.explain.extras.util.find_spec", lambda name: None)
    text = plan()._repr_html_()
    assert text.startswith("<pre>1x3x3x3 * 1x3x2x2 -&gt; 1x1x2x2, float32")
    assert text.endswith("pip install &#x27;convmat[page]&#x27;</p>")
