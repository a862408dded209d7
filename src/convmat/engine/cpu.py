"""What this CPU is: vectors, registers, caches, and the cores this process may use.

    vector_bytes      64 AVX-512, 32 AVX2, 16 SSE and NEON
    vector_registers  how many: 32 with AVX-512 and AArch64, else 16
    vnni              whether dot products of four bytes are one instruction, on vectors of every size (AVX-512 VNNI)
    avx_vnni          the same on vectors of AVX2, in an encoding of its own
    bf16              the same of two bfloat16 numbers (AVX-512 BF16)
    dotprod           the same of four signed bytes on AArch64
    amx               whether there are tiles of 16 x 64 bytes that are multiplied at once (AMX), and Linux lets us
    vbmi              whether the bytes of whole registers are permuted by one instruction (AVX-512 VBMI)

Everything here is read from the system without LLVM, because a kernel found in the cache needs none. The
target `"native"` asks the compiling process for LLVM's own description of the host; a `key` built from the
CPU's family, model, stepping and flags tells cached objects apart.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from convmat.errors import EngineError

from ..lazy_dataclass import dataclass


@dataclass(frozen=True)
class Cpu:
    """One CPU as the engine sees it; sizes in bytes.

    >>> avx2 = Cpu.named("x86-64-v3")
    >>> avx2.vector_bytes, avx2.vector_registers, avx2.fma
    (32, 16, True)
    >>> avx2.lanes(4)
    8
    """

    arch: str
    name: str
    features: str
    vector_bytes: int
    vector_registers: int
    fma: bool
    l1: int
    l2: int
    l3: int
    model: str
    key: str
    triple: str = ""
    vnni: bool = False
    bf16: bool = False
    avx_vnni: bool = False
    dotprod: bool = False
    vbmi: bool = False
    amx: bool = False
    splits: bool = False
    """Whether it multiplies two vectors of 32 bytes as fast as one of 64: in two turns, or by its only unit so wide."""

    def lanes(self, itemsize: int) -> int:
        """Elements of `itemsize` bytes in one vector register."""
        return self.vector_bytes // itemsize

    def runs_here(self) -> bool:
        """Whether code made for this CPU can run on the host: same architecture, no wider vectors."""
        here = host()
        wide = self.vector_bytes <= here.vector_bytes
        return (
            self.arch == here.arch
            and wide
            and self.fma <= here.fma
            and self.vnni <= here.vnni
            and self.avx_vnni <= here.avx_vnni
            and self.bf16 <= here.bf16
            and self.dotprod <= here.dotprod
            and self.vbmi <= here.vbmi
            and self.amx <= here.amx
        )

    @staticmethod
    def named(name: str, features: str = "") -> Cpu:
        """A target chosen by hand, by LLVM's name for it; caches are the host's.

        >>> Cpu.named("x86-64-v4").vector_bytes, Cpu.named("neoverse-n1").arch
        (64, 'aarch64')

        Raises: EngineError when the name is not one of `NAMED`.
        """
        if name == "native":
            return host()
        if name not in NAMED:
            raise EngineError(
                f"cpu: no target is called {name!r}\n"
                f"  known: native, {', '.join(NAMED)}\n"
                "  take the nearest older one; 'native' describes this machine"
            )
        arch, vector_bytes, registers, fma = NAMED[name]
        here = host()
        # An empty triple means the compiling process's own; objects for it can be loaded on this machine.
        triple = "" if arch == here.arch else f"{arch}-unknown-linux-gnu"
        return replace(
            here, arch=arch, name=_LLVM.get(name, name), features=features, model=name, key=f"{arch}/{name}/{features}",
            vector_bytes=vector_bytes, vector_registers=registers, fma=fma, triple=triple, vnni=name in _VNNI,
            avx_vnni=name in _AVX_VNNI, bf16=name in _BF16, dotprod=name in _DOTPROD,
            vbmi=name in _VBMI, amx=name in _AMX, splits=name in _SPLITTING,
        )  # fmt: skip


_X86_V1 = ("x86_64", 16, 16, False)
_X86_V3 = ("x86_64", 32, 16, True)
_X86_V4 = ("x86_64", 64, 32, True)
_ARM = ("aarch64", 16, 32, True)

# LLVM's name -> architecture, bytes in a vector, vector registers, FMA.
NAMED: dict[str, tuple[str, int, int, bool]] = {
    "x86-64": _X86_V1,
    "x86-64-v2": _X86_V1,
    "x86-64-v3": _X86_V3,
    "x86-64-v4": _X86_V4,
    "haswell": _X86_V3,
    "alderlake": _X86_V3,
    "skylake": _X86_V3,
    "skylake-avx512": _X86_V4,
    "icelake-server": _X86_V4,
    "sapphirerapids": _X86_V4,
    "znver1": _X86_V3,
    "znver2": _X86_V3,
    "znver3": _X86_V3,
    "znver4": _X86_V4,
    "znver5": _X86_V4,
    "aarch64": _ARM,
    "cortex-a72": _ARM,
    "cortex-a76": _ARM,
    "neoverse-n1": _ARM,
    "neoverse-v1": _ARM,
    "apple-m1": _ARM,
}


# Those of them that have AVX-512 VNNI.
_VNNI = ("icelake-server", "sapphirerapids", "znver4", "znver5")

# Those that multiply tiles of bytes and of bfloat16.
_AMX = ("sapphirerapids",)

# Those that permute the bytes of whole registers: AVX-512 VBMI.
_VBMI = ("icelake-server", "sapphirerapids", "znver4", "znver5")

# Those that multiply vectors of 64 bytes no faster than their halves, by LLVM's names and by vendor, family and model:
# Zen 4; Cannon Lake, Ice Lake, Tiger Lake and Rocket Lake, but for servers.
_SPLITTING = (
    "znver4", "cannonlake", "icelake-client", "tigerlake", "rocketlake", "AuthenticAMD-25-", "GenuineIntel-6-102-",
    "GenuineIntel-6-125-", "GenuineIntel-6-126-", "GenuineIntel-6-140-", "GenuineIntel-6-141-", "GenuineIntel-6-167-",
)  # fmt: skip

# Those that have VNNI on vectors of 32 bytes alone.
_AVX_VNNI = ("alderlake",)

# Those of AArch64 that have dot products of signed bytes.
_DOTPROD = ("cortex-a76", "neoverse-n1", "neoverse-v1", "apple-m1")

# Those of them that have dot products of bfloat16.
_BF16 = ("sapphirerapids", "znver4", "znver5")

# Where LLVM's name alone would not say which processor is meant.
_LLVM = {"aarch64": "generic"}


@lru_cache(maxsize=1)
def host() -> Cpu:
    """This machine, read once a process.

    >>> host().vector_bytes in (16, 32, 64)
    True
    """
    arch = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    model, identity, flags = _cpuinfo(Path("/proc/cpuinfo"))
    if not flags:
        model, identity, flags = _ask_llvm(arch)
    vector_bytes, registers, fma = _vectors(arch, flags)
    # Features are part of the key: a hypervisor may hide some from an otherwise equal CPU.
    digest = hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:16]
    l1, l2, l3 = _caches(Path("/sys/devices/system/cpu/cpu0/cache"))
    return Cpu(
        arch=arch, name="native", features="", vector_bytes=vector_bytes, vector_registers=registers, fma=fma,
        l1=l1, l2=l2, l3=l3, model=model or arch, key=f"{arch}/{identity}/{digest}",
        vnni=vector_bytes == 64 and bool({"avx512_vnni", "avx512vnni"} & flags),
        bf16=vector_bytes == 64 and bool({"avx512_bf16", "avx512bf16"} & flags),
        avx_vnni=vector_bytes >= 32 and bool({"avx_vnni", "avxvnni"} & flags),
        dotprod=arch == "aarch64" and bool({"asimddp", "dotprod"} & flags),
        vbmi=vector_bytes == 64 and bool({"avx512_vbmi", "avx512vbmi"} & flags),
        amx=vector_bytes == 64 and flags >= _TILE_FLAGS and _may_use_tiles(),
        splits=vector_bytes == 64 and _splits(identity),
    )  # fmt: skip


def _splits(identity: str) -> bool:
    """Whether a CPU with AVX-512, by its identity, multiplies two half vectors as fast as a whole one.

    >>> _splits("AuthenticAMD-25-17-1"), _splits("AuthenticAMD-26-2-1"), _splits("GenuineIntel-6-207-2")
    (True, False, False)
    """
    return identity.startswith(_SPLITTING)


_TILE_FLAGS = frozenset({"amx_tile", "amx_int8", "amx_bf16"})

_ARCH_PRCTL, _ASK_FOR_STATE, _TILES = 158, 0x1023, 18
"""The system call of Linux on x86-64, its request for more registers to save, and which these are."""


def _may_use_tiles() -> bool:
    """Ask Linux to save the tiles of this process's threads: it does not unless it is asked. Forks inherit it."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ASK_FOR_STATE, _TILES) == 0)
    except (OSError, AttributeError):
        return False


def _vectors(arch: str, flags: frozenset[str]) -> tuple[int, int, bool]:
    """Vector bytes, vector registers and FMA that these flags promise."""
    if arch == "aarch64":
        return 16, 32, True
    fma = "fma" in flags
    # F alone is not enough: kernels mask and permute 256-bit vectors too, and 8- and 16-bit elements.
    if fma and {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return 64, 32, True
    if fma and "avx2" in flags:
        return 32, 16, True
    return 16, 16, fma


def _cpuinfo(path: Path) -> tuple[str, str, frozenset[str]]:
    """Model name, identity (family, model, stepping, or Arm's equivalents), and the flags all cores share."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return "", "", frozenset()
    identities: set[str] = set()
    flags: frozenset[str] | None = None
    model = ""
    for block in text.split("\n\n"):
        facts = {
            name.strip(): value.strip()
            for name, _, value in (line.partition(":") for line in block.splitlines())
        }
        words = frozenset((facts.get("flags") or facts.get("Features") or "").split())
        if not words:
            continue
        # Cores of two kinds share one process: only what all of them have may be used.
        flags = words if flags is None else flags & words
        model = model or facts.get("model name", "")
        names = ("vendor_id", "cpu family", "model", "stepping", "CPU implementer", "CPU variant", "CPU part")
        identities.add("-".join(facts[name] for name in names if name in facts))
    return model, "+".join(sorted(identities)), flags or frozenset()


def _ask_llvm(arch: str) -> tuple[str, str, frozenset[str]]:
    """The same from LLVM, where the system has no /proc/cpuinfo."""
    try:
        import llvmlite.binding as llvm
    except (ImportError, OSError):
        return "", arch, frozenset()
    features = frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)
    name = llvm.get_host_cpu_name()
    return name, name, features


def _caches(folder: Path) -> tuple[int, int, int]:
    """Bytes of L1 (data), L2 and L3 as a core sees them; a modest machine's where the system is silent."""
    found = {1: 32 << 10, 2: 512 << 10, 3: 8 << 20}
    for index in sorted(folder.glob("index*")):
        try:
            kind = (index / "type").read_text().strip()
            level = int((index / "level").read_text())
            size = (index / "size").read_text().strip()
            scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[size[-1]]
            count = int(size[:-1])
        except (OSError, ValueError, KeyError, IndexError):
            continue
        if kind in ("Data", "Unified") and level in found and count > 0:
            found[level] = count * scale
    return found[1], found[2], found[3]


def usable_cores() -> int:
    """Cores this process may keep busy: its affinity and its cgroups' quota of CPU time, at least 1.

    Two hardware threads of one core share its FMA units and count as one.

    >>> usable_cores() >= 1
    True
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        try:
            cores = len({_siblings(number) for number in os.sched_getaffinity(0)})
        except OSError as error:
            _warn_of_affinity(cores, error.strerror or str(error))
    limit = cgroup_limit(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    # Rounded down: workers spin, and with 1.5 cores two of them would be put to sleep amid a job.
    return max(1, cores if limit is None else min(cores, int(limit)))


@lru_cache(maxsize=1)  # once a process: it is asked for with every new number of threads
def _warn_of_affinity(cores: int, why: str) -> None:
    """Say that the system does not tell which cores are ours."""
    warnings.warn(
        f"convmat: the system refuses to say which cores this process may use: {why}\n"
        f"  all {cores} are taken to be; say how many with convmat.threads(n)",
        RuntimeWarning,
        stacklevel=3,
    )


@lru_cache(maxsize=4096)
def _siblings(number: int) -> str:
    """The hardware threads of one core, as the system lists them; the CPU's own number where it does not."""
    path = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
    try:
        return path.read_text().strip() or str(number)
    except OSError:
        return str(number)


def cgroup_limit(membership: Path, root: Path) -> float | None:
    """The smallest CPU quota, in cores, of our cgroups and their ancestors (v1 and v2); None: no limit."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    limits: list[float] = []
    for line in lines:
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            bases = [root, root / "unified"]
        elif "cpu" in controllers.split(","):
            bases = [root / controllers, root / "cpu", root / "cpu,cpuacct"]
        else:
            continue
        for base in bases:
            # A container sees its own group as the root of the mount, whatever the path says: try both.
            group = base / path.lstrip("/")
            for folder in (group, *group.parents):
                if not folder.is_relative_to(base):
                    break
                quota = _quota(folder)
                if quota is not None:
                    limits.append(quota)
    return min(limits, default=None)


def _quota(folder: Path) -> float | None:
    """Cores granted by one cgroup folder: `cpu.max` (v2) or `cpu.cfs_quota_us` over its period (v1)."""
    try:
        try:
            quota, period = (folder / "cpu.max").read_text().split()
        except FileNotFoundError:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        if quota in ("max", "-1"):
            return None
        cores = float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None
