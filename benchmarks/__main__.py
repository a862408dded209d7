"""`python -m benchmarks`: convmat beside other libraries, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convmat.cli import screen
from convmat.cli.app import HELP, Group, run

if TYPE_CHECKING:
    from benchmarks.run import Wish

commands = typer.Typer(
    cls=Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=HELP,
)

OUT = Path("out/bench")
DOCS = Path("docs")

INTERRUPTED = 130

Peers = Annotated[
    list[str] | None,
    typer.Option("--peers", "-p", help="A peer, or a library for all its peers; may be repeated."),
]
Threads = Annotated[str, typer.Option(help="Numbers of threads, separated by commas.")]
Quick = Annotated[bool, typer.Option("--quick", help="A couple of minutes: wider spreads.")]
Out = Annotated[Path, typer.Option(help="The folder for results and picture.")]
Source = Annotated[Path | None, typer.Option("--from", help="Other results for --docs.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for another benchmark to end.")]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


@commands.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    layers: Annotated[
        list[str] | None,
        typer.Option("--layers", "-l", help="A layer by number, range or part of its name; may be repeated."),
    ] = None,
    peers: Peers = None,
    threads: Threads = "",
    seconds: Annotated[float, typer.Option(help="Seconds for each peer and layer.")] = 1.0,
    quick: Quick = False,
    gradients: Annotated[bool, typer.Option(help="Also gradients, at batch 16.")] = True,
    startup: Annotated[bool, typer.Option(help="Also how long fresh processes take.")] = True,
    engine: Annotated[
        str | None,
        typer.Option(help="convmat on one engine (blas), beside plain NumPy unless --peers says more."),
    ] = None,
    out: Out = OUT,
    docs: Annotated[
        bool, typer.Option("--docs", help="Measure nothing: write docs/benchmarks.md from the last results.")
    ] = False,
    source: Source = None,
    wait: Wait = False,
    json: Json = False,
    show_list: Annotated[bool, typer.Option("--list", help="Name layers and peers, and stop.")] = False,
) -> None:
    """Time the layers of well-known networks in convmat and in other libraries, on this machine.

    Needs the extra `bench`; peers that are not installed are named and left out. Answers are checked first. Results
    go to out/bench: JSON and a picture. All of it takes about ten minutes, and a machine that does nothing else.

    Examples:

      python -m benchmarks --quick

      python -m benchmarks -l 3x3 -l 14-16 -p convmat -p torch --threads 1

      python -m benchmarks --engine blas

      python -m benchmarks --docs
    """
    if context.invoked_subcommand is not None:
        return
    from benchmarks import command

    if show_list:
        command.show_list(screen.console())
        return
    if docs:
        for path in command.publish(source or out / command.LATEST, DOCS):
            typer.echo(path)
        return
    wish = command.wish(
        layers or [], peers or [], threads, seconds=seconds, gradients=gradients, startup=startup, engine=engine,
        quick=quick, wait=wait,
    )  # fmt: skip
    _measured(wish, out, json)


@commands.command()
def nets(
    net: Annotated[
        list[str] | None, typer.Option("--net", "-n", help="A part of a network's name; may be repeated.")
    ] = None,
    peers: Peers = None,
    threads: Threads = "",
    seconds: Annotated[float, typer.Option(help="Seconds for each peer and network.")] = 4.0,
    quick: Quick = False,
    startup: Annotated[bool, typer.Option(help="Also first answers and memory of fresh processes.")] = True,
    out: Out = OUT / "nets",
    docs: Annotated[
        bool,
        typer.Option(
            "--docs", help="Measure nothing: write docs/benchmarks-networks.md from the last results."
        ),
    ] = False,
    source: Source = None,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Time whole networks, an image at a time, in convmat and in other libraries, on this machine.

    ResNet-50, VGG-16, MobileNetV2 and SqueezeNet 1.1 with random weights, and trained networks, fetched once. Needs
    the extra `bench`; peers that are not installed or cannot read a network are named and left out, as are networks
    that cannot be fetched. Answers are checked first. Results go to out/bench/nets: JSON and a picture. All of it takes
    about half an hour, and a machine that does nothing else.

    Examples:

      python -m benchmarks nets --quick

      python -m benchmarks nets --net resnet50 --threads 2 -p convmat -p onnxruntime

      python -m benchmarks nets --docs
    """
    from benchmarks import command

    if docs:
        for path in command.publish(source or out / command.LATEST, DOCS):
            typer.echo(path)
        return
    wish = command.networks(
        net or [], peers or [], threads, seconds=seconds, startup=startup, quick=quick, wait=wait
    )
    _measured(wish, out, json)


def _measured(wish: Wish, out: Path, json: bool) -> None:
    """Run it, keep it, show it."""
    from benchmarks import command

    found = command.measure(wish, out, screen.error_console())
    if json:
        typer.echo(found.without_samples().as_json())
    else:
        command.show(found, screen.console())
    screen.error_console().print(f"results: {out / command.LATEST}", markup=False)
    if found.partial:
        raise typer.Exit(INTERRUPTED)


@commands.command()
def first(
    net: Annotated[
        list[str] | None, typer.Option("--net", "-n", help="A part of a network's name; may be repeated.")
    ] = None,
    times: Annotated[int, typer.Option(help="Fresh processes of each kind.")] = 3,
    wait: Wait = False,
) -> None:
    """Time whole networks from file to first answer in fresh processes, and see what memory stays.

    With nothing compiled, with all kernels on disk, and in onnxruntime. About ten seconds a network and time.

    Examples:

      python -m benchmarks first -n resnet50 -n blazeface --times 1
    """
    from benchmarks import firsts, lock, netjobs

    with lock.alone(wait=wait, waiting=typer.echo):
        typer.echo(firsts.HEAD)
        for found in firsts.measure(netjobs.chosen(net or []), times, typer.echo):
            typer.echo(firsts.row(found))


@commands.command()
def images(
    layers: Annotated[
        list[str] | None,
        typer.Option("--layers", "-l", help="A filter by number or part of its name; may be repeated."),
    ] = None,
    peers: Peers = None,
    threads: Threads = "",
    seconds: Annotated[float, typer.Option(help="Seconds for each peer and filter.")] = 1.0,
    quick: Quick = False,
    out: Out = OUT / "images",
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Filter an image of 2048x2048 pixels: convmat beside OpenCV, SciPy and PyTorch, filters from 3 to 63 wide.

    Examples:

      python -m benchmarks images

      python -m benchmarks images -l 63x63 --threads 1,2
    """
    from benchmarks import command

    wish = command.images(layers or [], peers or [], threads, seconds=seconds, quick=quick, wait=wait)
    _measured(wish, out, json)


@commands.command()
def doors(
    only: Annotated[
        list[str] | None, typer.Option("--only", "-o", help="Words of a case's name; may be repeated.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer sizes.")] = False,
    out: Annotated[Path, typer.Option(help="The folder for doors.json, which a run adds to.")] = OUT,
) -> None:
    """Time convmat.scipy beside SciPy, and OpenCV where it has the same function, on one thread.

    Needs the extra `bench`, ten minutes (two with --quick), and a machine that does nothing else.

    Examples:

      python -m benchmarks doors --quick

      python -m benchmarks doors -o gaussian -o "uniform_filter 63" -o "4096x4096 float32 sobel"
    """
    from benchmarks import doors as beside

    beside.run(only or [], quick, out, typer.echo)


@commands.command()
def choices(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Layers.")] = 200,
    seed: Annotated[int, typer.Option(help="Which layers are drawn.")] = 1,
    threads: Annotated[
        int | None, typer.Option("--threads", "-t", min=1, max=1024, help="Default: the cores allowed.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time for each layer, about.")] = 0.5,
    keep_to: Annotated[
        float | None, typer.Option("--for", help="Stop after so many seconds; the next run goes on.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder for results.")] = OUT,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Draw layers as networks have them, measure every way to run each, and say how good the plans' choices are.

    A run that was stopped goes on where it was. On a busy machine figures say little: identical ways then differ.

    Examples:

      python -m benchmarks choices

      python -m benchmarks choices --count 50 --seed 7 --threads 1

      python -m benchmarks choices --for 90
    """
    import math

    import convmat
    from benchmarks import choices as measuring
    from benchmarks.lock import alone

    if threads is not None:
        convmat.threads(threads)
    n = int(convmat.threads())
    path = out / f"choices-{seed}-{n}.json"
    with screen.progress("waiting") as tell, alone(wait=wait):
        made = measuring.run(
            path, seed, n, count, seconds, keep_to or math.inf, lambda done: tell(f"{done} of {count} layers")
        )
    typer.echo(made.as_json() if json else measuring.summary(made))
    screen.error_console().print(f"results: {path}", markup=False)


@commands.command()
def predictions(
    layers: Annotated[
        list[str] | None,
        typer.Option("--layers", "-l", help="A layer by number or part of its name; may be repeated."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", "-t", min=1, max=1024)] = 1,
    seconds: Annotated[float, typer.Option(min=0, help="Time for each way of each layer, about.")] = 0.1,
    wait: Wait = False,
) -> None:
    """Compare what plans predict with what layers take, and with the other ways to run them.

    The twenty layers, and some that are hard to predict. Half a minute, on a machine that does nothing else.

    Examples:

      python -m benchmarks predictions

      python -m benchmarks predictions -l depthwise --threads 2
    """
    import convmat
    from benchmarks import predictions as measuring
    from benchmarks.lock import alone

    convmat.threads(threads)
    with screen.progress("waiting") as tell, alone(wait=wait):
        found = measuring.run(layers or [], threads, seconds, tell)
    typer.echo(measuring.summary(found))


@commands.command()
def lowerings(
    seconds: Annotated[float, typer.Option(min=0, help="Time for each of the 20 layers, about.")] = 1.0,
    out: Annotated[Path, typer.Option(help="The folder for lowerings.json and images.")] = DOCS,
    wait: Wait = False,
    json: Json = False,
) -> None:
    """Run every lowering against channels, filter width and image width: time, memory and error, as pictures.

    Needs the extra `bench`, half a minute, and a machine that does nothing else. The pictures are those of the
    documentation's page of lowerings.

    Examples:

      python -m benchmarks lowerings

      python -m benchmarks lowerings --seconds 3 --out out/lowerings
    """
    from benchmarks import lowerings as measuring
    from benchmarks import lowerplot
    from benchmarks.lock import alone

    lowerplot.needed()
    with screen.progress("waiting") as tell, alone(wait=wait):
        made = measuring.run(seconds, tell)
    written = measuring.publish(made, out)
    if json:
        typer.echo(made.as_json())
    else:
        typer.echo("\n".join(map(str, written)))


@commands.command()
def int8(
    layers: Annotated[
        list[str] | None,
        typer.Option("--layers", "-l", help="A part of a layer's or network's name; may be repeated."),
    ] = None,
    bf16: Annotated[bool, typer.Option(help="Layers in bfloat16.")] = True,
    single: Annotated[bool, typer.Option("--single/--no-single", help="Single layers in 8 bits.")] = True,
    nets: Annotated[bool, typer.Option(help="Also whole networks.")] = True,
    threads: Threads = "",
    wait: Wait = False,
) -> None:
    """Time layers in bfloat16, layers and networks in 8-bit integers beside other libraries, in turns.

    On several threads each library has a process of its own.

    Needs the extra `bench`, a quarter of an hour, and a machine that does nothing else; answers are compared first.

    Examples:

      python -m benchmarks int8

      python -m benchmarks int8 -l 3x3 --no-nets --no-bf16 --threads 2
    """
    from benchmarks import command
    from benchmarks import int8 as measuring
    from benchmarks.lock import alone

    with alone(wait=wait):
        for n in command.numbers(threads):
            typer.echo(f"{n} thread{'s' * (n > 1)}")
            measuring.run(layers or [], bf16=bf16, layers=single, nets=nets, threads=n, tell=typer.echo)


__all__ = ["bench", "choices", "commands", "doors", "images", "int8", "lowerings", "nets", "predictions"]

if __name__ == "__main__":
    raise SystemExit(run(commands, "benchmarks"))
