"""Objects on disk and in memory: found again, believed only when whole and ours, bounded, shared."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import stat
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from convmat import errors
from convmat.engine.cpu import Cpu, host
from convmat.engine.runtime import compiler, compiler_pool, jit_cache, object_cache, preloaded
from convmat.engine.runtime.loader import Loaded
from convmat.engine.runtime.object_cache import ObjectCache
from tests.test_imports import imports

posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="file modes are POSIX")


def text(number: int) -> str:
    return f"define i64 @f() {{\n  ret i64 {number}\n}}\n"


def value(loaded: Loaded) -> int:
    return int(loaded.function("f", ctypes.c_int64)())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Objects are kept here for one test, and the counts start at zero."""
    path = tmp_path / "objects"
    jit_cache.use_folder(path)
    jit_cache.counts = jit_cache.Counts()
    yield path
    jit_cache.use_folder(None)


def test_memory_then_disk_then_compiler(folder: Path) -> None:
    (one,) = jit_cache.load([text(1)], host())
    assert (value(one), jit_cache.counts) == (1, jit_cache.Counts(compiled=1))
    assert jit_cache.load([text(1)], host()) == [one]
    assert jit_cache.counts == jit_cache.Counts(memory=1, compiled=1)
    jit_cache.use_folder(folder)
    (again,) = jit_cache.load([text(1)], host())
    assert value(again) == 1
    assert jit_cache.counts == jit_cache.Counts(memory=1, disk=1, compiled=1)


@dataclass(frozen=True)
class Recipe:
    number: int


class Writer:
    """Writes texts of recipes, and counts them."""

    def __init__(self) -> None:
        self.texts = 0

    def __call__(self, kernel: object, cpu: Cpu) -> str:
        assert isinstance(kernel, Recipe)
        self.texts += 1
        return text(kernel.number)


def again(folder: Path, *numbers: int) -> tuple[list[int], int, jit_cache.Counts]:
    """What these recipes' kernels give in a process that starts, how many texts it writes, and which ways it takes."""
    jit_cache.use_folder(folder)
    before, writer = replace(jit_cache.counts), Writer()
    found = [value(each) for each in jit_cache.load([Recipe(n) for n in numbers], host(), writer)]
    taken = (
        getattr(jit_cache.counts, each) - getattr(before, each) for each in ("memory", "disk", "compiled")
    )
    return found, writer.texts, jit_cache.Counts(*taken)


def test_an_engine_whose_source_is_not_there_is_another_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = preloaded.version.__wrapped__
    assert of() == of()
    monkeypatch.setattr(preloaded, "_PACKAGE", tmp_path)
    assert of() != of()


def test_a_change_in_any_file_that_shapes_a_kernel_is_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = []
    for path in preloaded.shaping_files():
        copy = tmp_path / path.relative_to(preloaded._PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        os.utime(copy, (0, 0))
        copied.append(copy)
    monkeypatch.setattr(preloaded, "_PACKAGE", tmp_path)
    of = preloaded.version.__wrapped__
    versions = {of()}
    assert of() in versions
    for copy in copied:
        copy.write_bytes(copy.read_bytes() + b"#")
        os.utime(copy, (0, 0))
        assert of() not in versions, copy
        versions.add(of())


def test_the_files_that_shape_a_kernel_are_all_that_writing_one_imports() -> None:
    """What the writers of kernels import, and what that imports, is in the digest; errors and locks shape no code."""
    covered = set(preloaded.shaping_files())
    waiting = [path for path in covered if "kernels" in path.parts]
    seen = set(waiting)
    assert len(seen) > 20
    while waiting:
        for each in imports(waiting.pop()):
            path = preloaded._PACKAGE.parent.joinpath(*each.module.split(".")).with_suffix(".py")
            if path.is_file() and path not in seen and path.name not in ("errors.py", "processes.py"):
                seen.add(path)
                waiting.append(path)
    assert seen <= covered


def test_what_compiles_is_started_ahead_where_nothing_was_ever_compiled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(compiler_pool, "warm", asked.append)
    jit_cache.expect_kernels()
    assert asked == [jit_cache.AHEAD]
    jit_cache.disk().put(bytes(32), b"code")
    jit_cache.expect_kernels()
    assert asked == [jit_cache.AHEAD]


def test_a_recipe_that_is_found_writes_no_text(folder: Path) -> None:
    assert again(folder, 1, 2, 1) == ([1, 2, 1], 2, jit_cache.Counts(compiled=2))
    assert again(folder, 1, 2, 1) == ([1, 2, 1], 0, jit_cache.Counts(disk=2))
    writer = Writer()
    jit_cache.load([Recipe(1)], host(), writer)
    assert writer.texts == 0


def test_another_engine_writes_texts_anew_and_compiles_those_that_differ(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again(folder, 1, 2)
    monkeypatch.setattr(preloaded, "version", lambda: "another")
    assert again(folder, 1, 2, 3) == ([1, 2, 3], 3, jit_cache.Counts(disk=2, compiled=1))
    assert again(folder, 1, 2, 3) == ([1, 2, 3], 0, jit_cache.Counts(disk=3))


def link(folder: Path, number: int) -> Path:
    name = preloaded.kernel_name(Recipe(number), host())
    return folder / f"{jit_cache.key_of(name, host()).hex()}.o"


def test_a_link_without_its_object(folder: Path) -> None:
    again(folder, 1)
    (kept,) = (path for path in folder.glob("*.o") if path != link(folder, 1))
    kept.unlink()
    assert again(folder, 1) == ([1], 1, jit_cache.Counts(compiled=1))
    assert again(folder, 1) == ([1], 0, jit_cache.Counts(disk=1))


@pytest.mark.parametrize("content", [b"", b"nowhere", bytes(32), b"/" * 4096])
def test_a_link_that_leads_nowhere(folder: Path, content: bytes) -> None:
    """Whole and ours, but no key of anything."""
    again(folder, 1)
    jit_cache.disk().put(jit_cache.key_of(preloaded.kernel_name(Recipe(1), host()), host()), content)
    assert again(folder, 1) == ([1], 1, jit_cache.Counts(disk=1))
    assert again(folder, 1) == ([1], 0, jit_cache.Counts(disk=1))


def test_recipes_with_one_text_share_its_object(folder: Path) -> None:
    jit_cache.load([text(1)], host())
    assert again(folder, 1) == ([1], 1, jit_cache.Counts(disk=1))


def test_equal_texts_are_one_kernel(folder: Path) -> None:
    first, second, third = jit_cache.load([text(1), text(2), text(1)], host())
    assert first is third
    assert (value(first), value(second)) == (1, 2)
    assert jit_cache.counts.compiled == 2


def test_nothing_to_load(folder: Path) -> None:
    assert jit_cache.load([], host()) == []


def test_the_key_knows_all_that_decides_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    here = host()
    base = jit_cache.key_of(text(1), here)
    assert len(base) == 32
    others = [
        jit_cache.key_of(text(2), here),
        jit_cache.key_of(text(1), replace(here, key="another CPU")),
        jit_cache.key_of(text(1), replace(here, features="+avx")),
        jit_cache.key_of(text(1), Cpu.named("x86-64-v3")),
        jit_cache.key_of(text(1), Cpu.named("x86-64-v4")),
    ]
    with monkeypatch.context() as changed:
        changed.setattr(compiler_pool, "llvm_version", lambda: "another LLVM")
        others.append(jit_cache.key_of(text(1), here))
    with monkeypatch.context() as changed:
        changed.setattr(compiler, "OPTIONS", ("-another",))
        others.append(jit_cache.key_of(text(1), here))
    for name in ("GENERATION", "LEVEL"):
        with monkeypatch.context() as changed:
            changed.setattr(jit_cache, name, getattr(jit_cache, name) + 1)
            others.append(jit_cache.key_of(text(1), here))
    assert len({base, *others}) == 1 + len(others)
    assert jit_cache.key_of(text(1), here) == base


def test_llvms_version_is_known_without_importing_it() -> None:
    code = (
        "import sys; from convmat.engine.runtime import compiler_pool; found = compiler_pool.llvm_version();"
        "print('llvmlite' in sys.modules, found)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    import llvmlite

    imported, _, found = ran.stdout.partition(" ")
    assert imported == "False"
    assert llvmlite.__version__ in found


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut in the header": lambda content: content[:40],
    "cut in the object": lambda content: content[:-1],
    "one more byte": lambda content: content + b"\0",
    "one bit of the object": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "one bit of the checksum": lambda content: content[:70] + bytes([content[70] ^ 1]) + content[71:],
    "another format": lambda content: b"convmat object 0" + content[16:],
    "another kernel's key": lambda content: content[:16] + bytes(32) + content[48:],
    "another length": lambda content: content[:48] + (1 << 60).to_bytes(8, "little") + content[56:],
    "something else": lambda content: b"#!/bin/sh\necho hello\n" * 20,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_links_are_made_again(folder: Path, damage: str) -> None:
    again(folder, 1)
    path = link(folder, 1)
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    assert again(folder, 1) == ([1], 1, jit_cache.Counts(disk=1))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_made_again_never_run(folder: Path, damage: str) -> None:
    jit_cache.load([text(3)], host())
    (path,) = folder.glob("*.o")
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    jit_cache.use_folder(folder)
    (again,) = jit_cache.load([text(3)], host())
    assert value(again) == 3
    assert jit_cache.counts.compiled == 2
    assert path.read_bytes() == whole


def test_a_whole_file_that_does_not_load_is_made_again(folder: Path) -> None:
    """Its checksum holds, but it is no object: kept under a rule that no longer holds."""
    jit_cache.disk().put(jit_cache.key_of(text(4), host()), b"once upon a time")
    assert value(jit_cache.load([text(4)], host())[0]) == 4
    jit_cache.use_folder(folder)
    jit_cache.load([text(4)], host())
    assert jit_cache.counts == jit_cache.Counts(disk=1, compiled=1)


def test_a_kernel_that_fails_is_not_kept(folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(errors.EngineError):
            jit_cache.load(["nonsense"], host())
    assert jit_cache.disk().info().files == 0
    assert value(jit_cache.load([text(5)], host())[0]) == 5


@posix
def test_files_and_folder_are_private(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        store = ObjectCache(tmp_path / "deep" / "objects")
        store.put(bytes(32), b"code")
    finally:
        os.umask(umask)
    (path,) = store.path.iterdir()
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_others_may_write_is_refused_with_one_warning(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "objects"
    path.mkdir()
    path.chmod(mode)
    store = ObjectCache(path)
    with pytest.warns(RuntimeWarning) as caught:
        assert store.get(bytes(32)) is None
    assert str(caught[0].message) == (
        f"convmat does not keep compiled kernels in {path}: others may write there (owner {os.geteuid()}, "
        f"mode {mode:o}); each process compiles its own. Make the folder yours with mode 700 to change that."
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.put(bytes(32), b"code")
        assert store.get(bytes(32)) is None
        assert store.clear() == 0
        assert store.info().refused == f"others may write there (owner {os.geteuid()}, mode {mode:o})"
    assert not list(path.iterdir())
    path.chmod(0o700)
    store = ObjectCache(path)
    store.put(bytes(32), b"code")
    assert store.get(bytes(32)) == b"code"


@posix
def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "objects"
    path.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 123456)
    with pytest.warns(RuntimeWarning, match="others may write there"):
        assert ObjectCache(path).get(bytes(32)) is None


@posix
def test_a_link_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "objects").symlink_to(tmp_path / "real")
    with pytest.warns(RuntimeWarning) as warned:
        ObjectCache(tmp_path / "objects").put(bytes(32), b"code")
    assert [str(each.message) for each in warned] == [
        f"convmat does not keep compiled kernels in {tmp_path / 'objects'}: it is a symbolic link; each process "
        "compiles its own. Put a folder in its place, or link the folder above it to change that."
    ]
    assert not list((tmp_path / "real").iterdir())


@posix
def test_untrustworthy_files_are_deleted_unread(tmp_path: Path) -> None:
    store = ObjectCache(tmp_path / "objects")
    store.put(bytes(32), b"code")
    (path,) = store.path.iterdir()
    path.chmod(0o666)
    assert store.get(bytes(32)) is None
    assert not path.exists()
    store.put(bytes(32), b"code")
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert store.get(bytes(32)) is None
    assert elsewhere.exists()
    assert not path.is_symlink()
    os.mkfifo(path, 0o600)
    assert store.get(bytes(32)) is None
    assert not path.exists()


def test_a_folder_in_a_files_place_does_no_harm(tmp_path: Path) -> None:
    store = ObjectCache(tmp_path / "objects")
    store.put(bytes(32), b"code")
    (path,) = store.path.iterdir()
    path.unlink()
    path.mkdir()
    assert store.get(bytes(32)) is None
    store.put(bytes(32), b"code")
    assert store.get(bytes(32)) is None
    assert [item.name for item in store.path.iterdir()] == [path.name]


def test_no_folder_no_cache_no_noise(tmp_path: Path) -> None:
    """A file where the folder should be: everything works, nothing is kept, info says why."""
    (tmp_path / "file").write_text("")
    jit_cache.use_folder(tmp_path / "file" / "objects")
    try:
        assert value(jit_cache.load([text(6)], host())[0]) == 6
        refused = jit_cache.disk().info().refused
        assert refused is not None
        assert refused.startswith("it cannot be created: ")
    finally:
        jit_cache.use_folder(None)


def test_the_longest_unused_goes(tmp_path: Path) -> None:
    store = ObjectCache(tmp_path / "objects", limit=10_000)
    keys = [bytes([i]) * 32 for i in range(12)]
    for age, key in enumerate(keys[:8]):
        store.put(key, bytes(1000))
        old = time.time() - 10_000 + age
        os.utime(store._place(key), (old, old))
    assert store.get(keys[0]) == bytes(1000)
    for key in keys[8:]:
        store.put(key, bytes(1000))
    assert store.info().bytes <= store.limit
    assert store.get(keys[0]) is not None
    assert store.get(keys[1]) is None
    assert all(store.get(key) is not None for key in keys[8:])


def test_what_is_larger_than_a_quarter_of_the_limit_is_not_kept(tmp_path: Path) -> None:
    store = ObjectCache(tmp_path / "objects", limit=1000)
    store.put(bytes(32), bytes(300))
    assert store.info().files == 0


def test_info_and_clear(tmp_path: Path) -> None:
    store = ObjectCache(tmp_path / "objects", limit=5000)
    assert store.info() == object_cache.CacheInfo(store.path, 0, 0, 5000)
    for i in range(3):
        store.put(bytes([i]) * 32, b"code")
    assert (store.info().files, store.info().bytes) == (3, 3 * (4 + object_cache._HEADER.size))
    (store.path / "unrelated").write_text("kept")
    assert store.clear() == 3
    assert store.info().files == 0
    assert [item.name for item in store.path.iterdir()] == ["unrelated"]
    store.put(bytes(32), b"code")
    assert store.info().files == 1


def test_leftovers_of_dead_writers_go(tmp_path: Path) -> None:
    store = ObjectCache(tmp_path / "objects")
    store.put(bytes(32), b"code")
    old, young = store.path / ".1-dead.tmp", store.path / ".2-alive.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert store.info().files == 1
    assert not old.exists()
    assert young.exists()


def test_eight_writers_keep_to_the_limit_together(tmp_path: Path) -> None:
    """Each counts what it adds itself; together they exceed the limit by eight parts of SHARE at most."""
    limit = 64_000
    writers = [ObjectCache(tmp_path / "objects", limit) for _ in range(8)]
    most = 0
    for number in range(400):
        writers[number % 8].put(number.to_bytes(32, "big"), bytes(900))
        most = max(most, sum(each.stat().st_size for each in (tmp_path / "objects").iterdir()))
    one = 900 + object_cache._HEADER.size
    assert limit // 2 < most <= limit + 8 * (limit // object_cache.SHARE + one)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_a_folder_that_cannot_be_read_is_done_without(
    folder: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    jit_cache.load([text(1)], host())
    jit_cache.use_folder(folder)
    (kept,) = folder.iterdir()

    def refuse(*given: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.warns(RuntimeWarning) as warned:
            found = jit_cache.load([text(1), text(2)], host())
    assert [value(each) for each in found] == [1, 2]
    assert [str(each.message) for each in warned] == [
        f"convmat does without the kernels kept in {folder}: it cannot be read: {os.strerror(code)}; this process "
        "compiles its own"
    ]
    assert kept.exists()


def test_kernels_in_memory_are_bounded_and_those_in_use_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit_cache, "MOST_BYTES", 5 * mmap.PAGESIZE)
    (first,) = jit_cache.load([text(0)], host())
    others = [weakref.ref(jit_cache.load([text(n)], host())[0]) for n in range(1, 21)]
    assert sum(each.size for each in jit_cache._loaded.values()) <= jit_cache.MOST_BYTES
    assert sum(each() is not None for each in others) == 5
    assert value(first) == 0
    call = first.function("f", ctypes.c_int64)
    del first
    assert call() == 0
    assert [value(each) for each in jit_cache.load([text(n) for n in range(21)], host())] == list(range(21))
    assert jit_cache.counts.compiled == 21


def test_many_threads_make_each_kernel_once(folder: Path) -> None:
    found: list[list[int]] = []

    def work() -> None:
        found.append([value(each) for each in jit_cache.load([text(i) for i in range(5)], host())])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [list(range(5))] * 8
    assert jit_cache.counts.compiled == 5


def test_a_failure_in_one_thread_is_not_waited_for_in_another(folder: Path) -> None:
    outcomes: list[str] = []

    def work() -> None:
        try:
            jit_cache.load(["nonsense"], host())
        except errors.EngineError:
            outcomes.append("refused")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcomes == ["refused"] * 4


def test_many_processes_share_the_folder(tmp_path: Path) -> None:
    code = (
        "import ctypes, sys; from pathlib import Path\n"
        "from convmat.engine.runtime import jit_cache; from convmat.engine.cpu import host\n"
        f"jit_cache.use_folder(Path({str(tmp_path / 'objects')!r}), 6000)\n"
        "for i in range(12):\n"
        "    text = 'define i64 @f() {\\n  ret i64 %d\\n}\\n' % (i % 6)\n"
        "    jit_cache._loaded.clear()\n"
        "    (one,) = jit_cache.load([text], host())\n"
        "    assert one.function('f', ctypes.c_int64)() == i % 6\n"
        "print('right')\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
        for _ in range(4)
    ]
    assert [each.communicate(timeout=120)[0] for each in ran] == [b"right\n"] * 4
    left = ObjectCache(tmp_path / "objects").info()
    assert left.files >= 1
    assert not list((tmp_path / "objects").glob("*.tmp"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_loads_too(folder: Path) -> None:
    jit_cache.load([text(1)], host())
    with jit_cache._changed:
        # Another thread is about to make a kernel, and holds the lock: neither is there after the fork.
        jit_cache._being_made[preloaded.kernel_name(text(2), host())] = 0
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = (
                    0 if [value(each) for each in jit_cache.load([text(1), text(2)], host())] == [1, 2] else 2
                )
                compiler_pool.close()
            finally:
                os._exit(status)
        jit_cache._being_made.clear()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_default_folder_is_the_users_own() -> None:
    assert object_cache.default_path().parts[-2:] == ("convmat", "objects")
