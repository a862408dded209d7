"""`convmat run`, `summary`, `profile` and `compile`: a network from its file, called, listed, timed, saved."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convmat.cli import conv, parse, screen
from convmat.errors import NetworkError

if TYPE_CHECKING:
    from convmat import Network
    from convmat.explain.terminal.feed import Preparation

PICTURE, NETWORK, TILES = "A picture as input", "The network", "In tiles"
"""The panels of options in the help."""

Model = Annotated[
    Path, typer.Argument(help="An ONNX file, or one that `convmat compile` wrote.", show_default=False)
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        help="A .npy file or a picture; NAME=FILE for one of several. Random numbers where none is given.",
        metavar="[NAME=]FILE",
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        "-s",
        help="Extents of an input, x=1x3x224x224, or of a word, batch=1.",
        metavar="NAME=EXTENTS",
        rich_help_panel=NETWORK,
    ),
]
Exact = Annotated[
    bool,
    typer.Option("--exact", help="Only the definition's own products.", rich_help_panel=NETWORK),
]
Precision = Annotated[
    str,
    typer.Option(
        help="float32; float16: values of half precision stay so; bf16: products may round to bfloat16.",
        rich_help_panel=NETWORK,
    ),
]
PRECISIONS = {"bf16": "bfloat16"}
"""Shorter names."""

Threads = Annotated[
    int | None,
    typer.Option("--threads", "-t", min=1, max=1024, metavar="N", help="Threads; default: the cores allowed.",
                 rich_help_panel=NETWORK),
]  # fmt: skip
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Run the machine code of a saved network.", rich_help_panel=NETWORK),
]
Mean = Annotated[
    str, typer.Option(help="Taken off the pixels: a number, or one a channel.", rich_help_panel=PICTURE)
]
Std = Annotated[str, typer.Option(help="What they are divided by then.", rich_help_panel=PICTURE)]
Unit = Annotated[
    bool, typer.Option("--unit", help="Pixels from 0 to 1 instead of 0 to 255.", rich_help_panel=PICTURE)
]
Bgr = Annotated[bool, typer.Option("--bgr", help="Blue first, red last.", rich_help_panel=PICTURE)]
LayoutOption = Annotated[
    str, typer.Option(help="NCHW or NHWC; default: what the input's extents say.", rich_help_panel=PICTURE)
]
Json = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


def run(
    model: Model,
    input: Inputs = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the output: .npy, or .npz for several."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Names of the scores: a text file, one a line.")] = None,
    top: Annotated[int, typer.Option(min=1, help="So many of the best scores.", metavar="N")] = 5,
    mean: Mean = "",
    std: Std = "",
    unit: Unit = False,
    bgr: Bgr = False,
    layout: LayoutOption = "",
    shape: Shapes = None,
    exact: Exact = False,
    precision: Precision = "float32",
    threads: Threads = None,
    trust: Trust = False,
    tile: Annotated[
        str, typer.Option(help="In tiles of so many pixels: 1024, 512,768 or auto.", rich_help_panel=TILES)
    ] = "",
    memory: conv.Memory = "2GiB",
    resume: conv.Resume = False,
    scheduler: conv.Scheduler = "",
    exact_globals: Annotated[
        bool, typer.Option("--exact-globals", help="Global pooling in passes.", rich_help_panel=TILES)
    ] = False,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="A tile counts for a whole image.", rich_help_panel=TILES)
    ] = False,
    json: Json = False,
) -> None:
    """Call a network with arrays or a picture: its outputs in a line each, and the best of its scores.

    A picture is scaled to the height and width that the input declares, or --shape says; it keeps its own where they
    are open.

    Examples:

      convmat run model.onnx --input photo.jpg --mean 127.5 --std 127.5 --labels names.txt

      convmat run model.onnx --input x.npy --output y.npy

      convmat run model.onnx --input left=a.npy --input right=b.npy --json

      convmat run model.onnx --shape x=1x3x224x224         (on random numbers)

      convmat run model.convmat --trust --input x.npy      (see convmat compile)

      convmat run model.onnx --input slide.zarr --output mask.zarr --tile auto --memory 4GiB
    """
    if tile:
        from convmat import chunks

        prepared = {"mean": mean, "std": std, "unit": unit, "bgr": bgr, "layout": layout, "labels": labels}
        _require_arrays({name: value for name, value in prepared.items() if value})
        network = load_as_asked(model, exact, threads, shape, trust, precision)
        numbers = parse.numbers("tile", tile) if tile != "auto" else tile
        how = chunks.TileOptions(
            numbers, parse.size("memory", memory), approximate=approximate, exact_globals=exact_globals
        )
        found = _run_in_tiles(network, input or (), output, how, resume, scheduler)
        if json:
            screen.as_json(found[0])
        else:
            typer.echo(found[1])
        return
    from convmat.explain.terminal import answer
    from convmat.whole_files import replace_when_whole

    network = load_as_asked(model, exact, threads, shape, trust, precision)
    if output is not None and (len(network.outputs) > 1) == (output.suffix.lower() != ".npz"):
        several = len(network.outputs) > 1
        raise NetworkError(
            f"run: the network has {len(network.outputs)} output{'s' * several}, {output} is no "
            f"{'.npz' if several else '.npy'}\n  outputs: {', '.join(network.outputs)}\n"
            f"  write to {output.with_suffix('.npz' if several else '.npy')}"
        )
    given = _read_inputs(network, input or (), preparation(mean, std, unit, bgr, layout), "run")
    with screen.progress("running"):
        found = network(given, outputs=network.outputs)
    names = answer.read_labels(labels, found) if labels else ()
    if output is not None:
        with replace_when_whole(output, "run") as part, part.open("wb") as file:
            answer.write(file, found)
    said = answer.Answer(found, names, top)
    if json:
        screen.as_json({"random_input": not input, "outputs": said.as_dict()})
        return
    if not input:
        typer.echo("no --input is given: run on random numbers\n")
    typer.echo(str(said))
    if output is not None:
        typer.echo(f"\nwritten to {output}")


def _run_in_tiles(
    network: Network,
    files: Sequence[str],
    output: Path | None,
    options: Any,
    resume: bool,
    scheduler: str,
) -> tuple[dict[str, Any], str]:
    """A network from file to file, tile by tile: what is to be said of it, as JSON and as text."""
    from convmat import chunks

    if len(files) != 1 or output is None:
        raise NetworkError(
            f"run: in tiles a network goes from one file to another\n"
            f"  --input {' '.join(files) or 'is missing'}, --output {output or 'is missing'}\n"
            f"  e.g. --input x.zarr --output y.zarr --tile auto"
        )
    with screen.progress("planning") as tell:
        told = conv.report_time_left(tell)
        source = Path(files[0].rpartition("=")[2])
        job = chunks.TileJob(
            network,
            source,
            options,
            progress=lambda done, count: tell(f"pass: {done} of {count} tiles"),
        )
        done = conv.write_file(job, output, told, resume=resume, scheduler=scheduler)
    said = f"{job.plan}\n{done}\nwritten to {output}: {'x'.join(map(str, job.shape))} {job.dtype}"
    return {"out": str(output), "shape": list(job.shape), **done.as_dict()}, said


def _require_arrays(given: dict[str, Any]) -> None:
    """Raise NetworkError where options of pictures and of scores are given together with tiles."""
    if given:
        options = " ".join(f"--{name}" for name in given)
        raise NetworkError(
            f"run: in tiles a network is given the numbers of a file as they are\n"
            f"  given: {options}, for pictures and scores\n"
            f"  prepare the file's numbers before, and omit {options}"
        )


def summary(
    model: Model,
    shape: Shapes = None,
    exact: Exact = False,
    precision: Precision = "float32",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """List a network's nodes: their products, who computes them, parameters, predicted times; and its memory.

    Examples:

      convmat summary model.onnx

      convmat summary model.onnx --shape x=1x3x224x224

      convmat summary model.onnx --shape batch=1 --json
    """
    from convmat.network import input_shapes

    network = load_as_asked(model, exact, threads, shape, precision=precision)
    input_shapes.declared_specs(network.graph, "summary", line=True, limit=network.memory_limit)
    with screen.progress("planning"):
        found, memory = network.summary(), network.memory()
    if json:
        screen.as_json({**found.as_dict(), "memory": memory.as_dict()})
    else:
        typer.echo(f"{found}\n\n{memory}")


def profile(
    model: Model,
    input: Inputs = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long to measure.")] = 2.0,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Beside onnxruntime: its time, and how far apart the outputs are."),
    ] = False,
    mean: Mean = "",
    std: Std = "",
    unit: Unit = False,
    bgr: Bgr = False,
    layout: LayoutOption = "",
    shape: Shapes = None,
    exact: Exact = False,
    precision: Precision = "float32",
    threads: Threads = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Time each node of a network: where the time goes, and how near its products come to what the CPU can do.

    Examples:

      convmat profile model.onnx

      convmat profile model.onnx --shape x=8x3x224x224 --threads 1

      convmat profile model.onnx --input photo.jpg --unit --compare
    """
    network = load_as_asked(model, exact, threads, shape, trust, precision)
    given = _read_inputs(network, input or (), preparation(mean, std, unit, bgr, layout), "profile")
    with screen.progress("measuring"):
        found = network.profile(given, seconds)
        beside = network.compare(given, seconds=seconds) if compare else None
    if json:
        more = {"comparison": beside.as_dict()} if beside else {}
        screen.as_json({"random_input": not input, **found.as_dict(), **more})
        return
    if not input:
        typer.echo("no --input is given: measured on random numbers\n")
    typer.echo(str(found))
    if beside:
        typer.echo(f"\n{beside}")


def compile(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to; default: beside the model, ending in .convmat."),
    ] = None,
    shape: Shapes = None,
    exact: Exact = False,
    precision: Precision = "float32",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Save a network with its plans and kernels for one set of shapes: a file that NumPy and convmat alone run.

    The kernels are for this kind of CPU and this number of threads. Who runs the file says --trust for them to be used.

    Examples:

      convmat compile model.onnx --shape x=1x3x224x224

      convmat compile model.onnx -o faces.convmat --threads 1
    """
    network = load_as_asked(model, exact, threads, shape, precision=precision)
    path = output or model.with_suffix(".convmat")
    with screen.progress("compiling"):
        network.save(path)
    if json:
        screen.as_json({"path": str(path), "bytes": path.stat().st_size})
        return
    typer.echo(f"written to {path}: {path.stat().st_size:,} bytes")


def load_as_asked(
    model: Path,
    exact: bool,
    threads: int | None,
    shapes: Sequence[str] | None,
    trust: bool = False,
    precision: str = "float32",
) -> Network:
    """The network of a file as a command's options have it. Raises ConvmatError."""
    import convmat

    if threads is not None:
        convmat.threads(threads)
    with screen.progress(f"reading {model.name}"), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        network = convmat.load(
            model, exact=exact, trust=trust, precision=PRECISIONS.get(precision, precision)
        )
    for each in told:
        typer.echo(str(each.message).replace("trust=True", "--trust"), err=True)
    found: dict[str, Any] = {}
    for text in shapes or ():
        name, equals, extents = text.rpartition("=")
        if not equals and len(network.inputs) == 1:
            name = network.inputs[0].name
        numbers = parse.shape(name or "the input", extents)
        is_input = name in {each.name for each in network.inputs}
        found[name] = numbers if is_input or len(numbers) != 1 else numbers[0]
    return network.with_shapes(found) if found else network


def _read_inputs(network: Network, files: Sequence[str], how: Preparation, call: str) -> dict[str, Any]:
    """The inputs by name: from files, or random where there is none."""
    from convmat.explain.terminal import feed
    from convmat.network import input_shapes

    wanted = {each.name: each for each in network.inputs}
    if not files:
        return dict(
            input_shapes.random_inputs(
                input_shapes.declared_specs(network.graph, call, line=True, limit=network.memory_limit)
            )
        )
    found = {}
    for text in files:
        name, equals, path = text.partition("=")
        if not equals or name not in wanted:
            if len(wanted) != 1:
                raise NetworkError(
                    f"{call}: which input {text} is for is not said\n"
                    f"  inputs: {', '.join(map(str, network.inputs))}\n"
                    f"  say it, e.g. --input {next(iter(wanted), 'x')}={text}"
                )
            name, path = next(iter(wanted)), text
        found[name] = feed.read_input(Path(path), wanted[name], how, screen.print_remark)
    return found


def preparation(mean: str, std: str, unit: bool, bgr: bool, layout: str) -> Preparation:
    """How pictures become inputs, as a command's options have it."""
    from convmat.explain.terminal.feed import Preparation

    return Preparation(
        mean=parse.fractions("mean", mean), std=parse.fractions("std", std), unit=unit, bgr=bgr, layout=layout
    )
