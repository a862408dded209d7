"""A question that several libraries answer, put to each in turn: first the answers, then round after round a sample.

    Subject    what is asked: a layer or a network in few bits; each peer has a call for it, or none
    ask        every peer's answer, compared; then samples in an order drawn anew each round (`benchmarks.crew`):
               one process on one thread, a process for each library on several

A peer that has no call for a subject is left out.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from benchmarks.crew import Crew, Message
from benchmarks.stats import settle
from benchmarks.worker import Answering
from convmat.errors import EngineError
from convmat.planner.sampling import Sample, calls_in_sample, take_sample

Array = npt.NDArray[Any]

OURS = ("convmat", "convmat f32")
"""Names of our own ways; the others are peers."""


@dataclass(frozen=True)
class Call:
    """`run()` is what is timed; `answer()` what it computes, as every peer of the subject lays it out."""

    run: Callable[[], Any]
    answer: Callable[[], Array]

    @classmethod
    def plain(cls, run: Callable[[], Array]) -> Call:
        """A call whose result is its answer."""
        return cls(run, run)


@dataclass(frozen=True)
class Subject(ABC):
    """What is asked; its fields are numbers and texts, from which another process can make it again."""

    peers: ClassVar[tuple[str, ...]]
    limit: ClassVar[float]
    rounds: ClassVar[int]

    @property
    @abstractmethod
    def title(self) -> str:
        """How tables call it."""

    @abstractmethod
    def call(self, peer: str, threads: int) -> Call | None:
        """A peer made ready, or None where it has nothing for this subject or is not installed."""

    @abstractmethod
    def apart(self, answers: Mapping[str, Array]) -> float:
        """How far answers are from what is right; beyond `limit` somebody is wrong."""


@dataclass(frozen=True)
class Measured:
    """Medians of a subject in seconds, by peer; `share`: of the peak that convmat reaches."""

    name: str
    seconds: dict[str, float]
    apart: float
    share: float | None = None

    @property
    def ratio(self) -> float:
        """How many times as long as convmat the fastest peer takes."""
        others = [s for peer, s in self.seconds.items() if peer not in OURS]
        return min(others, default=float("nan")) / self.seconds["convmat"]


def ask(subject: Subject, crew: Crew, folder: Path) -> Measured:
    """The medians of every peer that has a call. Raises EngineError where answers are further apart than allowed."""
    answers: dict[str, Array] = {}
    calls: dict[str, int] = {}
    about = {"kind": type(subject).__name__, "fields": asdict(subject)}
    for peer in subject.peers:
        file = folder / "answer.npy"
        words = {"peer": peer, "threads": crew.threads, "answer": str(file)}
        made = _asked(crew, peer, {"do": "prepare", **about, **words})
        if made:
            answers[peer], calls[peer] = np.load(file), calls_in_sample(made["seconds"])
    apart = subject.apart(answers)
    if not apart <= subject.limit:
        raise EngineError(
            f"bench: answers are further apart than rounding explains\n  {subject.title}: {', '.join(answers)}\n"
            f"  {apart:g} apart; at most {subject.limit:g} are allowed"
        )
    samples: dict[str, list[Sample]] = {peer: [] for peer in answers}
    order = random.Random(subject.title)
    for _ in range(subject.rounds):
        for peer in order.sample(list(samples), len(samples)):
            made = _asked(
                crew, peer, {"do": "sample", "peer": peer, "warm": crew.warm_calls, "calls": calls[peer]}
            )
            samples[peer].append(Sample(**made))
    crew.tell_all({"do": "forget"})
    return Measured(subject.title, {peer: settle(each).seconds for peer, each in samples.items()}, apart)


def _asked(crew: Crew, peer: str, message: Message) -> Message:
    """The answer of the process that a peer works in. Raises EngineError where it fails."""
    made = crew.ask(crew.group(peer.split()[0]), message)
    if "failed" in made:
        raise EngineError(f"bench: a library failed\n  {peer}: {made['failed']}\n  {message['do']} was asked")
    return made


class TurnsWorker(Answering):
    """A process of `ask`: the calls of one subject that are ready in it."""

    def __init__(self, kinds: Mapping[str, Callable[..., Subject]]) -> None:
        self._kinds = kinds
        self._ready: dict[str, Call] = {}

    def do_prepare(self, kind: str, fields: Message, peer: str, threads: int, answer: str) -> Message:
        """Make a peer ready, save its answer, and time another call, roughly; nothing where it has no call."""
        call = self._kinds[kind](**fields).call(peer, threads)
        if call is None:
            return {}
        self._ready[peer] = call
        np.save(answer, np.ascontiguousarray(call.answer()))
        return {"seconds": take_sample(call.run, 1).seconds}

    def do_sample(self, peer: str, warm: int, calls: int) -> Message:
        """Seconds of one call, in a row of them, and whether the process often lost its CPU meanwhile."""
        call = self._ready[peer].run
        for _ in range(warm):
            call()
        return asdict(take_sample(call, calls))

    def do_forget(self) -> Message:
        """Let go of all that was made ready."""
        self._ready = {}
        return {}


__all__ = ["OURS", "Call", "Measured", "Subject", "TurnsWorker", "ask"]
