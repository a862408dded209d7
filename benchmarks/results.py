"""What a run found, as values that go to JSON and come back the same.

    Run       the machine, the versions, the moment, what was wished for; measurements; start-up times
    Measured  one job: an Entry for each peer
    Entry     a figure in seconds with its samples and its answer's error, or why there is none

Seconds are those of one call. Nothing here is computed from others of its values but by methods.
"""

from __future__ import annotations

import json
import os
import statistics
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.netjobs import AnyJob, made
from benchmarks.stats import Figure
from convmat.errors import PlanError
from convmat.planner.sampling import Sample

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One peer at one job. `refused`, `failed`: why it has no figure.

    `error`: the estimated norm-wise error of its answer; `workspace` in bytes and `predicted` seconds where it tells.
    """

    figure: Figure | None = None
    error: float | None = None
    workspace: int | None = None
    predicted: float | None = None
    refused: str | None = None
    failed: str | None = None
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Measured:
    """One job with every peer's entry."""

    job: AnyJob
    entries: dict[str, Entry]

    def seconds(self, peer: str) -> float | None:
        """The median of a peer, if it has one."""
        entry = self.entries.get(peer)
        return entry.figure.seconds if entry and entry.figure else None

    def fastest(self, names: tuple[str, ...]) -> tuple[str, float] | None:
        """The fastest of some peers and its seconds; None if none has a figure."""
        timed = [(seconds, name) for name in names if (seconds := self.seconds(name)) is not None]
        return (min(timed)[1], min(timed)[0]) if timed else None


@dataclass(frozen=True)
class Library:
    """A peer as the run knew it: whose it is, how it was used, its version or why it is missing."""

    library: str
    about: str
    direct: bool = True
    version: str | None = None
    missing: str | None = None


@dataclass
class Run:
    """Everything a run found.

    `partial`: why it ended before its time, or None; `jobs`: how many there were to be; `left_out`: networks that could
    not be had, and why.
    """

    convmat: str
    date: str
    machine: dict[str, Any]
    peers: dict[str, Library]
    seconds: float
    jobs: int
    quick: bool = False
    engine: str | None = None
    partial: str | None = None
    peaks: dict[int, list[dict[str, float]]] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)
    startup: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, list[int]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def peak(self, threads: int, what: str = "fma_flops") -> float | None:
        """The machine's FMA peak in FLOP/s (or a bandwidth): the median of what was measured along the run."""
        found = [peaks[what] for peaks in self.peaks.get(threads, [])]
        return statistics.median(found) if found else None

    @property
    def networks(self) -> bool:
        """Whether it is about networks, not layers."""
        return any(each.job.direction == "network" for each in self.measured)

    def threads(self) -> list[int]:
        """The thread counts that were measured, in order."""
        return sorted({each.job.threads for each in self.measured})

    def of(self, threads: int, *directions: str) -> list[Measured]:
        """The measurements of some directions with so many threads."""
        return [m for m in self.measured if m.job.threads == threads and m.job.direction in directions]

    def without_samples(self) -> Run:
        """The same with figures alone."""
        short = [
            Measured(m.job, {name: replace(e, samples=()) for name, e in m.entries.items()})
            for m in self.measured
        ]
        return replace(self, measured=short)

    def as_json(self) -> str:
        """JSON, one measurement a line.

        >>> run = Run("0.1", "2026-01-01", {}, {"numpy im2col": Library("numpy", "")}, 1.0, 1)
        >>> Run.from_json(run.as_json()) == run
        True
        """
        parts = asdict(replace(self, measured=[]))
        parts["format"] = FORMAT
        parts["measured"] = []
        text = json.dumps(parts, indent=1)
        lines = ",\n  ".join(json.dumps(_packed(each)) for each in self.measured)
        return text.replace('"measured": []', f'"measured": [\n  {lines}\n ]') if lines else text

    @staticmethod
    def from_json(text: str) -> Run:
        """The run that was written. Raises PlanError if the text is none, or of another version."""
        try:
            parts = json.loads(text)
            found = parts.pop("format")
            if found != FORMAT:
                raise PlanError(
                    f"bench: results of another version\n  format {found}, this convmat reads {FORMAT}\n"
                    "  run the benchmark again"
                )
            parts["measured"] = [_unpacked(each) for each in parts["measured"]]
            parts["peers"] = {name: Library(**each) for name, each in parts["peers"].items()}
            parts["peaks"] = {int(threads): each for threads, each in parts["peaks"].items()}
            return Run(**parts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlanError(
                f"bench: this is no benchmark's result\n  {type(error).__name__}: {error}\n"
                "  give a file that `python -m benchmarks` has written"
            ) from None


def _packed(measured: Measured) -> dict[str, Any]:
    """Samples as two lists, nanoseconds in whole numbers: a tenth of the text."""
    packed = asdict(measured)
    packed["job"].pop("file", None)
    for name, entry in measured.entries.items():
        packed["entries"][name]["samples"] = {
            "ns": [round(sample.seconds * 1e9) for sample in entry.samples],
            "switched": [i for i, sample in enumerate(entry.samples) if sample.switched],
        }
    return packed


def _unpacked(parts: dict[str, Any]) -> Measured:
    entries = {}
    for name, each in parts["entries"].items():
        samples = each.pop("samples")
        switched = set(samples["switched"])
        figure = each.pop("figure")
        entries[name] = Entry(
            **each,
            figure=Figure(**figure) if figure else None,
            samples=tuple(Sample(ns / 1e9, i in switched) for i, ns in enumerate(samples["ns"])),
        )
    return Measured(made(parts["job"]), entries)


def write(path: Path, text: str) -> None:
    """The whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
