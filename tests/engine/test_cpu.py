"""What the CPU says of itself, and how many cores may be used, from files written here."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from convmat import errors
from convmat.engine import cpu
from convmat.engine.cpu import Cpu

AVX512 = "avx fma avx2 avx512f avx512bw avx512dq avx512vl"


def test_host_is_this_machine() -> None:
    here = cpu.host()
    assert here.arch in ("x86_64", "aarch64") or here.arch == platform.machine().lower()
    assert here.name == "native"
    assert here.vector_bytes in (16, 32, 64)
    assert here.l1 <= here.l2 <= here.l3 or here.l3 > 0
    assert here is cpu.host()


def test_host_is_read_without_llvm() -> None:
    code = "import sys; from convmat.engine.cpu import host; host(); print('llvmlite' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("sse2", (16, 16, False)),
        ("avx fma", (16, 16, True)),
        ("avx avx2", (16, 16, False)),
        ("avx fma avx2", (32, 16, True)),
        ("avx fma avx2 avx512f", (32, 16, True)),
        (AVX512, (64, 32, True)),
    ],
)
def test_vectors_follow_from_flags(flags: str, expected: tuple[int, int, bool]) -> None:
    assert cpu._vectors("x86_64", frozenset(flags.split())) == expected
    assert cpu._vectors("aarch64", frozenset(flags.split())) == (16, 32, True)


def test_cores_of_two_kinds_share_what_both_have(tmp_path: Path) -> None:
    text = (
        "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0b\nFeatures : fp asimd sve\n\n"
        "processor : 1\nCPU implementer : 0x41\nCPU part : 0xd05\nFeatures : fp asimd\n\n"
    )
    (tmp_path / "cpuinfo").write_text(text)
    model, identity, flags = cpu._cpuinfo(tmp_path / "cpuinfo")
    assert (model, identity, flags) == (
        "",
        "0x41-0xd05+0x41-0xd0b",
        frozenset({"fp", "asimd"}),
    )


def test_no_cpuinfo_says_nothing(tmp_path: Path) -> None:
    assert cpu._cpuinfo(tmp_path / "absent") == ("", "", frozenset())


def test_caches(tmp_path: Path) -> None:
    assert cpu._caches(tmp_path) == (32 << 10, 512 << 10, 8 << 20)
    for index, (level, kind, size) in enumerate(
        [
            ("1", "Data", "48K"),
            ("1", "Instruction", "64K"),
            ("2", "Unified", "2M"),
            ("3", "Unified", "nonsense"),
        ]
    ):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(text + "\n")
    assert cpu._caches(tmp_path) == (48 << 10, 2 << 20, 8 << 20)


def test_named_targets() -> None:
    avx2 = Cpu.named("x86-64-v3")
    assert (avx2.vector_bytes, avx2.vector_registers, avx2.fma, avx2.lanes(4), avx2.lanes(8)) == (
        32,
        16,
        True,
        8,
        4,
    )
    assert avx2.key != cpu.host().key
    assert Cpu.named("native") is cpu.host()
    assert Cpu.named("neoverse-n1").arch == "aarch64"
    assert (Cpu.named("aarch64").arch, Cpu.named("aarch64").name) == ("aarch64", "generic")
    names = "znver4", "znver5", "sapphirerapids"
    assert [Cpu.named(name).splits for name in names] == [True, False, False]


def test_a_foreign_target_has_a_triple_and_does_not_run_here() -> None:
    foreign = Cpu.named("neoverse-n1" if cpu.host().arch == "x86_64" else "x86-64-v3")
    assert foreign.triple.endswith("-linux-gnu")
    assert not foreign.runs_here()
    assert cpu.host().runs_here()


def test_an_unknown_target_is_a_sentence() -> None:
    with pytest.raises(errors.EngineError) as error:
        Cpu.named("pentium-12")
    lines = str(error.value).splitlines()
    assert lines[0] == "cpu: no target is called 'pentium-12'"
    assert lines[1].startswith("  known: native, x86-64, ")
    assert lines[2] == "  take the nearest older one; 'native' describes this machine"
    assert Cpu.named("native").name == "native"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2.0),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        ("0::/outside\n", {"cpu.max": "300000 100000"}, 3.0),
        ("0::/\n", {"cpu.max": "what is this"}, None),
        ("0::/\n", {"cpu.max": "1 0"}, None),
        (
            "4:cpu,cpuacct:/x\n0::/\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "400000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
            4.0,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("4:memory:/\n", {"memory/cpu.max": "100000 100000"}, None),
    ],
)
def test_cgroup_limits(
    tmp_path: Path, membership: str, files: dict[str, str], expected: float | None
) -> None:
    (tmp_path / "membership").write_text(membership)
    root = tmp_path / "root"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    assert cpu.cgroup_limit(tmp_path / "membership", root) == expected


def test_no_cgroups_no_limit(tmp_path: Path) -> None:
    assert cpu.cgroup_limit(tmp_path / "absent", tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_counts() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cpu.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1 <= cpu.usable_cores() <= len(allowed)


def test_a_refused_affinity_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int) -> set[int]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_getaffinity", refused, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(cpu, "cgroup_limit", lambda membership, root: None)
    cpu._warn_of_affinity.cache_clear()
    with pytest.warns(RuntimeWarning) as said:
        assert [cpu.usable_cores(), cpu.usable_cores()] == [6, 6]
    cpu._warn_of_affinity.cache_clear()
    assert [str(each.message) for each in said] == [
        "convmat: the system refuses to say which cores this process may use: Operation not permitted\n"
        "  all 6 are taken to be; say how many with convmat.threads(n)"
    ]


def test_a_quota_below_one_core_is_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "cgroup_limit", lambda membership, root: 0.5)
    assert cpu.usable_cores() == 1
