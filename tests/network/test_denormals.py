"""Denormals count as zero in a network: a CPU that leaves them to its microcode would take twenty times as long."""

from __future__ import annotations

import numpy as np
import pytest

import convmat

from .made import model, node


@pytest.mark.parametrize("threads", [1, 2])
def test_what_an_exponential_leaves_below_the_normal_numbers_is_zero(threads: int) -> None:
    """e^-95 is 5e-42; e^-80 is normal, but a billionth of it is not."""
    w = np.full((4, 4, 3, 3), 1, np.float32)
    small = np.full((4, 4, 1, 1), 1e-9, np.float32)
    net = convmat.load(
        model(
            [node("Exp", "x", "e"), node("Conv", "e w", "y"), node("Conv", "e s", "z")],
            {"x": (1, 4, 40, 40)},
            "y z",
            {"w": w, "s": small},
        )
    )
    with convmat.threads(threads):
        for exponent, normal in ((-95, False), (-80, True)):
            found = net(np.full((1, 4, 40, 40), exponent, np.float32))
            assert bool(np.all(found["y"] > 0)) == normal
            assert not np.any(found["z"])
    # Nobody else's numbers are touched: neither NumPy's nor a convolution's.
    assert np.float32(1e-38) * np.float32(0.5) > 0
    assert np.all(convmat.conv(np.full((1, 4, 8, 8), 1e-40, np.float32), w) > 0)


def test_the_mode_is_put_back_after_an_error() -> None:
    net = convmat.load(
        model([node("Reshape", "x shape", "y")], {"x": ("n",)}, "y", {"shape": np.array([2, -1])})
    )
    with pytest.raises(convmat.errors.NetworkError):
        net(np.ones(3, np.float32))
    assert np.float32(1e-38) * np.float32(0.5) > 0
