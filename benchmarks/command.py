"""What `python -m benchmarks` does, without its options: wishes, a run with its progress, files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import facts, netjobs, page, peers
from benchmarks.plot import plot
from benchmarks.results import Run, write
from benchmarks.run import Wish, quickly, run
from benchmarks.show import show
from convmat.cases import IMAGES, LAYERS, select_layers
from convmat.errors import PlanError

if TYPE_CHECKING:
    from rich.console import Console

LATEST = "latest.json"


def wish(
    layers: Sequence[str],
    names: Sequence[str],
    threads: str,
    *,
    seconds: float = 1.0,
    gradients: bool = True,
    startup: bool = True,
    engine: str | None = None,
    quick: bool = False,
    wait: bool = False,
) -> Wish:
    """A wish from what was typed. Raises PlanError for what means nothing.

    >>> wish(["3"], ["torch eager"], "1").layers
    ('1x1 64->256 @56',)
    """
    made = Wish(
        layers=select_layers(layers),
        peers=peers.chosen(names, engine),
        threads=numbers(threads),
        seconds=seconds,
        gradients=gradients,
        startup=startup,
        engine=engine,
        wait=wait,
    )
    return quickly(made) if quick else made


def networks(
    nets: Sequence[str],
    names: Sequence[str],
    threads: str,
    *,
    seconds: float = 4.0,
    startup: bool = True,
    quick: bool = False,
    wait: bool = False,
) -> Wish:
    """A wish of networks from what was typed. Raises PlanError for what means nothing.

    >>> networks(["resnet"], ["convmat", "ncnn"], "2").nets
    ('resnet50',)
    """
    made = Wish(
        layers=(),
        nets=netjobs.chosen(nets),
        peers=peers.chosen(names, networks=True),
        threads=numbers(threads),
        seconds=seconds,
        startup=startup,
        wait=wait,
    )
    return quickly(made) if quick else made


def images(
    layers: Sequence[str],
    names: Sequence[str],
    threads: str,
    *,
    seconds: float = 1.0,
    quick: bool = False,
    wait: bool = False,
) -> Wish:
    """The same for filters over an image; by default those who filter images, with two threads where there are."""
    made = Wish(
        layers=select_layers(layers, IMAGES),
        peers=peers.chosen(names or peers.IMAGES),
        threads=numbers(threads)[-1:] if not threads.strip() else numbers(threads),
        seconds=seconds,
        gradients=False,
        startup=False,
        wait=wait,
    )
    return quickly(made) if quick else made


def measure(wished: Wish, folder: Path, console: Console) -> Run:
    """Run it, saying what is done; results and picture go to `folder`, results after every measurement."""
    stamp = facts.now().replace(":", "").replace("-", "")[:15]
    path = folder / f"{stamp}.json"

    def keep(found: Run) -> None:
        text = found.as_json() + "\n"
        write(path, text)
        write(folder / LATEST, text)
        if found.measured and len(found.measured) < found.jobs:
            status.update(f"{len(found.measured)} of {found.jobs} done")

    with console.status("starting") as status:

        def tell(text: str) -> None:
            console.print(text, highlight=False)

        found = run(wished, tell=tell, keep=keep)
    if found.measured:
        try:
            plot(found, path.with_suffix(".png"))
        except ImportError as error:
            console.print(f"no picture: {error}")
    return found


def publish(source: Path, folder: Path) -> list[Path]:
    """The documentation's page from results. Raises PlanError where there are none."""
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(
            f"bench: there are no results to write the page from\n  {source}: {error.strerror}\n"
            "  run `python -m benchmarks` first, or name a file with --from"
        ) from None
    return page.publish(Run.from_json(text), folder)


def show_list(console: Console) -> None:
    """Layers with their numbers, networks, peers with what they are and where they take part."""
    from rich.table import Table

    layers = Table("", "layer", "GFLOP", "weights, KiB", title="layers", title_justify="left")
    for number, layer in enumerate(LAYERS, 1):
        g = layer.geometry
        layers.add_row(str(number), layer.name, f"{g.flops / 1e9:.3f}", f"{g.bytes(4)['w'] / 1024:.0f}")
    console.print(layers)
    nets = Table("network", "input", title="networks (bench nets)", title_justify="left")
    for name, net in netjobs.NETS.items():
        nets.add_row(name, "x".join(map(str, net.shape)))
    console.print(nets)
    known = Table("peer", "library", "takes part in", "how it is used", title="peers", title_justify="left")
    for peer in peers.ALL:
        about = peer.about + ("" if peer.default else " (with --engine)")
        known.add_row(peer.name, peer.library, ", ".join(peer.where), about)
    console.print(known)


def numbers(threads: str) -> tuple[int, ...]:
    """ "1,2" -> (1, 2); by default one thread, and two where there are two cores."""
    if not threads.strip():
        return (1, 2) if len(facts.cores()) >= 2 else (1,)
    try:
        return tuple(sorted({int(number) for number in threads.split(",")}))
    except ValueError:
        raise PlanError(
            f"bench: numbers of threads are not understood\n  threads = {threads!r}\n  e.g. --threads 1,2"
        ) from None


__all__ = ["LATEST", "images", "measure", "networks", "numbers", "publish", "show", "show_list", "wish"]
