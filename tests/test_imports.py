"""Imports run one way. Lazy ones inside functions count like the others; what loads when is held by fresh processes."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
PACKAGE = SOURCE / "convmat"

GROUND = (
    "doors",
    "errors",
    "whole_files",
    "processes",
    "lazy_dataclass",
    "arguments",
    "axis_phases",
    "geometry",
    "product",
    "layout",
    "problem",
    "reference",
    "cases",
)
LEVELS = (
    *((each,) for each in GROUND),
    ("lowering", "engine"),
    ("planner",),
    ("missing", "stream"),
    ("api",),
    ("__init__",),
    ("foreign",),
    ("network", "scipy", "torch"),
    ("nn", "train"),
    ("chunks", "explain"),
    ("cli",),
    ("__main__",),
)
"""From the ground up. A room imports rooms of lower levels only; two on one level never meet."""

DOORS = {("__init__", room) for room in ("chunks", "explain", "foreign", "network", "nn", "torch", "train")}
"""The root knows every room: it opens these, inside functions, when they are first asked for."""

NARROWER = {
    "engine": {"errors", "processes", "lazy_dataclass", "product"},  # has never heard of convolution
    "lowering": {
        "errors",
        "processes",
        "lazy_dataclass",
        "geometry",
        "product",
        "layout",
        "problem",
    },  # has never heard of a CPU
}

OUTSIDE = {
    "engine": {"llvmlite", "threadpoolctl", "platformdirs", "scipy"},
    "planner": {"ml_dtypes", "platformdirs"},
    "network": {"PIL", "ml_dtypes", "onnx", "onnxruntime"},
    "chunks": {"dask", "distributed", "tifffile", "zarr"},
    "train": {"PIL"},
    "explain": {"PIL", "jinja2", "rich"},
    "torch": {"ml_dtypes", "torch"},
    "cli": {"typer", "rich"},
    "__main__": {"convmat_command"},  # ours: the entry point, outside the package
}  # fmt: skip
"""Which packages beside NumPy a room may import."""

LIGHT = {*GROUND, "lowering", "planner", "missing", "api", "__init__"}
"""Rooms that `import convmat` loads: nothing but NumPy at the top of their files."""


@dataclass(frozen=True)
class Import:
    """One imported module: by which file and line, and whether at the top of it."""

    file: Path
    line: int
    module: str
    top: bool

    @property
    def room(self) -> str:
        return room_of(self.file.relative_to(PACKAGE).with_suffix("").parts)

    def __str__(self) -> str:
        return f"{self.file.relative_to(SOURCE)}:{self.line} imports {self.module}"


def room_of(parts: tuple[str, ...]) -> str:
    return parts[0] if parts else "__init__"


def target(module: str) -> str | None:
    """The room that a module is in, None for other packages."""
    root, *rest = module.split(".")
    return room_of(tuple(rest)) if root == "convmat" else None


def names(node: ast.AST, file: Path) -> Iterator[str]:
    """The modules that one statement imports, by their full names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = _package(file)
        base = package[: len(package) - node.level + 1] if node.level else []
        stem = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            inside = SOURCE.joinpath(*stem.split("."), alias.name)
            is_module = inside.with_suffix(".py").is_file() or inside.is_dir()
            yield f"{stem}.{alias.name}" if is_module else stem
    elif (
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__")
        and node.args
    ):
        yield _spelled(node.args[0], _package(file), f"{file}:{node.lineno}")


def _package(file: Path) -> list[str]:
    return ["convmat", *file.relative_to(PACKAGE).parent.parts]


def _spelled(given: ast.expr, package: list[str], where: str) -> str:
    """The module that a string names, or the package that an f-string begins with: enough to know the room."""
    first = given.values[0] if isinstance(given, ast.JoinedStr) else given
    assert isinstance(first, ast.Constant), f"{where} hides what it imports"
    name = str(first.value)
    level = len(name) - len(name.lstrip("."))
    return ".".join([*package[: len(package) - level + 1], name.strip(".")] if level else [name.strip(".")])


def imports(file: Path) -> Iterator[Import]:
    open_nodes: list[tuple[ast.AST, bool]] = [(ast.parse(file.read_text()), True)]
    while open_nodes:
        node, top = open_nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _typing_only(node):
            top = False
        for module in names(node, file):
            yield Import(file, getattr(node, "lineno", 0), module, top)
        open_nodes += ((inner, top) for inner in ast.iter_child_nodes(node))


def _typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@cache
def all_imports() -> tuple[Import, ...]:
    """Every import of the package: read by the first test that asks, not by each process that collects."""
    return tuple(each for file in sorted(PACKAGE.rglob("*.py")) for each in imports(file))


LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}


def test_every_room_has_its_place() -> None:
    rooms = {room_of(f.relative_to(PACKAGE).with_suffix("").parts) for f in PACKAGE.rglob("*.py")}
    assert rooms <= set(LEVEL)
    assert len(all_imports()) > 100


def test_imports_run_one_way() -> None:
    wrong = []
    for each in all_imports():
        other = target(each.module)
        if other is None or other == each.room or ((each.room, other) in DOORS and not each.top):
            continue
        if LEVEL[other] >= LEVEL[each.room] or other not in NARROWER.get(each.room, {other}):
            wrong.append(str(each))
    assert not wrong


ENGINE_ROOMS = {
    "cpu": set(),
    "operands": set(),
    "job": set(),
    "fitting": set(),
    "gaussian": {"fitting"},
    "weighing": {"operands"},
    "ir": {"fitting", "cpu", "job", "gaussian"},
    "kernels": {"cpu", "operands", "job", "ir"},
    "runtime": {"cpu", "job"},
    "blas": {"cpu", "operands", "runtime.buffers", "gaussian"},
    "launch": {"operands", "job", "kernels", "runtime"},
    "jit": {"cpu", "operands", "job", "ir", "kernels", "runtime", "launch"},
    "counted": {"operands", "runtime.buffers", "jit", "blas", "weighing"},
    "measure": {"cpu", "operands", "job", "ir", "kernels", "runtime", "jit", "blas"},
}
"""What each room of the engine may import of the others."""

VIEWS = {"ir", "kernels", "launch", "jit", "blas", "counted", "operands"}
"""Rooms of the engine that may know Views and Products."""


def inner(module: str) -> str:
    """The path of a module within the engine: `convmat.engine.runtime.buffers` is runtime.buffers."""
    return ".".join(module.split(".")[2:])


BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

PUBLIC = {
    "convmat",
    "convmat.cases",
    "convmat.errors",
    "convmat.geometry",
    "convmat.engine",
    "convmat.planner",
}
"""What the benchmarks, which stand outside the package, import of it: what is public, the layers, rates and plans."""

NEEDED = {
    "convmat.cli": "the same terminal, errors and exit codes",
    "convmat.cli.app": "the same terminal, errors and exit codes",
    "convmat.engine.kernels.sweeps.base": "which kernels networks ask for, none compiled",
    "convmat.network.input_shapes": "which kernels networks ask for, none compiled",
    "convmat.engine.jit": "plans for CPUs that are not this one, whose kernels are only written",
    "convmat.lowering": "one curve for each lowering",
    "convmat.problem": "candidates of drawn problems",
    "convmat.planner.candidates": "what of a problem the engine is told",
    "convmat.planner.choose": "candidates of drawn problems, weighed and measured",
    "convmat.planner.sampling": "what a sample is and which of them count",
    "convmat.planner.trial": "candidates of drawn problems, weighed and measured",
    "convmat.planner.tuning": "candidates of drawn problems, weighed and measured",
    "convmat.planner.columns": "tables in aligned text",
    "convmat.planner.units": "seconds and bytes in words",
    "convmat.scipy": "the doors, beside those whose interfaces they are",
    "convmat.torch": "the doors, beside those whose interfaces they are",
    "convmat.network": "packages of trained networks, by their digests",
    "convmat.network.graph": "a network in float64, operator by operator: the truth",
    "convmat.network.preparing.infer": "a network in float64, operator by operator: the truth",
    "convmat.network.ops.convolution": "a network in float64, operator by operator: the truth",
    "convmat.network.reading.read": "a network in float64, operator by operator: the truth",
    "convmat.network.rewriting.rewrite": "a network in float64, operator by operator: the truth",
    "convmat.network.reports.summary": "a network in float64, operator by operator: the truth",
}
"""What they must import beside that, and what for."""


def test_benchmarks_import_what_is_public_and_what_they_must() -> None:
    wanted = set()
    for file in sorted(BENCHMARKS.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "convmat":
                wanted.add(node.module)
            elif isinstance(node, ast.Import):
                wanted |= {each.name for each in node.names if each.name.split(".")[0] == "convmat"}
    assert wanted - PUBLIC == set(NEEDED)


def test_the_package_knows_no_benchmark() -> None:
    assert not [str(each) for each in all_imports() if each.module.split(".")[0] == "benchmarks"]


def test_the_rooms_of_the_engine_run_one_way() -> None:
    wrong = []
    for each in all_imports():
        parts = each.file.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "engine" or parts[1] == "__init__":
            continue
        room, other = parts[1], inner(each.module)
        if each.module.startswith("convmat.engine") and other.split(".")[0] != room:
            allowed = ENGINE_ROOMS[room]
            if not ({other, ".".join(other.split(".")[:2]), other.split(".")[0]} & allowed):
                wrong.append(str(each))
        if target(each.module) == "product" and room not in VIEWS:
            wrong.append(str(each))
    assert not wrong


NETWORK_ROOMS = {
    "graph": set(),
    "packages": set(),
    "pictures": {"graph"},
    "input_shapes": {"graph", "preparing"},
    "ops": {"graph"},
    "gradients": {"graph", "ops"},
    "reading": {"graph", "ops"},
    "rewriting": {"graph", "ops"},
    "preparing": {"graph", "ops", "rewriting"},
    "files": {"graph", "ops", "reading", "rewriting"},
    "reports": {"graph", "ops", "reading", "preparing"},
    "inputs": {"graph", "input_shapes"},
    "starts": {"graph", "reading", "preparing"},
    "calls": {"graph", "inputs", "input_shapes", "ops", "preparing", "files", "starts"},
    "net": {
        "graph",
        "calls",
        "input_shapes",
        "inputs",
        "ops",
        "reading",
        "preparing",
        "files",
        "reports",
        "starts",
    },
    "opening": {"graph", "net", "ops", "reading", "rewriting", "preparing", "files", "starts"},
    "loading": {"graph", "net", "opening", "starts"},
    "quantising": {"graph", "net", "loading", "ops", "reading", "rewriting", "preparing", "files", "reports"},
    "__init__": {"net", "loading", "quantising"},
}
"""What each room of networks may import of the others."""


LETTERS = re.compile(r"""\bname\[0\]|\[0\]\[0\]\[0\]|f"[pr]\{|\b[abcwxy]\[["'][bcgopifr]\d?["']\]""")
"""What reads a loop's role off its name, which is the lowerings' to give."""


def test_an_engine_does_not_read_what_loops_are_called() -> None:
    assert all(map(LETTERS.search, ('i.name[0] == "r"', "c.terms[0][0][0]", 'f"p{a}"', 'w["c"]')))
    found = {
        f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}"
        for path in (PACKAGE / "engine").rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if LETTERS.search(line) and ">>>" not in line
    }
    assert not found


def test_the_rooms_of_networks_run_one_way() -> None:
    wrong = []
    for each in all_imports():
        parts = each.file.relative_to(PACKAGE).with_suffix("").parts
        other = each.module.split(".")[2:3]
        if each.room == "network" and each.module.startswith("convmat.network.") and other != [parts[1]]:
            wrong += [str(each)] if not set(other) <= NETWORK_ROOMS[parts[1]] else []
    assert not wrong


def test_other_rooms_import_the_engine_s_face_alone() -> None:
    behind = [
        str(each)
        for each in all_imports()
        if each.room != "engine" and each.module.startswith("convmat.engine.")
    ]
    assert not behind


def test_every_name_of_the_engine_s_face_is_there() -> None:
    from convmat import engine

    assert {name for name in engine.__all__ if getattr(engine, name) is None} == set()
    with pytest.raises(AttributeError, match=r"^module 'convmat\.engine' has no attribute 'none'$"):
        engine.none  # noqa: B018  # asking is what is tried


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Files that import each other in a circle, lazily or not; none where there is an order of them all."""
    left = {name: set(others) for name, others in arrows.items()}
    while free := [name for name, others in left.items() if not others & set(left)]:
        for name in free:
            del left[name]
    return sorted(left)


def test_the_files_of_the_planner_form_no_circle() -> None:
    arrows: dict[str, set[str]] = {path.stem: set() for path in (PACKAGE / "planner").glob("*.py")}
    for each in all_imports():
        if each.room == "planner" and each.module.startswith("convmat.planner."):
            arrows[each.file.stem].add(each.module.split(".")[2])
    assert len(arrows) > 20
    assert sum(map(len, arrows.values())) > 50
    assert circle(arrows) == []
    closed = circle(arrows | {"decision": {"plan"}})
    assert {"decision", "prepared", "plan"} <= set(closed), "what closes a circle is seen"


def test_packages_from_outside_stay_in_their_rooms() -> None:
    wrong = []
    for each in all_imports():
        root = each.module.split(".")[0]
        if root in ("convmat", "numpy", *sys.stdlib_module_names):
            continue
        if root not in OUTSIDE.get(each.room, set()) or (each.top and each.room in LIGHT):
            wrong.append(str(each))
    assert not wrong


def test_the_walk_sees_what_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong import must turn this file red wherever it stands."""
    text = (
        "from ..geometry import Geometry\n"
        "from .. import planner\n"
        "def f():\n"
        "    import convmat.lowering.im2col\n"
        "    import_module('torch')\n"
        "    import_module(f'..planner.{x}', __package__)\n"
    )
    file = PACKAGE / "engine" / "made_up.py"
    monkeypatch.setattr(Path, "read_text", lambda self: text)
    found = [(each.module, each.top) for each in imports(file)]
    assert sorted(found) == [
        ("convmat.geometry", True),
        ("convmat.lowering.im2col", False),
        ("convmat.planner", False),
        ("convmat.planner", True),
        ("torch", False),
    ]


# -- in a fresh process ----------------------------------------------------------------------------------------------


def fresh(program: str) -> object:
    """What a program prints as JSON, in a process that has imported nothing yet."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    printed: object = json.loads(run.stdout.splitlines()[-1])
    return printed


def test_import_convmat_loads_numpy_alone() -> None:
    loaded = fresh(
        "import json, numpy, sys\n"
        "before = {name.split('.')[0] for name in sys.modules}\n"
        "import convmat\n"
        "after = {name.split('.')[0] for name in sys.modules}\n"
        "print(json.dumps(sorted(after - before - sys.stdlib_module_names)))"
    )
    assert loaded == ["convmat"]


def test_a_convolution_needs_no_extra() -> None:
    """With every package but the core's four made unfindable."""
    extras = sorted(set.union(*OUTSIDE.values()) - {"llvmlite", "threadpoolctl", "platformdirs"})
    found = fresh(
        "import json, sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {extras!r}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import convmat\n"
        "y = convmat.conv([[[1.0, 2.0, 3.0]]], [[[1.0, 1.0]]])\n"
        "print(json.dumps(y.ravel().tolist()))"
    )
    assert found == [3.0, 5.0]


def test_a_network_loads_nothing_of_gradients_before_it_is_trained() -> None:
    found = fresh(
        "import json, sys\n"
        "from convmat import network\n"
        "from convmat.network.graph import Node\n"
        "from convmat.network.ops import operator_of\n"
        "from convmat.network.ops.base import OWN\n"
        "before = 'convmat.network.ops.gradients.losses' in sys.modules\n"
        "name = operator_of(Node('CrossEntropy', (), (), {}, 'loss', 17, OWN)).name\n"
        "print(json.dumps([before, name]))"
    )
    assert found == [False, "CrossEntropy"]
