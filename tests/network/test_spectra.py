"""STFT beside NumPy's transforms of the frames, written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat import NetworkError
from tests.network.made import model
from tests.network.made import node as made_node

Array = npt.NDArray[Any]


def net(x: Array, step: int, window: Array | None, length: int | None, **attributes: Any) -> Any:
    """What a network of one STFT gives; the signal is its input."""
    kept = {"s": np.array(step, np.int64)}
    words = ["x", "s", "-" if window is None else "w", "-" if length is None else "n"]
    kept |= {} if window is None else {"w": window}
    kept |= {} if length is None else {"n": np.array(length, np.int64)}
    while words[-1] == "-":
        words.pop()
    made = model([made_node("STFT", " ".join(words), "y", **attributes)], {"x": x.shape}, "y", kept, opset=17)
    return convmat.load(made)(x)


@pytest.mark.parametrize("length", [1, 7, 8])
@pytest.mark.parametrize("step", [1, 3, 11])
@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("axes", [2, 3])
def test_spectra_of_frames(length: int, step: int, onesided: int, axes: int) -> None:
    rng = np.random.default_rng(length)
    x, window = rng.standard_normal((2, 20)).astype(np.float32), rng.random(length).astype(np.float32)
    for each, known in ((window, length), (window, None), (None, length)):
        starts = range(0, 20 - length + 1, step)
        frames = np.stack([x[:, at : at + length].astype(float) for at in starts], 1)
        frames = frames if each is None else frames * each
        wanted = (np.fft.rfft if onesided else np.fft.fft)(frames)
        found = net(x.reshape((2, 20, 1)[:axes]),
                    step, each, known, onesided=onesided)  # fmt: skip
        assert found.dtype == np.float32
        assert found.shape == (*wanted.shape, 2)
        np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], wanted, rtol=1e-5, atol=1e-5)


def test_a_complex_signal() -> None:
    x = np.random.default_rng(1).standard_normal((2, 20, 2)).astype(np.float32)
    wide = x[..., 0] + 1j * x[..., 1]
    wanted = np.fft.fft(np.stack([wide[:, at : at + 6] for at in range(0, 15, 5)], 1))
    found = net(x, 5, None, 6, onesided=0)
    np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "step", "window", "length", "said"),
    [
        ((2, 20, 3), 4, None, 8, "(batch, length), and 1 or 2 behind them, is needed"),
        ((2, 20), 0, None, 8, "8 of 20 numbers, 0 apart"),
        ((2, 20), 4, None, 21, "21 of 20 numbers, 4 apart"),
        ((2, 20), 4, 8, 9, "one line, as long as frame_length, is needed"),
        ((2, 20), 4, None, None, "a window or a frame_length is needed"),
        ((2, 20, 2), 4, None, 8, "onesided = 0 gives all of them"),
    ],
)
def test_what_does_not_fit_is_said(
    shape: tuple[int, ...], step: int, window: int | None, length: int | None, said: str
) -> None:
    with pytest.raises(NetworkError) as error:
        net(
            np.zeros(shape, np.float32), step, None if window is None else np.ones(window, np.float32), length
        )
    assert said in str(error.value)
