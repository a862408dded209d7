"""Bytes, seconds and FLOPs for people."""

from __future__ import annotations


def format_bytes(n: int) -> str:
    """Bytes for people.

    >>> format_bytes(0), format_bytes(1536), format_bytes(3 * 2**20)
    ('0 B', '1.5 KiB', '3 MiB')
    """
    value, unit = float(n), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.4g} {unit}"


def format_seconds(seconds: float) -> str:
    """Seconds for people.

    >>> format_seconds(0.0025), format_seconds(4e-6)
    ('2.5 ms', '4 us')
    """
    for scale, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def format_flops(n: int) -> str:
    """Multiplications and additions for people.

    >>> format_flops(62_208), format_flops(231_211_008)
    ('62.2 kFLOP', '231 MFLOP')
    """
    for scale, unit in ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP")):
        if n >= scale:
            return f"{n / scale:.3g} {unit}"
    return f"{n} FLOP"


def format_apart(a: float, b: float) -> tuple[str, str]:
    """Two different figures with as few digits, two or more, as show that they differ.

    >>> format_apart(5.04e-6, 5e-6), format_apart(1e-3, 5e-6)
    (('5.04e-06', '5.00e-06'), ('1.0e-03', '5.0e-06'))
    """
    for digits in range(1, 17):
        shown = f"{a:.{digits}e}", f"{b:.{digits}e}"
        if shown[0] != shown[1]:
            return shown
    return f"{a:.1e}", f"{b:.1e}"
