"""What a reader of the repository is told holds: commands, versions, names, licences."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import convmat
from convmat.lowering import ALL

ROOT = Path(__file__).parent.parent
DATA = ROOT / "src/convmat/data"
LARGEST_DATUM = 150_000  # bytes: a wheel is no place for pictures


def text(path: str) -> str:
    return (ROOT / path).read_text()


# -- commands ---------------------------------------------------------------------------------------------------------


def test_readme_begins_with_the_two_commands() -> None:
    head = text("README.md").split("\n## ")[0]
    assert re.findall(r"^\$ (make \w+)", head, re.MULTILINE) == ["make run", "make test"]


@pytest.mark.parametrize("target", ["run", "test", "check-slow", "bench", "docs", "clean"])
def test_make_has_the_target_and_explains_it(target: str) -> None:
    assert re.search(rf"^{target}:.* ## \w", text("Makefile"), re.MULTILINE)


def test_pages_name_no_target_that_is_missing() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)`", page.read_text())}
    assert named <= targets


def test_ci_runs_make_test() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test"


# -- versions ---------------------------------------------------------------------------------------------------------


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", convmat.__version__)
    assert version("convmat") == convmat.__version__


def test_the_changelog_begins_with_this_version() -> None:
    headings = re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)
    assert next(each for each in headings if each != "Unreleased") == convmat.__version__


def test_the_oldest_versions_tried_are_those_allowed() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    shipped = ("cli", "draw", "page", "onnx", "dask", "zarr", "fft")
    used = [*project["dependencies"], *(each for name in shipped for each in extras[name])]
    bound = re.compile(r"(\w+)(?:\[\w+\])?>=([\d.]+)")
    allowed = {found[1]: _release(found[2]) for each in used if (found := bound.fullmatch(each))}
    assert len(allowed) == len(used)
    tried = dict(re.findall(r"^(\w+)==([\d.]+)$", text("tests/oldest.txt"), re.MULTILINE))
    del tried["ml_dtypes"]  # an extra of the tests alone: whoever has bfloat16 arrays has it
    assert {name: _release(number) for name, number in tried.items()} == allowed


def _release(number: str) -> tuple[int, ...]:
    """The version's numbers, without zeros at the end: 4 is 4.0.0."""
    parts = [int(part) for part in number.split(".")]
    while parts[-1] == 0:
        parts.pop()
    return tuple(parts)


# -- names ------------------------------------------------------------------------------------------------------------


def test_public_names_are_sorted_and_there() -> None:
    assert convmat.__all__ == sorted(convmat.__all__)
    for name in convmat.__all__:
        assert getattr(convmat, name).__module__.startswith("convmat.")


@pytest.mark.parametrize("name", convmat.__all__)
def test_public_names_are_explained(name: str) -> None:
    """A docstring with an example, and a place in the reference."""
    thing = getattr(convmat, name)
    assert ">>> " in (inspect.getdoc(thing) or ""), f"{name} has no example"
    pages = "\n".join(page.read_text() for page in (ROOT / "docs/api").glob("*.md"))
    whole = re.findall(
        r"^::: (\S+)\n    options:\n(?:(?!.*members:)      .*\n)*(?:\n|\Z)", pages, re.MULTILINE
    )
    named = re.search(
        rf"^::: \S+\.{name}$|^        - {name}$|members: \[.*\b{name}\b.*\]", pages, re.MULTILINE
    )
    assert named or thing.__module__ in whole, f"{name} is in no page under docs/api"


def test_readme_lists_the_lowerings() -> None:
    rows = re.findall(r"^\| `.*$", text("README.md"), re.MULTILINE)
    assert rows == [f"| `{each.name}` | {each.summary} | {each.source} |" for each in ALL]


def test_no_module_has_the_name_of_a_function() -> None:
    modules = {path.stem for path in (ROOT / "src/convmat").iterdir()}
    assert not modules & set(convmat.__all__)


# -- words ------------------------------------------------------------------------------------------------------------


def named_code() -> list[str]:
    """What the glossary says a term's code is: a module, or after a colon what stands in it."""
    entries = re.findall(r"^- \*\*[^*]+\*\*:(.*(?:\n  .*)*)", text("docs/glossary.md"), re.MULTILINE)
    assert len(entries) > 30
    behind = [entry.partition("→")[2] for entry in entries]
    return [name for each in behind for name in re.findall(r"`([\w.:]+)`", each)]


@pytest.mark.parametrize("name", dict.fromkeys(named_code()))
def test_the_glossary_s_code_is_there(name: str) -> None:
    module, _, inside = name.partition(":")
    thing: object = import_module(f"convmat.{module}")
    first, *rest = inside.split(".") if inside else [""]
    thing = getattr(thing, first) if first else thing
    for attribute in rest:
        fields = getattr(thing, "__dataclass_fields__", {})
        assert attribute in fields or hasattr(thing, attribute), name


def test_the_glossary_has_each_term_once() -> None:
    terms = re.findall(r"^- \*\*([^*]+)\*\*", text("docs/glossary.md"), re.MULTILINE)
    assert len(terms) == len(set(terms))
    assert {"micro-kernel", "MR", "NR", "KC", "MC", "NC", "fused packing", "valid range", "cost model"} <= {
        *terms
    }


def test_a_docstring_says_its_subject() -> None:
    """It begins with a verb or a noun: "Number of filter taps in the window.", not "Of a window"."""
    found = [
        f"{file.relative_to(ROOT)}:{text[: each.start()].count(chr(10)) + 1}"
        for file in sorted((ROOT / "src/convmat").rglob("*.py"))
        for text in [file.read_text()]
        for each in re.finditer(r'^ *"""Of ', text, re.MULTILINE)
    ]
    assert not found


def test_a_class_name_has_one_meaning() -> None:
    """No two classes of the package have one name, whether or not an underscore is before it."""
    where: dict[str, list[str]] = {}
    for file in sorted((ROOT / "src/convmat").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name.lstrip("_"), []).append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert len(where) > 300
    assert not {name: places for name, places in where.items() if len(places) > 1}


PARTICIPLE = re.compile(
    r"_?([a-z]{2,}(?<!e)ed|made|kept|given|held|sent|seen|spelt|taken|drawn|known|grown|written|chosen|met|lit|bent|lost|"
    r"built|found|told|left|right|done|woven|looked_up|made_alike|gone|hidden|frozen|broken)(_(by|of|up|to|in|alike)(_\w+)?)?"
)
"""A name that says what was done, not what is done; as a noun's attribute (`packed_bytes`) it may stand before one."""

STATES = ("property", "kept_property", "cached_property", "setter")
"""Decorators of what is read like an attribute."""

PARTICIPLES = {
    ("engine/cpu.py", "named"): "a constructor: Cpu.named('x86-64-v3')",
    ("geometry.py", "transposed"): "a public constructor: Geometry.transposed(x, w)",
    ("network/net.py", "tiled"): "public as net.tiled(x)",
    (
        "network/rewriting/quantised.py",
        "quantised",
    ): "a rule, public by its name: load(rewrite=['quantised'])",
}
"""Functions that are named so nevertheless, and why."""


def test_a_function_is_named_by_what_it_does() -> None:
    found = set()
    for where, node in functions():
        decorators = {ast.unparse(each).partition("(")[0].rpartition(".")[2] for each in node.decorator_list}
        if PARTICIPLE.fullmatch(where[1]) and not decorators & {*STATES}:
            found.add(where)
    assert found == set(PARTICIPLES)


# -- lengths ----------------------------------------------------------------------------------------------------------

LONGEST = 60  # lines of a function: a screen
LONGEST_FILE = 400  # lines: one idea
WIDEST = 8  # parameters of a function that is neither public nor a command

PUBLIC = (
    "api/",
    "cli/",
    "scipy/derivatives.py",
    "scipy/extrema.py",
    "scipy/ndimage.py",
    "train/trainer.py",
)
"""Where parameters are those of public functions, or options of commands."""

LONGER = {
    ("api/convolution.py", "conv"): "public: its keywords are explained one by one",
    ("api/planning.py", "plan"): "public: its keywords are explained one by one",
    ("geometry.py", "transposed"): "a public constructor, half of it docstring and examples",
    **{
        (f"cli/{file}.py", name): "a command: its options, with a sentence of help each"
        for file, name in (
            ("draw", "draw"),
            ("explain", "explain"),
            ("networks", "run"),
            ("plan", "plan"),
            ("quantising", "quantize"),
            ("train", "train"),
            ("tune", "tune"),
        )
    },
    ("cli/info.py", "gather_facts"): "one record, a line for each fact",
}
"""Functions that are longer, and why."""

WIDER = {
    ("network/ops/integers.py", "conv_linear"): "the standard's inputs by position",
    ("network/ops/integers.py", "linear_keywords"): "the standard's inputs by position",
    ("planner/prepared.py", "__call__"): "public as a Plan that is called",
    ("network/ops/integer_products.py", "_dense_run"): "the standard's inputs by position",
    ("network/ops/integer_products.py", "matmul_linear"): "the standard's inputs by position",
    ("explain/picture/draw.py", "draw"): "public as Plan.draw",
    ("planner/presenter.py", "draw"): "public as Plan.draw",
    ("network/loading.py", "load"): "public as convmat.load",
    ("network/quantising/whole.py", "quantize"): "public as convmat.quantize",
}
"""Functions with more parameters, and why; those of `api` and `cli` are public, or options of a command."""


LONGER_FILES = {
    "engine/ir/instructions.py": "one instruction after the other, a few lines each: what LLVM is told, in one place",
    "geometry.py": "one noun: what it is made from, what it costs, its relatives",
    "planner/prepared.py": "Prepared and Bound make each other: in two files they would import each other in a circle",
}
"""Files that are longer, and why."""


def functions() -> Iterator[tuple[tuple[str, str], ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of the package, by its file and name."""
    package = ROOT / "src/convmat"
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield (str(file.relative_to(package)), node.name), node


def test_functions_fit_on_a_screen_and_parameter_lists_are_short() -> None:
    longer, wider = set(), set()
    for where, node in functions():
        if (node.end_lineno or 0) - node.lineno + 1 > LONGEST:
            longer.add(where)
        given = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        if len(given) - (given[:1] in (["self"], ["cls"])) > WIDEST:
            wider.add(where)
    assert longer == set(LONGER)
    assert {each for each in wider if not each[0].startswith(PUBLIC)} == set(WIDER)


def test_a_file_has_one_idea() -> None:
    package = ROOT / "src/convmat"
    lines = {
        str(file.relative_to(package)): len(file.read_text().splitlines()) for file in package.rglob("*.py")
    }
    assert {name for name, count in lines.items() if count > LONGEST_FILE} == set(LONGER_FILES)


# -- what is shipped --------------------------------------------------------------------------------------------------


def test_every_datum_has_a_source_and_is_small() -> None:
    sources = (DATA / "SOURCES.md").read_text()
    for path in DATA.iterdir():
        assert path.name == "SOURCES.md" or f"## {path.name}\n" in sources
        assert path.stat().st_size <= LARGEST_DATUM


def test_the_licence_is_apache() -> None:
    assert tomllib.loads(text("pyproject.toml"))["project"]["license"] == "Apache-2.0"
    assert text("LICENSE").split("\n")[:2] == [
        " " * 33 + "Apache License",
        " " * 27 + "Version 2.0, January 2004",
    ]


def test_the_wheel_has_all_it_needs(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    [wheel] = tmp_path.iterdir()
    assert wheel.name == f"convmat-{convmat.__version__}-py3-none-any.whl"
    shipped = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        f"convmat/{path.relative_to(ROOT / 'src/convmat')}" for path in (ROOT / "src/convmat").rglob("*.py")
    }
    assert ours | {"convmat/py.typed", "convmat/data/coffee.png", "convmat/data/SOURCES.md"} <= shipped
    assert any(name.endswith("licenses/LICENSE") for name in shipped)
    info = f"convmat-{convmat.__version__}.dist-info/"
    tops = {name.split("/")[0] + "/" if "/" in name else name for name in shipped}
    assert tops == {"convmat/", "convmat_command.py", info}
    kinds = {Path(name).suffix for name in shipped if name.startswith("convmat/")}
    assert kinds <= {".py", ".typed", ".png", ".jpg", ".md", ".js", ".css", ".jinja", ".json"}, "a pure wheel"
    assert {name for name in shipped if name.startswith(info)} == {
        f"{info}{name}"
        for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE",
                     "licenses/src/convmat/data/SOURCES.md")
    }  # fmt: skip
    assert "convmat = convmat_command:main" in zipfile.ZipFile(wheel).read(f"{info}entry_points.txt").decode()


USER = """
import numpy as np
import numpy.typing as npt
import convmat
from convmat import Geometry, GeometryError, Plan

x = np.ones((1, 3, 8, 8), np.float32)
w = np.ones((4, 3, 3, 3), np.float32)
y: npt.NDArray[np.float32] = convmat.conv2d(x, w, stride=2, padding="same", activation=("clip", 0.0, 6.0))
plan: Plan = convmat.plan(x.shape, w.shape, padding=((1, 1), (0, 2)), tune="quick", rtol=1e-5)
print(plan.chosen.lowering.upper(), plan.workspace + 1, plan.bind(w)(x).shape)
with convmat.threads(1) as n:
    net = convmat.load("net.onnx", exact=True)
    print(n + 1, [each.name for each in net.inputs])
try:
    P: tuple[int, ...] = Geometry.of(x.shape, w.shape).P
except GeometryError as error:
    raise SystemExit(str(error))
"""
WRONG = """
import convmat

convmat.conv([[[1.0]]], [[[1.0]]], groups="two")
convmat.plan((1, 3, 8, 8), (4, 3, 3, 3), paddings=1)
"""


def test_types_reach_a_user(tmp_path: Path) -> None:
    """A program that is right passes under mypy --strict, by `py.typed` alone; one that is wrong does not."""
    (tmp_path / "right.py").write_text(USER)
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "convmat").symlink_to(ROOT / "src/convmat", target_is_directory=True)
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = True\nfollow_imports = silent\n[mypy-onnx.*]\nignore_missing_imports = True\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--no-incremental", "right.py", "wrong.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    found = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.split(": error: ")[0] for line in found] == ["wrong.py:4", "wrong.py:5"], done.stdout


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_each_python_is_named(minor: int) -> None:
    classifiers = tomllib.loads(text("pyproject.toml"))["project"]["classifiers"]
    assert f"Programming Language :: Python :: 3.{minor}" in classifiers
