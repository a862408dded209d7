"""Every example on every page runs: ```python is executed, ```pycon compared, one session a page.

```console blocks are held to the command line by `test_commands_on_pages_work`.
"""

from __future__ import annotations

import doctest
import re
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

from convmat import cases, lowering
from convmat.cli.app import app
from convmat.explain.demo import demo, faces, photo
from convmat.lowering import ALL, Lowering
from convmat.network.ops import OPERATORS
from convmat.network.ops.held import HELD, find_refusal
from convmat.planner import candidates, choose
from tests.network.made import model, node
from tests.support import PASSES, check, ways

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ convmat\b(.*?)(?:\s+#.*)?$", re.MULTILINE)


def blocks(page: Path) -> Iterator[tuple[str, str, int]]:
    """(language, text, line) of each fenced block."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        yield found[1], found[2], text.count("\n", 0, found.start(2))


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def session(page: Path) -> dict[str, Any]:
    """Runs the page; what its names are at the end."""
    names: dict[str, Any] = {"__name__": "__page__"}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    for language, text, line in blocks(page):
        if language == "python":
            exec(compile("\n" * line + text, str(page), "exec"), names)
        elif language == "pycon":
            example = doctest.DocTestParser().get_doctest(text, names, name(page), str(page), line)
            report: list[str] = []
            doctest.DocTestRunner(optionflags=flags).run(example, out=report.append, clear_globs=False)
            assert not report, "".join(report)
            names = example.globs
    return names


@pytest.mark.parametrize("page", [p for p in PAGES if "```py" in p.read_text()], ids=name)
def test_examples_on_pages_run(page: Path) -> None:
    session(page)


def test_every_fence_names_its_language() -> None:
    known = {"", "console", "python", "pycon", "toml"}
    found = {(name(page), language) for page in PAGES for language, _, _ in blocks(page)}
    assert not [each for each in found if each[1] not in known]


def smaller(picture: photo.Photo) -> photo.Photo:
    """A sixteenth of a picture's pixels."""
    return photo.Photo(picture.name, picture.pixels[::4, ::4], picture.original)


def commands() -> list[str]:
    """Each `convmat` command line that a page shows, once."""
    found = {
        command[1].strip()
        for page in PAGES
        for language, text, _ in blocks(page)
        if language == "console"
        for command in COMMAND.finditer(text)
    }
    return sorted(found)


@pytest.mark.parametrize("arguments", commands())
def test_commands_on_pages_work(arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with a small network, a picture, labels and an array, as pages call them."""
    for module, called in ((demo, "run"), (faces, "try_faces")):
        monkeypatch.setattr(module, called, partial(getattr(module, called), seconds=0.05))
    shipped = photo.read_shipped
    monkeypatch.setattr(photo, "read_shipped", lambda *name: smaller(shipped(*name)))
    monkeypatch.chdir(tmp_path)
    w = np.zeros((3, 3, 8, 8), np.float32)
    conv = node("Conv", "x w", "y", strides=[8, 8], kernel_shape=[8, 8])
    made = model([conv, node("GlobalAveragePool", "y", "z")], {"x": (1, 3, 32, 32)}, "z", {"w": w})
    (tmp_path / "model.onnx").write_bytes(made)
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg")
    (tmp_path / "names.txt").write_text("cat\ndog\ncow\n")
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 32, 32), np.float32))
    np.savez(tmp_path / "examples.npz", x=np.ones((2, 3, 32, 32), np.float32))
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 30), (200, 90, 10)).save(tmp_path / "photos" / "photo.jpg")
    done = CliRunner().invoke(app, shlex.split(arguments))
    assert done.exit_code == 0, done.output
    assert done.stdout


def test_a_lowering_is_one_class_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What CONTRIBUTING.md promises: its class, registered, gives the definition's numbers in all passes."""
    made = session(ROOT / "CONTRIBUTING.md")["FilterRows"]()
    assert isinstance(made, Lowering)
    for module in (candidates, choose, lowering):
        monkeypatch.setattr(module, "ALL", (*ALL, made))
    own = {way[0]: way for way in ways() if way[1] == made.name}
    refusal = "needs a filter of two rows or more, got "
    for case in ("2d/3x3/tail", "2d/grouped/strided-tail", "2d/dilated/tail", "3d/3x3x3/plain"):
        found = {each: check(own["blas"], cases.case(case), "float32", "NHWC", each) for each in PASSES}
        assert found["forward"] is None
        assert all(each is None or each.startswith(refusal) for each in found.values())
    assert check(own["blas"], cases.case("2d/1x7/tail"), "float32", "NCHW", "forward") == refusal + "1"


def test_docstrings_become_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("griffe", reason="the documentation is built with the extra docs")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from _docstrings import markdown  # type: ignore[import-not-found]  # a script of the documentation

    written = (
        "y: (O, *P), with `a*b` as in\n    y = A @ U\nand\n\npad     a*b\nout     c\n\n>>> 1 + 1\n2\n\nDone."
    )
    assert markdown(written).split("\n") == [
        r"y: (O, \*P), with `a*b` as in",
        "",
        "    y = A @ U",
        "",
        "and",
        "",
        "    pad     a*b",
        "    out     c",
        "",
        "```pycon",
        ">>> 1 + 1",
        "2",
        "```",
        "",
        "Done.",
    ]


def test_the_table_of_operators_has_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it says that one runs is where a network runs it, and what it says is refused, is."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    from _operators import FILLERS, on_page_markdown, table  # type: ignore[import-not-found]  # a script, too

    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table().splitlines()[2:]]
    names = [row[0] for row in rows]
    standard = {(each.domain, each.name) for each in onnx.defs.get_all_schemas() if not each.deprecated}
    wanted = {
        f"{domain}.{name}" if domain else name for domain, name in standard if domain in ("", "ai.onnx.ml")
    }
    assert set(names) >= wanted
    assert len(set(names)) == len(names)
    places = dict(zip(names, (row[3] for row in rows), strict=True))
    # Older packages of the standard know fewer operators than are computed here.
    assert {*OPERATORS} & {*names} == {name for name in names if "NumPy" in places[name]} - {"Constant"}
    assert {name for name in HELD if name in names} == {n for n in names if places[n] == "reference"}
    for name in (name for name in names if places[name] == "refused"):
        assert find_refusal(name, 1, (), ()) == "nothing here computes it; export the model without it"
    for row in rows:
        if places[row[0]] == "reference":
            versions = [int(each) for each in row[1].split(", ") if f"version {each}" not in row[4]]
            assert all(find_refusal(row[0], each, (), ()) is None for each in versions)
            for word in re.findall("`(.*?)`", row[4]):
                assert (
                    find_refusal(row[0], versions[-1], (word,), ())
                    == f"its attribute {word!r} is not computed; omit it"
                )
    page = on_page_markdown((ROOT / "docs/operators.md").read_text())
    assert "<!--" not in page
    assert all(made() in page for made in FILLERS.values())
