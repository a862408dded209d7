"""What tuning finds is kept: merged, believed only as far as it is sound, written by many at once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import convmat
from convmat.engine.cpu import host
from convmat.errors import PlanError
from convmat.geometry import Geometry
from convmat.lazy_dataclass import dataclass
from convmat.planner import choices
from convmat.problem import Problem

SOURCE = Path(__file__).parent.parent.parent / "src"
PROBLEM = Problem.of(Geometry.of((1, 3, 8, 8), (4, 3, 3, 3)))
KEY = choices.entry_key(PROBLEM)
SECONDS = {"jit: im2col, a panel at a time": 2e-4, "blas: im2col, stored whole": 1e-4}


def again() -> None:
    """As a new process would see it."""
    choices.use_folder(choices.choices_file().parent)


def entry(when: str = "2026-01-02T03:04:05Z", **seconds: float) -> dict[str, Any]:
    return {"when": when, "seconds": seconds or {"jit: a": 1e-3}}


def written(path: Path, entries: Any, **head: Any) -> Path:
    """A file of choices as `choices` writes it, but for what `head` says."""
    path.parent.mkdir(exist_ok=True, mode=0o700)
    content = {"convmat choices": choices.FORMAT, "cpu": host().key, "choices": entries, **head}
    path.write_text(json.dumps(content))
    path.chmod(0o600)
    return path


def test_it_is_read_by_the_next_process(folder: Path) -> None:
    choices.remember(KEY, {**SECONDS, "jit: mec, stored whole": None})
    again()
    assert choices.lookup(KEY) == {**SECONDS, "jit: mec, stored whole": None}
    assert choices.lookup(choices.entry_key(PROBLEM, engine="blas")) == {}
    assert stat.S_IMODE(choices.choices_file().stat().st_mode) == 0o600


def test_the_file_is_for_people_to_read(folder: Path) -> None:
    choices.remember(KEY, {"jit: im2col, a panel at a time": 0.00012345678})
    head, line, *tail = choices.choices_file().read_text().splitlines()
    assert head.startswith('{"convmat choices": 2, "cpu": "')
    assert line.startswith(' "1x3x8x8 * 4x3x3x3 -> 1x4x6x6, float32, 1 thread #')
    assert line.endswith('"seconds": {"jit: im2col, a panel at a time": 0.0001235}}')
    assert tail == ["}}"]


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "float64"},
        {"threads": 2},
        {"exact": True},
        {"rtol": 1e-3},
        {"workspace_limit": 4096},
        {"weight_limit": 4096},
        {"reuse_weights": False},
        {"y": "NHWC"},
    ],
    ids=str,
)
def test_every_part_of_a_problem_is_in_its_key(change: dict[str, Any]) -> None:
    other = Problem.of(PROBLEM.geometry, **change)
    assert choices.entry_key(other) != KEY


def test_a_key_outlives_new_names_of_classes_and_new_fields() -> None:
    """Files hold it, and saved networks: where this figure has to change, FORMAT counts up."""
    assert KEY == "1x3x8x8 * 4x3x3x3 -> 1x4x6x6, float32, 1 thread #f3b439108a73f23c"

    @dataclass(frozen=True, kw_only=True)
    class Renamed(Problem):
        new: tuple[int, ...] = ()

    named = {each.name: getattr(PROBLEM, each.name) for each in fields(PROBLEM)}
    assert choices.entry_key(Renamed(**named)) == KEY
    assert choices.entry_key(Renamed(**named, new=(1,))) != KEY


def test_a_block_has_a_key_of_its_own() -> None:
    """Its sums are those of its whole, whose order may be another."""
    block = PROBLEM.of_block(PROBLEM.geometry)
    assert block.whole == PROBLEM.geometry
    assert choices.entry_key(block) != KEY


def test_the_later_entry_stays(folder: Path, tmp_path: Path) -> None:
    choices.remember(KEY, SECONDS)
    older, newer = entry("2020-01-01T00:00:00Z"), entry("2999-01-01T00:00:00Z")
    assert choices.import_choices(written(tmp_path / "older.json", {KEY: older})) == 1
    assert choices.lookup(KEY) == SECONDS
    assert choices.import_choices(written(tmp_path / "newer.json", {KEY: newer})) == 1
    again()
    assert choices.lookup(KEY) == {"jit: a": 1e-3}


def test_export_and_import_are_a_round_trip(folder: Path, tmp_path: Path) -> None:
    choices.remember(KEY, SECONDS)
    assert convmat.export_choices(tmp_path / "mine.json") == 1
    assert convmat.forget_choices() == 1
    again()
    assert choices.lookup(KEY) == {}
    assert convmat.import_choices(tmp_path / "mine.json") == 1
    again()
    assert choices.lookup(KEY) == SECONDS


BAD = {
    "a figure": 7,
    "no seconds": {"when": "2026-01-02T03:04:05Z"},
    "empty seconds": {"when": "2026-01-02T03:04:05Z", "seconds": {}},
    "more": {**entry(), "more": 1},
    "no date": {"when": "yesterday", "seconds": {"jit: a": 1e-3}},
    "a date of a line": {"when": "2026-01-02T03:04:05Z\n", "seconds": {"jit: a": 1e-3}},
    "text": entry(a="fast"),  # type: ignore[arg-type]
    "truth": entry(a=True),
    "negative": entry(a=-1.0),
    "never": entry(a=1e300),
    "nan": entry(a=float("nan")),
}


def test_damaged_entries_are_passed_over(folder: Path) -> None:
    bad = {f"{name} #{at:016x}": value for at, (name, value) in enumerate(BAD.items())}
    written(choices.choices_file(), {**bad, "no digest": entry(), KEY: entry()})
    assert list(choices.all_entries()) == [KEY]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"null", b'{"convmat choices": 2}', b'{"choices": {}}'],
)
def test_a_damaged_file_is_an_empty_one_and_is_replaced(folder: Path, content: bytes) -> None:
    folder.mkdir(mode=0o700)
    choices.choices_file().write_bytes(content)
    assert choices.all_entries() == {}
    choices.remember(KEY, SECONDS)
    again()
    assert choices.lookup(KEY) == SECONDS


def test_another_cpus_choices_are_not_ours(folder: Path, tmp_path: Path) -> None:
    written(choices.choices_file(), {KEY: entry()}, cpu="x86_64/another/one")
    assert choices.all_entries() == {}
    path = written(tmp_path / "theirs.json", {KEY: entry()}, cpu="x86_64/another/one")
    with pytest.raises(PlanError) as caught:
        choices.import_choices(path)
    assert str(caught.value) == (
        f"import_choices: the choices are those of another CPU, this one is {host().key}\n"
        f"  {path}\n  give a file that export_choices wrote on a CPU like this"
    )
    path.write_text("what?")
    with pytest.raises(PlanError) as caught:
        choices.import_choices(path)
    assert str(caught.value).splitlines()[0] == "import_choices: the file is not JSON"


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_what_others_may_write_is_not_used(folder: Path) -> None:
    written(choices.choices_file(), {KEY: entry()}).chmod(0o666)
    assert choices.all_entries() == {}
    choices.choices_file().chmod(0o600)
    again()
    assert list(choices.all_entries()) == [KEY]
    folder.chmod(0o777)
    again()
    with pytest.warns(RuntimeWarning, match=r"does not keep choices in .*others may write there"):
        assert choices.all_entries() == {}
    choices.remember(KEY, SECONDS)
    assert choices.lookup(KEY) == SECONDS, "in memory all the same"
    assert json.loads(choices.choices_file().read_text())["choices"][KEY]["seconds"] != SECONDS
    assert "others may write there" in choices.describe_store()["refused"]
    assert "others may write there" in str(choices.why_unwritten())


def test_what_cannot_be_exported_or_imported_is_said(folder: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "none" / "choices.json"
    with pytest.raises(PlanError) as caught:
        choices.export_choices(nowhere)
    assert str(caught.value) == (
        f"export_choices: cannot write {nowhere}\n  No such file or directory\n"
        f"  make the folder first, or give another: mkdir -p {nowhere.parent}"
    )
    with pytest.raises(PlanError) as caught:
        choices.import_choices(nowhere)
    assert str(caught.value) == (
        f"import_choices: the file cannot be read: No such file or directory\n  {nowhere}\n"
        "  give a file that export_choices wrote on a CPU like this"
    )
    nowhere.parent.mkdir()
    assert choices.export_choices(nowhere) == choices.import_choices(nowhere)
    assert [path.name for path in nowhere.parent.iterdir()] == ["choices.json"]


def test_what_is_not_on_disk_is_said(tmp_path: Path) -> None:
    """A folder that cannot be made, since a file is in its way: the choice holds, and tuning says for how long."""
    (tmp_path / "file").write_text("")
    choices.use_folder(tmp_path / "file" / "choices")
    try:
        with pytest.warns(RuntimeWarning) as told:
            convmat.plan((1, 2, 6, 6), (2, 2, 3, 3), tune="quick", seconds=0.01)
        [sentence] = {str(each.message) for each in told}
        assert sentence == (
            f"convmat remembers what was measured for this process alone, not in {choices.choices_file()}: "
            "it cannot be created: Not a directory"
        )
        assert choices.describe_store()["choices"] == 1
    finally:
        choices.use_folder(None)
    assert choices.why_unwritten() is None


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_made_keeps_them_in_memory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    choices.use_folder(tmp_path / "choices")
    try:
        choices.remember(KEY, SECONDS)
        assert choices.lookup(KEY) == SECONDS
    finally:
        choices.use_folder(None)
        tmp_path.chmod(0o700)


def test_the_oldest_of_too_many_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "MOST", 3)
    many = {f"problem {n} #{n:016x}": entry(f"2026-01-0{n}T00:00:00Z") for n in range(1, 7)}
    choices.import_choices(written(folder.parent / "many.json", many))
    assert [name.split()[1] for name in choices.all_entries()] == ["4", "5", "6"]


WRITER = """\
import sys
from pathlib import Path
from convmat.planner import choices
choices.use_folder(Path(sys.argv[1]))
for n in range(20):
    number = 20 * int(sys.argv[2]) + n
    choices.remember(f"problem {number} #{number:016x}", {"jit: a": 1e-3})
"""


def test_processes_write_at_once_and_nothing_is_lost(folder: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(n)], env={**os.environ, "PYTHONPATH": str(SOURCE)}
        )
        for n in range(4)
    ]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    assert len(choices.all_entries()) == 80
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".lock"]


def test_a_lock_that_stays_taken_keeps_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(choices, "lock_file", lambda descriptor: False)
    choices.remember(KEY, SECONDS)
    assert choices.lookup(KEY) == SECONDS
    assert not choices.choices_file().exists()
