"""`convmat tune` measures and remembers; `convmat choices` shows what, takes it elsewhere and forgets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from convmat.planner import choices, tuning

Run = Callable[..., Any]

ONE = ("1x4x12x12", "6x4x3x3", "-p", "1")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    """Choices of this test's own."""
    choices.use_folder(tmp_path / "choices")
    yield tmp_path / "choices"
    choices.use_folder(None)


def test_one_convolution_is_tuned_and_remembered(run: Run, tmp_path: Path) -> None:
    [found] = run("tune", *ONE, "--seconds", "0.01", "--json").json
    assert found["problem"] == "1x4x12x12 * 6x4x3x3"
    assert found["chosen"] == min(found["seconds"], key=found["seconds"].get)
    planned = run("plan", *ONE, "--json").json["candidates"]
    assert {f"{c['engine']}: {c['lowering']}, {c['packing']}" for c in planned if c["tuned_seconds"]} == set(
        found["seconds"]
    )
    shown = run("choices", "show", "--json").json
    assert [entry["seconds"].keys() for entry in shown["choices"].values()] == [found["seconds"].keys()]
    table = run("tune", *ONE, "--seconds", "0.01", width=120).out
    assert f"{len(found['seconds'])} ways" in table
    assert "the quickest of" in run("choices", "show").out
    assert "tuned" in run("plan", *ONE, width=160).out

    path = str(tmp_path / "mine.json")
    assert run("choices", "export", path).out == "1 choice written\n"
    assert run("choices", "clear", "--json").json == {"forgotten": 1}
    assert run("choices", "show").out.startswith("0 choices\n")
    assert run("choices", "import", path).out == "1 choice read\n"
    assert run("choices", "show", "--json").json == shown


def test_what_cannot_be_imported(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "theirs.json"
    path.write_text("{}")
    done = run("choices", "import", str(path), width=200)
    assert done.code == 2
    assert done.out.startswith("import_choices: the file does not hold choices of format 2")
    assert run("choices", "import", str(tmp_path / "none.json")).code == 2


def test_layers_of_the_benchmark(run: Run) -> None:
    found = run("tune", "--layers", "16", "-e", "quick", "--seconds", "0.01", "--threads", "1", "--json").json
    assert [each["problem"] for each in found] == ["depthwise 3x3 960 @7 pad 1"]


def test_ctrl_c_shows_what_was_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned, calls = tuning.tune_plan, iter([1, 2])

    def once(*arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return tuned(*arguments)

    monkeypatch.setattr(tuning, "tune_plan", once)
    done = run("tune", "-l", "16", "-l", "10", "-e", "quick", "--seconds", "0.01", width=150)
    assert done.code == 130
    assert "interrupted: 1 of 2 done, and remembered with what was begun" in done.out
    assert "1x1 512->2048 @7" in done.out
    assert "960" not in done.out


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ((), "no shapes"),
        (("1x3x8x8",), "1x3x8x8"),
        (("1x3x8x8", "4x3x3x3", "-l", "3"), "1x3x8x8 4x3x3x3, --layers"),
    ],
    ids=str,
)
def test_shapes_or_layers(process: Run, typed: tuple[str, ...], given: str) -> None:
    done = process("tune", *typed)
    assert (done.code, done.errors) == (
        2,
        f"tune: it needs the shapes of input and weights, or --layers\n  given: {given}\n"
        "  e.g. convmat tune 1x64x56x56 64x64x3x3 --padding 1, or convmat tune --layers 3x3\n",
    )


def test_why_and_compare(run: Run) -> None:
    said = run("plan", *ONE, "--exact", "--why", width=200).out
    assert "\nIt takes 62.2 kFLOP, moves " in said
    compared = run("plan", *ONE, "--compare", width=160).out
    assert " was chosen" in compared or "takes" in compared
