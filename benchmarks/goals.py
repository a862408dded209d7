"""The goals that convmat's speed was set, held against a run.

    ratio      a peer's seconds / convmat's seconds: above 1 convmat is faster
    dense      layers of one group with at least 0.1 GFLOP
    least      the worst layer, named

A goal is met when its figure covers every layer that it speaks of; over fewer only the worst layer can miss it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.jobs import TRAINING_LAYERS
from benchmarks.results import Measured, Run
from convmat.cases import IMAGES, LAYERS

OURS = "convmat"
FEWEST = "convmat fewest"
EAGER = "torch eager"
DIRECT = ("torch prepacked", "onnxruntime", "litert")
TORCH = ("torch eager", "torch channels_last")
NUMPY = "numpy im2col"
LARGE = 100_000_000
MOST_WORKSPACE = 16 << 20

Ratio = Callable[[Measured], float | None]


@dataclass(frozen=True)
class Goal:
    """One line of the summary: what is asked, what was found, over how many of how many layers, worst where.

    `statistic`: which figure of those layers it is. `unit` is "times", "percent", "seconds", "bytes", "error"
    or "layers"; `at_most` says that less is better.
    """

    text: str
    statistic: str
    unit: str
    value: float | None
    wanted: float | None
    over: int
    of: int
    where: str = ""
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where the run does not tell.

        >>> Goal("speed", "least", "times", 1.2, 1.0, over=3, of=20).met is None
        True
        >>> Goal("speed", "least", "times", 0.9, 1.0, over=3, of=20).met
        False
        """
        if self.value is None or self.wanted is None:
            return None
        good = self.value <= self.wanted if self.at_most else self.value >= self.wanted
        if self.over < self.of:
            # The worst of some is no better than the worst of all; of a mean or a count, nothing follows.
            return False if not good and self.statistic in ("least", "most") else None
        return good


def goals(run: Run) -> list[Goal]:
    """Every goal of layers that a run says something about."""
    found: list[Goal] = []
    for threads in run.threads():
        found += _blas(run, threads) if run.engine else _jit(run, threads)
        found += _images(run, threads)
    if not run.engine:
        found += [*_scaling(run), *_startup(run)]
    return [goal for goal in found if goal.value is not None]


def dense_layers() -> list[str]:
    """The names of the dense layers of at least 0.1 GFLOP.

    >>> len(dense_layers())
    15
    """
    return [layer.name for layer in LAYERS if layer.geometry.G == 1 and layer.geometry.flops >= LARGE]


def of_peak(run: Run, measured: Measured, name: str = OURS) -> float | None:
    """FLOP/s over the machine's FMA peak, both as this run measured them; 1.0 is the peak."""
    seconds, peak = measured.seconds(name), run.peak(measured.job.threads)
    return measured.job.flops / seconds / peak if seconds and peak else None


def ratio(measured: Measured, names: Sequence[str], ours: str = OURS) -> float | None:
    """The fastest of some peers' seconds over ours."""
    fastest, seconds = measured.fastest(tuple(names)), measured.seconds(ours)
    return fastest[1] / seconds if fastest and seconds else None


def others(run: Run) -> tuple[str, ...]:
    """The peers that are not convmat: of layers those whose algorithm is the definition's, of networks all."""
    return tuple(
        name
        for name, each in run.peers.items()
        if each.library != "convmat" and (each.direct or run.networks)
    )


def _jit(run: Run, threads: int) -> list[Goal]:
    """What is asked for each number of threads; numbers are set for one and two."""
    forward = {m.job.subject: m for m in run.of(threads, "forward")}
    dense = dense_layers()
    rest = [layer.name for layer in LAYERS if layer.geometry.G > 1]
    every = [layer.name for layer in LAYERS]
    mean, least = {1: (0.92, 0.80), 2: (0.85, 0.72)}.get(threads, (None, None))
    t = f"{threads} thread{'s' * (threads > 1)}"

    def against(names: Sequence[str], ours: str = OURS) -> Ratio:
        return lambda m: ratio(m, names, ours)

    def share(m: Measured) -> float | None:
        return of_peak(run, m)

    return [
        *both(f"{t}: of the FMA peak, dense layers", forward, dense, share, mean, least, "percent"),
        *both(f"{t}: against the fastest direct peer, dense layers", forward, dense, against(DIRECT), 1.03, 0.95),
        *both(
            f"{t}: weights packed per call, against torch eager", forward, every,
            against((EAGER,), "convmat per call"), 1.5, 1.0,
        ),
        *both(f"{t}: depthwise and grouped, against the fastest peer", forward, rest, against(others(run)), 1.3, 1.0),
        *_gradient(run, threads, f"{t}: input gradient, against the best of torch", "input", against(TORCH), 0.95),
        *_gradient(run, threads, f"{t}: weight gradient, against the best of torch", "weight", against(TORCH), 1.15),
        most(f"{t}: error, in errors of torch eager", forward, every, _errors, 2.0),
        _predicted(t, forward, every),
        *_fewest(run, threads, t, forward),
    ]  # fmt: skip


def _fewest(run: Run, threads: int, t: str, forward: Mapping[str, Measured]) -> list[Goal]:
    """What is asked where fewer multiplications than the definition's are allowed, of convmat and of all others."""
    theirs = [name for name, each in run.peers.items() if each.library != "convmat"]
    three = [
        layer.name
        for layer in LAYERS
        if (g := layer.geometry).F == (3, 3) and set(g.s) == set(g.d) == {1} and g.G == 1
    ]

    def against(m: Measured) -> float | None:
        return ratio(m, theirs, FEWEST)

    def rounding(m: Measured) -> float | None:
        entry = m.entries.get(FEWEST)
        return entry.error if entry else None

    def against_torch(m: Measured) -> float | None:
        return ratio(m, TORCH, FEWEST)

    mean, least = (1.15, 1.0) if threads == 1 else (1.05, 0.9)
    every = [layer.name for layer in LAYERS]
    return [
        *both(f"{t}: {FEWEST}, 3x3 at stride 1, against the fastest", forward, three, against, mean, least),
        *both(f"{t}: {FEWEST}, all layers, against the fastest", forward, every, against, 1.15, 0.95),
        most(f"{t}: {FEWEST}, norm-wise error", forward, three, rounding, 2e-6, "error"),
        *(
            goal
            for direction, wanted in (("input", 2.0), ("weight", 1.6))
            for goal in _gradient(
                run, threads, f"{t}: {FEWEST}, {direction} gradient, against the best of torch", direction,
                against_torch,
                wanted, 1.1,
            )
        ),
        *(
            most(
                f"{t}: {FEWEST}, norm-wise error of the {direction} gradient",
                {m.job.subject: m for m in run.of(threads, direction)}, TRAINING_LAYERS, rounding, 2e-6, "error",
            )
            for direction in ("input", "weight")
        ),
    ]  # fmt: skip


def _images(run: Run, threads: int) -> list[Goal]:
    """What is asked of filters over an image: each size has its own figure, of two threads."""
    found = {m.job.subject: m for m in run.of(threads, "forward")}
    theirs = [name for name, each in run.peers.items() if each.library != "convmat"]
    text = f"{threads} thread{'s' * (threads > 1)}: {FEWEST}, against the fastest"
    goals_: list[Goal] = []
    if not found.keys() & {image.name for image in IMAGES}:
        return goals_
    for image, wanted in zip(IMAGES, (1.0, 1.5, 2.0, 1.0, 1.0), strict=True):
        value = ratio(found[image.name], theirs, FEWEST) if image.name in found else None
        asked = wanted if threads == 2 else None
        goals_.append(Goal(text, "ratio", "times", value, asked, int(value is not None), 1, image.name))
    return goals_


def _blas(run: Run, threads: int) -> list[Goal]:
    """Never slower than NumPy im2col, in at most 16 MiB."""
    forward = {m.job.subject: m for m in run.of(threads, "forward")}
    every = [layer.name for layer in LAYERS]
    found = []
    t = f"{threads} thread{'s' * (threads > 1)}"
    for ours in (name for name, each in run.peers.items() if each.library == "convmat"):

        def against(m: Measured, ours: str = ours) -> float | None:
            return ratio(m, (NUMPY,), ours)

        def scratch(m: Measured, ours: str = ours) -> float | None:
            entry = m.entries.get(ours)
            return entry.workspace if entry else None

        found += both(f"{t}: {ours}, against {NUMPY}", forward, every, against, None, 1.0)
        found.append(most(f"{t}: {ours}, workspace", forward, every, scratch, MOST_WORKSPACE, "bytes"))
    return found


def both(
    text: str,
    measured: Mapping[str, Measured],
    layers: Sequence[str],
    value: Ratio,
    mean: float | None,
    least: float | None,
    unit: str = "times",
) -> list[Goal]:
    """The geometric mean and the worst layer."""
    found = _values(measured, layers, value)
    worst = min(found, key=lambda name: found[name], default="")
    middle = statistics.geometric_mean(found.values()) if found else None
    return [
        Goal(text, "geometric mean", unit, middle, mean, len(found), len(layers)),
        Goal(text, "least", unit, found.get(worst), least, len(found), len(layers), worst),
    ]


def most(
    text: str,
    measured: Mapping[str, Measured],
    layers: Sequence[str],
    value: Ratio,
    wanted: float,
    unit: str = "times",
) -> Goal:
    """The layer with the most of what there should be little of."""
    found = _values(measured, layers, value)
    worst = max(found, key=lambda name: found[name], default="")
    return Goal(text, "most", unit, found.get(worst), wanted, len(found), len(layers), worst, at_most=True)


def _values(measured: Mapping[str, Measured], layers: Sequence[str], value: Ratio) -> dict[str, float]:
    found = {name: value(measured[name]) for name in layers if name in measured}
    return {name: each for name, each in found.items() if each is not None}


def _gradient(
    run: Run, threads: int, text: str, direction: str, value: Ratio, mean: float, least: float | None = None
) -> list[Goal]:
    measured = {m.job.subject: m for m in run.of(threads, direction)}
    return both(text, measured, TRAINING_LAYERS, value, mean, least)


def _errors(measured: Measured) -> float | None:
    ours, theirs = measured.entries.get(OURS), measured.entries.get(EAGER)
    if ours is None or theirs is None or ours.error is None or not theirs.error:
        return None
    return ours.error / theirs.error


def _predicted(t: str, forward: Mapping[str, Measured], layers: Sequence[str]) -> Goal:
    """On how many layers the plan's time is within a quarter of the measured one."""
    good, told = 0, 0
    for m in forward.values():
        entry, seconds = m.entries.get(OURS), m.seconds(OURS)
        if entry is not None and entry.predicted is not None and seconds:
            told += 1
            good += abs(entry.predicted / seconds - 1) <= 0.25
    text = f"{t}: layers whose time the plan predicts within 25 %"
    return Goal(text, "number", "layers", good if told else None, 16, told, len(layers))


def _scaling(run: Run) -> list[Goal]:
    """One thread's seconds over two threads', on layers above 0.1 GFLOP."""
    one, two = ({m.job.subject: m for m in run.of(threads, "forward")} for threads in (1, 2))

    def gain(m: Measured) -> float | None:
        alone = one[m.job.subject].seconds(OURS) if m.job.subject in one else None
        together = m.seconds(OURS)
        return alone / together if alone and together else None

    layers = [layer.name for layer in LAYERS if layer.geometry.flops > LARGE]
    return both("two threads against one, layers above 0.1 GFLOP", two, layers, gain, None, 1.8)


def _startup(run: Run) -> list[Goal]:
    """Medians of fresh processes."""
    asked = {
        "import": ("import convmat", 0.150),
        "first": ("first call, compiling", 1.0),
        "again": ("first call of a new process, from the disk cache", 0.400),
    }
    return [
        Goal(text, "median", "seconds", statistics.median(run.startup[key]), wanted, 1, 1, at_most=True)
        for key, (text, wanted) in asked.items()
        if run.startup.get(key)
    ]
