"""A whole run: lock, processes, every job, and what was found so far at any moment.

Peers whose library is missing are named and left out. An interruption (Ctrl-C, SIGTERM) ends the processes and keeps
what there is, marked as partial.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import convmat
from benchmarks import facts, lock, netjobs, netstart, peers, startup
from benchmarks.crew import Crew, DiedError
from benchmarks.jobs import Job, suite
from benchmarks.measure import measure
from benchmarks.netjobs import AnyJob, NetJob
from benchmarks.nettruth import NetTruth
from benchmarks.results import Library, Run
from benchmarks.truth import Truth
from convmat.errors import ConvmatError, NetworkError, PlanError

MACHINE = "machine"


@dataclass(frozen=True)
class Wish:
    """What to run: layers, or networks. `seconds`: for each peer and job, on average; at least `least_rounds` samples
    all the same."""

    layers: tuple[str, ...]
    peers: tuple[str, ...]
    nets: tuple[str, ...] = ()
    threads: tuple[int, ...] = (1, 2)
    seconds: float = 1.0
    least_rounds: int = 7
    gradients: bool = True
    startup: bool = True
    engine: str | None = None
    quick: bool = False
    wait: bool = False


Tell = Callable[[str], None]
Keep = Callable[[Run], None]


def quickly(wish: Wish) -> Wish:
    """The same in a couple of minutes: fewer samples, so wider spreads."""
    return replace(wish, seconds=min(wish.seconds, 0.05), least_rounds=4, quick=True)


def run(wish: Wish, *, tell: Tell = lambda text: None, keep: Keep = lambda found: None) -> Run:
    """Measure what was wished for.

    tell: what is being done, in words, between measurements; keep: the run so far, after each job.
    Raises EngineError (another benchmark is running, too few cores), PlanError (a wish that means nothing).
    """
    _check(wish)
    with (
        lock.alone(wait=wish.wait, waiting=lambda holder: tell(f"waiting for {holder}")),
        tempfile.TemporaryDirectory(prefix="convmat-bench-") as folder,
    ):
        found = Run(
            convmat=convmat.__version__,
            date=facts.now(),
            machine=facts.machine(),
            peers={},
            seconds=wish.seconds,
            jobs=0,
            quick=wish.quick,
            engine=wish.engine,
        )
        if found.machine["load"] > facts.BUSY:
            tell(
                f"this machine is busy (load {found.machine['load']:.1f}): figures will be worse than they could be"
            )
        try:
            with _interruptible():
                _measure_all(wish, found, Path(folder), tell, keep)
        except KeyboardInterrupt:
            found.partial = f"interrupted after {len(found.measured)} of {found.jobs} measurements"
        except Exception as error:
            # What took minutes to find is not thrown away with the error.
            found.partial = f"ended after {len(found.measured)} of {found.jobs} measurements by {error!r}"
            keep(found)
            raise
        keep(found)
    return found


def _check(wish: Wish) -> None:
    for n in wish.threads:
        facts.cores_for(n)
    if not wish.threads or min(wish.threads) < 1:
        raise PlanError(
            f"bench: no number of threads\n  threads = {wish.threads}\n  from 1, e.g. --threads 1,2"
        )
    if not 0 < wish.seconds < 3600:
        raise PlanError(
            f"bench: no time to measure in\n  seconds = {wish.seconds:g}\n  between 0 and 3600, e.g. --seconds 1"
        )
    if not wish.peers:
        raise PlanError("bench: nobody to measure\n  peers = ()\n  omit --peers for all of them")


def _jobs(wish: Wish, nets: Sequence[str]) -> tuple[AnyJob, ...]:
    layers = suite(wish.layers, wish.threads, wish.gradients and wish.engine is None)
    networks = (
        NetJob(net, threads, shape=netjobs.NETS[net].shape) for threads in wish.threads for net in nets
    )
    return (*layers, *networks)


def _measure_all(wish: Wish, found: Run, folder: Path, tell: Tell, keep: Keep) -> None:
    files, truths = {}, {}
    for net in wish.nets:
        tell(f"{net}: written, and run in float64")
        try:
            files[net] = str(netjobs.written(net, folder))
        except NetworkError as error:
            found.left_out[net] = " ".join(str(error).split())
            tell(f"{net} is left out: {found.left_out[net]}")
            continue
        truths[net] = NetTruth(NetJob(net, shape=netjobs.NETS[net].shape, file=files[net]))
    jobs = _jobs(wish, tuple(files))
    found.jobs = len(jobs)
    for threads in wish.threads:
        tell(f"{threads} thread{'s' * (threads > 1)}: starting")
        with Crew(threads, facts.cores_for(threads), folder) as crew:
            there = _who_is_there(wish.peers, bool(wish.nets), crew, found)
            for job in (each for each in jobs if each.threads == threads):
                tell(job.name)
                _peaks(crew, threads, folder, found, tell)
                truth: Truth | NetTruth
                if isinstance(job, Job):
                    truth = Truth(job)
                else:
                    truth = truths[job.net]
                    job = replace(job, flops=truth.flops, file=files[job.net])
                able = [name for name in there if job.direction in peers.peer(name).directions]
                found.measured.append(
                    measure(
                        job, able, crew, folder, truth, seconds=wish.seconds, least_rounds=wish.least_rounds
                    )
                )
                keep(found)
    if wish.startup and wish.engine is None:
        tell("first calls in fresh processes")
        times = 2 if wish.quick else 5
        try:
            if wish.layers:
                found.startup = startup.measure(times)
            if netstart.NET in files:
                found.startup |= (started := netstart.measure(Path(files[netstart.NET]), times)).seconds
                found.memory = started.bytes
        except ConvmatError as error:
            tell(str(error))


def _who_is_there(names: Sequence[str], networks: bool, crew: Crew, found: Run) -> list[str]:
    """The peers whose library can be loaded; all are written down, with version or reason."""
    there = []
    for name in names:
        peer = peers.peer(name)
        try:
            made = crew.ask(crew.group(peer.library), {"do": "version", "peer": name})
        except DiedError as died:
            made = {"failed": str(died)}
        version, missing = made.get("version"), made.get("missing") or made.get("failed")
        about = peer.about_networks if networks and peer.about_networks else peer.about
        found.peers[name] = Library(peer.library, about, peer.direct, version, missing)
        if version is not None:
            there.append(name)
    return there


def _peaks(crew: Crew, threads: int, folder: Path, found: Run, tell: Tell) -> None:
    """What the hardware has, now, in a process that does nothing else; without it no share of the peak is told."""
    message = {"do": "peaks", "threads": threads, "file": str(folder / "peaks.json")}
    try:
        made = crew.ask(MACHINE, message)
    except DiedError as died:
        made = {"failed": str(died)}
    if "failed" in made:
        tell(f"the machine's peak could not be measured: {made['failed']}")
        return
    found.peaks.setdefault(threads, []).append({name: float(value) for name, value in made.items()})


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does; only the main thread may say so."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
