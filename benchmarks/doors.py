"""convmat.scipy beside SciPy, and OpenCV where it has the same function: filters over images and volumes, one thread.

    ratio    SciPy's median time over convmat's, calls of both taking turns; above 1 convmat is quicker

Answers are compared before anything is timed. All run in this process, on one thread, which is what SciPy's filters
have. convmat and SciPy sum in float64; beside that, where the input is float32, convmat in float32 as OpenCV does.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import convmat

Call = Callable[[], Any]

SECONDS = 0.25
"""For all peers of a case, beyond the first calls."""

MOST_PRODUCTS = 2e9
"""Of a dense window: with more, a call of SciPy's takes many seconds."""


@dataclass(frozen=True)
class Case:
    """A function over an array: `size` is that of its window, or its sigma."""

    function: str
    size: float
    shape: tuple[int, ...]
    dtype: str

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.function} {self.size:g}, {'x'.join(map(str, self.shape))} {self.dtype}"


@dataclass(frozen=True)
class Row:
    """Medians in seconds by peer, and how far convmat's answer is from SciPy's, relative to its largest value."""

    case: Case
    seconds: dict[str, float]
    error: float

    @property
    def ratio(self) -> float:
        """How many times SciPy's time is convmat's."""
        return self.seconds["scipy"] / self.seconds["convmat"]


def cases(quick: bool) -> Iterator[Case]:
    """Images 512 to 4096 wide and a volume; each function with small and large windows."""
    widths = (512, 2048) if quick else (512, 1024, 2048, 4096)
    for dtype in ("float32", "float64", "uint8"):
        for n in widths:
            for function, sizes in IMAGES.items():
                for size in sizes:
                    if not (function in ("correlate", "convolve2d") and size * size * n * n > MOST_PRODUCTS):
                        yield Case(function, size, (n, n), dtype)
        volume = (128,) * 3 if quick else (256,) * 3
        for function, sizes in VOLUMES.items():
            for size in sizes:
                yield Case(function, size, volume, dtype)


IMAGES: dict[str, tuple[float, ...]] = {
    "correlate": (3, 7, 15, 31, 63), "convolve2d": (3, 7), "fftconvolve": (15, 63), "correlate1d": (3, 15, 63),
    "gaussian_filter": (1, 4, 8), "uniform_filter": (3, 15, 63), "maximum_filter": (3, 15, 63), "sobel": (3,),
    "prewitt": (3,), "laplace": (3,), "gaussian_laplace": (2,), "gaussian_gradient_magnitude": (2,),
}  # fmt: skip
VOLUMES: dict[str, tuple[float, ...]] = {
    "correlate": (3,), "gaussian_filter": (1,), "uniform_filter": (3, 7), "maximum_filter": (3, 7), "sobel": (3,),
    "laplace": (3,), "correlate1d": (3, 7),
}  # fmt: skip


def calls(case: Case, x: Any) -> dict[str, Call]:
    """What each peer does, by its name."""
    import scipy.ndimage
    import scipy.signal

    from convmat.scipy import ndimage, signal

    at_signal = case.function in ("convolve2d", "fftconvolve")
    theirs, ours = (scipy.signal, signal) if at_signal else (scipy.ndimage, ndimage)
    pick = np.random.default_rng(1)
    n = int(case.size)
    given: tuple[Any, ...] = (case.size,)
    if case.function in ("correlate", "convolve2d", "fftconvolve"):
        weights = pick.standard_normal((n,) * x.ndim)
        given = (weights.astype(x.dtype) if at_signal and x.dtype.kind == "f" else weights,)
    elif case.function == "correlate1d":
        given = (pick.standard_normal(n),)
    elif case.function in ("sobel", "prewitt", "laplace"):
        given = ()
    more = {"mode": "same"} if at_signal else {}
    f, g = getattr(ours, case.function), getattr(theirs, case.function)
    made: dict[str, Call] = {"convmat": lambda: f(x, *given, **more), "scipy": lambda: g(x, *given, **more)}
    if case.dtype == "float32" and not at_signal and case.function != "maximum_filter":
        made["convmat float32"] = lambda: f(x, *given, compute="float32")
    peer = opencv(case, x, *given)
    return made | ({"opencv": peer} if peer else {})


def opencv(case: Case, x: Any, *given: Any) -> Call | None:
    """The same by OpenCV, where it has it; None otherwise."""
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    if len(case.shape) != 2 or case.dtype == "uint8":
        return None
    mirrored, n = cv2.BORDER_REFLECT, int(case.size)
    depth = cv2.CV_32F if case.dtype == "float32" else cv2.CV_64F
    reach = 2 * int(4 * case.size + 0.5) + 1
    known: dict[str, Call] = {
        "correlate": lambda: cv2.filter2D(x, depth, given[0], borderType=mirrored),
        "gaussian_filter": lambda: cv2.GaussianBlur(x, (reach, reach), case.size, borderType=mirrored),
        "uniform_filter": lambda: cv2.blur(x, (n, n), borderType=mirrored),
        "sobel": lambda: cv2.Sobel(x, depth, 1, 0, ksize=3, borderType=mirrored),
        "maximum_filter": lambda: cv2.dilate(x, np.ones((n, n), np.uint8), borderType=mirrored),
    }
    return known.get(case.function)


def measure(case: Case) -> Row:
    """The case's row; ValueError where the answers differ."""
    pick = np.random.default_rng(2)
    x = (pick.random(case.shape) * 250).astype(case.dtype)
    peers = calls(case, x)
    answers = {name: np.asarray(call(), np.float64) for name, call in peers.items()}
    scale = np.abs(answers["scipy"]).max() or 1.0
    error = float(np.abs(answers["convmat"] - answers["scipy"]).max() / scale)
    if error > (1e-5 if case.dtype == "float32" else 1e-10):
        raise ValueError(f"{case.name}: off by {error:.1e}")
    samples: dict[str, list[float]] = {name: [] for name in peers}
    end = time.perf_counter() + SECONDS * len(peers)
    while time.perf_counter() < end or not samples["scipy"]:
        for name, call in peers.items():
            start = time.perf_counter()
            call()
            samples[name].append(time.perf_counter() - start)
    return Row(case, {name: statistics.median(each) for name, each in samples.items()}, error)


def geometric(values: list[float]) -> float:
    """The geometric mean.

    >>> geometric([1.0, 4.0])
    2.0
    """
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def run(chosen: list[str], quick: bool, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Measure the cases that are chosen; results go to doors.json of the folder, beside those of earlier runs."""
    rows = []
    with convmat.threads(1):
        for case in cases(quick):
            if not is_chosen(case.name, chosen):
                continue
            row = measure(case)
            rows.append(row)
            times = "  ".join(f"{name} {seconds * 1e3:.2f}" for name, seconds in row.seconds.items())
            say(f"{row.ratio:6.2f}  {case.name:48} {times} ms")
        if is_chosen("missing data", chosen):
            beside_astropy(say)
    folder.mkdir(parents=True, exist_ok=True)
    rows = keep(rows, folder / "doors.json")
    for line in summary(rows):
        say(line)
    return rows


def is_chosen(name: str, chosen: list[str]) -> bool:
    """Whether a name has all words of one of the choices; of no choices all are taken.

    >>> is_chosen("sobel 3, 512x512 float32", ["sobel float32"]), is_chosen("missing data", ["sobel"])
    (True, False)
    """
    return not chosen or any(all(word in name for word in choice.split()) for choice in chosen)


def keep(rows: list[Row], file: Path) -> list[Row]:
    """The rows of a file with these in place of those of the same cases; written there."""
    stored = json.loads(file.read_text()) if file.exists() else []
    kept = [Row(read_case(each["case"]), each["seconds"], each["error"]) for each in stored]
    names = {row.case.name for row in rows}
    rows = [row for row in kept if row.case.name not in names] + rows
    file.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return rows


def read_case(stored: dict[str, Any]) -> Case:
    """A case from JSON, whose arrays are lists.

    >>> read_case({"function": "sobel", "size": 3, "shape": [8, 9], "dtype": "uint8"}).name
    'sobel 3, 8x9 uint8'
    """
    return Case(**{**stored, "shape": tuple(stored["shape"])})


def beside_astropy(say: Callable[[str], None]) -> None:
    """Images with a tenth of their elements missing, by a Gaussian kernel: astropy's time over that of `conv`."""
    pick = np.random.default_rng(3)
    for n, sigma in ((512, 1), (512, 2), (512, 4), (1024, 2)):
        x = pick.random((n, n))
        x[pick.random(x.shape) < 0.1] = np.nan
        peers = over_missing(x, sigma)
        if not peers:
            return
        answers = [call() for call in peers.values()]
        if not all(np.allclose(each, answers[0], rtol=1e-9) for each in answers[1:]):
            raise ValueError(f"missing data, sigma {sigma}: the answers differ")
        medians = {name: statistics.median(_time(call) for _ in range(5)) for name, call in peers.items()}
        times = "  ".join(f"{name} {seconds * 1e3:.2f}" for name, seconds in medians.items())
        ratio = medians["astropy"] / medians["conv"]
        say(f"{ratio:6.2f}  {f'missing data, sigma {sigma}, {n}x{n} float64':48} {times} ms")


def over_missing(x: Any, sigma: float) -> dict[str, Call]:
    """What each peer does about NaNs; nothing where astropy is not installed."""
    try:
        from astropy import convolution
    except ImportError:
        return {}
    from convmat.scipy import ndimage

    kernel = convolution.Gaussian2DKernel(sigma)
    weights = kernel.array[None, None, ::-1, ::-1].copy()
    padding = weights.shape[-1] // 2
    return {
        "astropy": lambda: convolution.convolve(x, kernel, boundary="fill"),
        "ndimage.convolve": lambda: ndimage.convolve(x, kernel.array, mode="constant", missing="nan"),
        "conv": lambda: convmat.conv(x[None, None], weights, padding=padding, missing="nan")[0, 0],
    }


def _time(call: Call) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


NAMED = ("correlate", "gaussian_filter", "sobel")
"""What OpenCV calls filter2D, GaussianBlur and Sobel, which the goal is about."""


def summary(rows: list[Row]) -> list[str]:
    """What the goals ask, of floats and of bytes: geometric means, and the least ratio."""
    lines = []
    for what, some in (
        ("floats", [row for row in rows if row.case.dtype != "uint8"]),
        ("uint8", [row for row in rows if row.case.dtype == "uint8"]),
    ):
        if some:
            least = min(some, key=lambda row: row.ratio)
            below = sum(row.ratio < 1 for row in some)
            mean = geometric([row.ratio for row in some])
            lines.append(
                f"SciPy over convmat, {what}: geometric mean {mean:.2f} of {len(some)}, {below} below 1"
            )
            lines.append(f"  least {least.ratio:.2f}: {least.case.name}")
    for what, some in (
        ("all", [row for row in rows if "opencv" in row.seconds]),
        (
            "filter2D, GaussianBlur, Sobel",
            [row for row in rows if row.case.function in NAMED and "opencv" in row.seconds],
        ),
    ):
        if some:
            best = [min(r.seconds["convmat"], r.seconds.get("convmat float32", math.inf)) for r in some]
            mean = geometric([r.seconds["opencv"] / b for r, b in zip(some, best, strict=True)])
            lines.append(
                f"OpenCV over convmat, float32 in float32, {what}: geometric mean {mean:.2f} of {len(some)}"
            )
    return lines or ["nothing was measured"]


__all__ = ["Case", "Row", "cases", "geometric", "measure", "run", "summary"]
