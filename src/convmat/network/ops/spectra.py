"""STFT: spectra of frames that begin a step apart.

    y[b, t, k] = sum over n of  x[b, t*step + n] * window[n] * exp(-2 pi i k n / N)

x: (B, L), (B, L, 1) or, of complex numbers, (B, L, 2) -> (B, T, K, 2); K = N//2 + 1 (onesided) or N. Files of
torch.onnx.export have the signal without its last axis, as onnxruntime takes it too.
"""

from __future__ import annotations

import numpy as np

from ..graph import Array, Node, Spec
from .base import Specs, has_input, input_at, operator, whole_numbers_at

COMPLEX = 2
"""Numbers in a complex one."""


def _one_number(node: Node, specs: Specs, at: int, word: str) -> int:
    found = whole_numbers_at(node, specs, at, word)
    if len(found) != 1:
        raise node.error(f"its {word} is not one number\n  it has {len(found)}")
    return found[0]


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, step = input_at(node, specs, 0), _one_number(node, specs, 1, "frame_step")
    if x.rank not in (2, 3) or (x.rank == 3 and x.shape[2] not in (1, COMPLEX)):
        raise node.error(f"its signal is {x}\n  (batch, length), and 1 or 2 behind them, is needed")
    window = input_at(node, specs, 2) if has_input(specs, 2) else None
    if window is None and not has_input(specs, 3):
        raise node.error("its frames have no length\n  a window or a frame_length is needed")
    n = window.size if window is not None else _one_number(node, specs, 3, "frame_length")
    if window is not None and (
        window.rank != 1 or (has_input(specs, 3) and _one_number(node, specs, 3, "frame_length") != n)
    ):
        raise node.error(f"its window is {window}\n  one line, as long as frame_length, is needed")
    L = x.shape[1]
    if step < 1 or not 1 <= n <= L:
        raise node.error(
            f"its frames do not fit\n  {n} of {L} numbers, {step} apart\n  the step is at least 1"
        )
    onesided = bool(node.get("onesided", 1))
    if onesided and x.shape[2:] == (COMPLEX,):
        raise node.error(
            "its spectra are one-sided, and its signal is complex\n  onesided = 0 gives all of them"
        )
    return (Spec((x.shape[0], (L - n) // step + 1, n // 2 + 1 if onesided else n, COMPLEX), x.dtype),)


@operator("STFT", shape=_shape)
def short_fourier_transforms(
    node: Node, x: Array, step: Array, window: Array | None = None, length: Array | None = None
) -> Array:
    """Frames times the window, each transformed in the signal's own precision."""
    n = window.size if window is not None else int(np.asarray(length).reshape(()))
    signal = x.reshape(x.shape[:2]) if x.shape[2:] != (COMPLEX,) else x[..., 0] + 1j * x[..., 1]
    frames = np.lib.stride_tricks.sliding_window_view(signal, n, axis=1)[:, :: int(step.reshape(()))]
    if window is not None:
        frames = frames * window
    found = np.fft.rfft(frames) if node.get("onesided", 1) else np.fft.fft(frames)
    out = np.empty((*found.shape, COMPLEX), x.dtype)
    out[..., 0], out[..., 1] = found.real, found.imag
    return out
