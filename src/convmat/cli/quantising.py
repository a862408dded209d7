"""`convmat quantize`: a network's convolutions and dense layers in 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from convmat.cli import networks, screen
from convmat.errors import PlanError


def _how(help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="How numbers become smaller", **more)


def _stays(help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="What stays in float32", **more)


def quantize(
    model: networks.Model,
    data: Annotated[
        Path, typer.Option(help="A folder of pictures or .npy files, or a .npz.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to: an ONNX file.", show_default=False)],
    method: Annotated[str, _how("Of choosing scales: l2.4 (least |error|^2.4), mse (squared) or min-max.")] = "l2.4",
    activations: Annotated[str, _how("uint8 or int8.")] = "uint8",
    bias_correction: Annotated[bool, _how("Take off what rounding the weights adds on average.")] = True,
    examples: Annotated[int, _how("At most so many.", min=1, metavar="N")] = 100,
    keep: Annotated[
        list[str] | None, _stays("Layers of such names: 'head.*'.", metavar="PATTERN")
    ] = None,
    max_drop: Annotated[
        float | None,
        _stays(
            "As many sensitive layers as it takes: the share of examples with another best class, or the "
            "outputs' norm-wise distance.", min=0.0, metavar="SHARE",
        ),
    ] = None,
    keep_quicker: Annotated[bool, _stays("Layers that the plan expects to be quicker in float32.")] = True,
    mean: networks.Mean = "",
    std: networks.Std = "",
    unit: networks.Unit = False,
    bgr: networks.Bgr = False,
    layout: networks.LayoutOption = "",
    shape: networks.Shapes = None,
    threads: networks.Threads = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long each network is timed.")] = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it is there.")] = False,
    json: networks.Json = False,
) -> None:  # fmt: skip
    """Write a network whose products multiply 8-bit integers, with scales that fit examples of its input.

    The file has the standard's QuantizeLinear and DequantizeLinear, which other runtimes take, too. Some dozens of
    examples are enough; pictures are prepared as convmat run prepares them.

    Examples:

      convmat quantize model.onnx --data photos/ --mean 127.5 --std 127.5 -o model.int8.onnx

      convmat quantize model.onnx --data examples.npz -o small.onnx --max-drop 0.01

      convmat quantize model.onnx --data photos/ -o small.onnx --keep 'head.*' --json
    """
    from convmat.explain.terminal.examples import batches
    from convmat.network.quantising import quantize as quantise
    from convmat.whole_files import replace_when_whole

    if output.exists() and not overwrite and not output.is_dir():
        raise PlanError(
            f"quantize: {output} is there already\n  {output.stat().st_size:,} bytes\n  give another, or --overwrite"
        )
    network = networks.load_as_asked(model, False, threads, shape)
    before = model.stat().st_size  # the output may take its place
    how = networks.preparation(mean, std, unit, bgr, layout)
    with replace_when_whole(output, "quantize") as part, screen.progress("reading examples") as tell:
        found = quantise(
            network, batches(data, network.inputs, how, examples, tell), method=method, activations=activations,
            correct_bias=bias_correction, keep=tuple(keep or ()), max_drop=max_drop, keep_quicker=keep_quicker,
            seconds=seconds, progress=tell,
        )  # fmt: skip
        found.network.to_onnx(part)
    size = output.stat().st_size
    if json:
        screen.as_json({**found.as_dict(), "path": str(output), "bytes": size})
        return
    typer.echo(f"{found}\n\nwritten to {output}: {size:,} bytes, {before:,} before")


__all__ = ["quantize"]
