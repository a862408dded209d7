"""Bytes, seconds and FLOPs for people."""

from __future__ import annotations


def in_bytes(n: int) -> str:
    """Bytes for people.

    >>> in_bytes(0), in_bytes(1536), in_bytes(3 * 2**20)
    ('0 B', '1.5 KiB', '3 MiB')
    """
    value, unit = float(n), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.4g} {unit}"


def in_seconds(seconds: float) -> str:
    """Seconds for people.

    >>> in_seconds(0.0025), in_seconds(4e-6)
    ('2.5 ms', '4 us')
    """
    for scale, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def in_flops(n: int) -> str:
    """Multiplications and additions for people.

    >>> in_flops(62_208), in_flops(231_211_008)
    ('62.2 kFLOP', '231 MFLOP')
    """
    for scale, unit in ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP")):
        if n >= scale:
            return f"{n / scale:.3g} {unit}"
    return f"{n} FLOP"
