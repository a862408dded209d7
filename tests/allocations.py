"""Every array NumPy allocates inside a block: counted, fenced with NaN, and filled with NaN before it is used.

NumPy lets its data allocator be replaced (NEP 49). Ours keeps the peak, which tracemalloc cannot restrict to one
domain; puts a fence of 0xFF bytes (NaN in every float type) around each block and looks at it when the block is
freed; and hands blocks out full of NaN, so that an answer made of memory that nobody wrote is no number.
"""

from __future__ import annotations

import ctypes
import importlib
import threading
from types import TracebackType
from typing import Self

import numpy as np

FENCE = 256  # bytes before and after; a multiple of 64, so alignment stays what malloc gives
SCALAR = 64  # bytes up to which a block is a number that NumPy made an array of, and is not counted
SET_HANDLER = 304  # its place in the table of NumPy's C API

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]

_Malloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_Calloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
_Realloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_Free = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _Handler(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", _Malloc),
        ("calloc", _Calloc),
        ("realloc", _Realloc),
        ("free", _Free),
    )


class Allocations:
    """`with Allocations() as made:` then `made.peak` bytes at once at most, and `made.broken` fences."""

    def __init__(self) -> None:
        self.now = self.peak = 0
        self.broken: list[str] = []
        self._sizes: dict[int, int] = {}
        self._lock = threading.RLock()  # the collector may free an array while one is counted

    def __enter__(self) -> Self:
        global _active
        _active = self
        self._before = _set_handler(_capsule)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _active
        _set_handler(self._before)
        _active = None

    def add(self, address: int, size: int) -> None:
        if size <= SCALAR:
            return
        with self._lock:
            self._sizes[address] = size
            self.now += size
            self.peak = max(self.peak, self.now)

    def drop(self, address: int) -> None:
        with self._lock:
            self.now -= self._sizes.pop(address, 0)


_active: Allocations | None = None
_sizes: dict[int, int] = {}  # all that are alive, also after their block: NumPy frees each through us


def _malloc(context: int | None, size: int) -> int:
    raw = _libc.malloc(size + 2 * FENCE)
    ctypes.memset(raw, 0xFF, size + 2 * FENCE)
    address = int(raw) + FENCE
    _sizes[address] = size
    if _active is not None:
        _active.add(address, size)
    return address


def _calloc(context: int | None, count: int, size: int) -> int:
    address = _malloc(context, count * size)
    ctypes.memset(address, 0, count * size)
    return address


def _realloc(context: int | None, old: int | None, size: int) -> int:
    address = _malloc(context, size)
    if old:
        ctypes.memmove(address, old, min(size, _sizes[old]))
        _free(context, old, 0)
    return address


def _free(context: int | None, address: int | None, size: int) -> None:
    if not address:
        return
    size = _sizes.pop(address)
    fences = ctypes.string_at(address - FENCE, FENCE), ctypes.string_at(address + size, FENCE)
    for where, fence in zip(("before", "after"), fences, strict=True):
        if fence != b"\xff" * FENCE and _active is not None:
            _active.broken.append(f"{where} a block of {size} bytes")
    if _active is not None:
        _active.drop(address)
    _libc.free(address - FENCE)


_handler = _Handler(
    b"convmat tests", 1, None, _Malloc(_malloc), _Calloc(_calloc), _Realloc(_realloc), _Free(_free)
)
_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]

_NAME = b"mem_handler"  # kept alive: a capsule holds its name by address
_capsule = _new(ctypes.addressof(_handler), _NAME, None)
_core = importlib.import_module(
    "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
)
_table = ctypes.cast(_pointer(_core._multiarray_umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
_set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(_table[SET_HANDLER] or 0)
