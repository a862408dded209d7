"""`convmat train`: a network learns from a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convmat.cli import parse, screen
from convmat.errors import NetworkError
from convmat.whole_files import require_writable

if TYPE_CHECKING:
    from convmat import Network
    from convmat.train import Trainer
    from convmat.train.data import Augment, Data
    from convmat.train.fit import Epoch

INTERRUPTED = 130


def _learning(help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="How it learns", **more)


def _file(help: str, *names: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Files")


def train(
    model: Annotated[
        str, typer.Argument(help="An ONNX file, or lenet, resnet20, resnet18, mobilenet_v2.", show_default=False)
    ],
    data: Annotated[
        str,
        typer.Option(help="mnist, fashion-mnist, digits, a .npz file, or a folder with a subfolder a class.",
                     show_default=False),
    ],
    epochs: Annotated[int, _learning("Times through all examples, those before --resume counted.", min=1)] = 10,
    batch: Annotated[int, _learning("Examples a step.", min=1)] = 64,
    optimiser: Annotated[str, _learning("sgd, adam or adamw.")] = "sgd",
    rate: Annotated[
        float | None, _learning("At first; it falls to 0 along a cosine. 0.05 for sgd, 0.001 for the others.")
    ] = None,
    decay: Annotated[float, _learning("Of the weights.")] = 5e-4,
    freeze: Annotated[
        list[str] | None, _learning("Parameters that stay as they are: 'features.*'.", metavar="PATTERN")
    ] = None,
    shift: Annotated[int, _learning("Move pictures by so many pixels.", min=0)] = 0,
    flip: Annotated[bool, _learning("Mirror every other picture.", "--flip")] = False,
    seed: Annotated[int, _learning("Of all that is drawn.")] = 0,
    deterministic: Annotated[
        bool, _learning("The same bits with any number of threads.", "--deterministic")
    ] = False,
    shards: Annotated[
        int | None, _learning("Each batch in so many parts, whose gradients are added.", min=1, metavar="N")
    ] = None,
    scheduler: Annotated[
        str | None, _learning("Shards by the workers of a Dask scheduler: tcp://10.0.0.1:8786.", metavar="ADDRESS")
    ] = None,
    memory: Annotated[
        str | None, _learning("What a step may take, kept by computing values again: 2GiB.", metavar="SIZE")
    ] = None,
    threads: Annotated[
        int | None, _learning("Default: the cores allowed.", "--threads", "-t", min=1, max=1024, metavar="N")
    ] = None,
    out: Annotated[Path | None, _file("Write the trained network: .onnx or .convmat.")] = None,
    checkpoint: Annotated[Path | None, _file("Written after each epoch, and by Ctrl-C.")] = None,
    resume: Annotated[bool, _file("Go on from the checkpoint.", "--resume")] = False,
    history: Annotated[Path | None, _file("A CSV file, a line an epoch.")] = None,
    skip_unreadable: Annotated[bool, _file("Leave out pictures that cannot be read.", "--skip-unreadable")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:  # fmt: skip
    """Train a network, and judge it after each epoch by examples that it has not learned from.

    Examples:

      convmat train lenet --data mnist --epochs 12 --shift 2 --out lenet.onnx

      convmat train model.onnx --data photos/ --freeze 'features.*' --epochs 5 --out tuned.onnx

      convmat train lenet --data mnist --checkpoint here.safetensors --resume --json
    """
    import convmat
    from convmat.train import Cosine
    from convmat.train.optimisers import OPTIMISERS

    if optimiser not in OPTIMISERS:
        raise NetworkError(
            f"train: there is no optimiser of that name\n  --optimiser {optimiser}\n  one of {', '.join(OPTIMISERS)}"
        )
    if resume and checkpoint is None:
        raise NetworkError("train: nothing says where to go on\n  --resume\n  add --checkpoint FILE")
    if out is not None:
        _require_out(out)
    if threads is not None:
        convmat.threads(threads)
    found, network = _read(model, data, skip_unreadable, seed)
    steps = epochs * -(-len(found.train) // batch)
    first = rate if rate is not None else {"sgd": 0.05}.get(optimiser, 1e-3)
    words: dict[str, Any] = {"momentum": 0.9} if optimiser == "sgd" else {}
    trainer = network.trainer(
        loss="cross_entropy",
        optimiser=OPTIMISERS[optimiser](Cosine(first, steps), decay=decay, **words),
        frozen=freeze or (), seed=seed, deterministic=deterministic,
        memory_limit=None if memory is None else parse.size("memory", memory),
    )  # fmt: skip
    if resume and checkpoint is not None:
        if checkpoint.exists():
            trainer.resume(checkpoint)
            trainer.last = None  # --epochs counts those that are done
        else:
            screen.complain(f"{checkpoint} is not there yet: from the beginning")
    if not json:
        sizes = f"{len(found.train):,} examples, {len(found.test):,} to judge by"
        screen.console().print(f"{model} on {found.name}: {sizes}")
    left = max(epochs - trainer.epoch, 0)
    try:
        with _bar(json) as progress, _client(scheduler) as client:
            course = trainer.fit(
                found, left, batch=batch, augment=_augment(shift, flip), checkpoint=checkpoint, history=history,
                progress=progress, shards=shards, client=client, each_epoch=None if json else _show_epoch,
            )  # fmt: skip
    except KeyboardInterrupt:
        screen.complain(_describe_stop(trainer, checkpoint))
        raise typer.Exit(INTERRUPTED) from None
    if out is not None:
        tuned = trainer.network()
        tuned.to_onnx(out) if out.suffix.lower() == ".onnx" else tuned.save(out, ())
    answer = {
        "model": model, "data": found.name, "licence": found.licence, "source": found.source,
        "examples": len(found.train), "judged": len(found.test), "steps": trainer.steps, "seed": seed,
        "epochs": [asdict(each) for each in course], "out": None if out is None else str(out),
    }  # fmt: skip
    if json:
        screen.as_json(answer)
    elif out is not None:
        screen.console().print(f"written: {out}")


def _read(model: str, data: str, skip: bool, seed: int) -> tuple[Data, Network]:
    """The data set, and the network: one of a file, or one built for the data's shape and classes."""
    import convmat
    from convmat.nn.models import MODELS
    from convmat.train.data import data_of

    if model in MODELS:
        found = data_of(data, skip=skip)
        return found, MODELS[model](found.train.x.shape[1:], found.train.classes, seed=seed)
    if not Path(model).suffix and not Path(model).exists():
        raise NetworkError(
            f"train: there is no network of that name\n  {model}\n"
            f"  one of {', '.join(MODELS)}, or the path of an ONNX file"
        )
    network = convmat.load(model)
    declared = network.inputs[0].shape or ()
    sizes = [n for n in declared[2:] if isinstance(n, int)]
    return data_of(data, (sizes[0], sizes[1]) if len(sizes) == 2 else (64, 64), skip), network


@contextmanager
def _client(scheduler: str | None) -> Iterator[Any]:
    """The client of a Dask scheduler; None where none is asked for."""
    if scheduler is None:
        yield None
        return
    from convmat.chunks import client_of

    with client_of(scheduler) as client:
        yield client


def _augment(shift: int, flip: bool) -> Augment | None:
    from convmat.train import flips, shifts, then

    changes = [*([shifts(shift)] if shift else []), *([flips()] if flip else [])]
    return then(*changes) if changes else None


@contextmanager
def _bar(quiet: bool) -> Iterator[Callable[[Any], object] | None]:
    """A bar with loss, accuracy, images a second and time left; nothing where there is no terminal."""
    console = screen.error_console()
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), "{task.completed}/{task.total}", "{task.fields[said]}")
    with Progress(
        *(each if isinstance(each, BarColumn) else TextColumn(each) for each in columns), TimeRemainingColumn(),
        console=console, transient=True,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=None, said="")

        def progress(here: Any) -> None:
            bar.update(
                task, total=here.batches, completed=here.batch, description=f"epoch {here.epoch + 1}/{here.epochs}",
                said=f"loss {here.loss:.4f}  right {here.accuracy:.1%}  {here.examples / here.seconds:,.0f} images/s",
            )  # fmt: skip

        yield progress


def _show_epoch(each: Epoch) -> None:
    """A line an epoch, once it is over."""
    from convmat.planner.units import format_seconds

    judged = f"judged {each.test_loss:.4f}, {each.test_accuracy:.2%}  " if each.test_accuracy >= 0 else ""
    screen.console().print(
        f"epoch {each.epoch:3}  loss {each.loss:.4f}  right {each.accuracy:.2%}  {judged}{format_seconds(each.seconds)}"
    )


def _require_out(out: Path) -> None:
    """Require a name that says the format, where a file can be written."""
    if out.suffix.lower() not in (".onnx", ".convmat"):
        raise NetworkError(
            f"train: the trained network has no format\n  --out {out}\n"
            f"  e.g. {out.with_suffix('.onnx').name}, or .convmat"
        )
    require_writable(out, "train")


def _describe_stop(trainer: Trainer, checkpoint: Path | None) -> str:
    """What Ctrl-C left."""
    here = f"interrupted in epoch {trainer.epoch + 1}, after {trainer.steps} steps"
    if checkpoint is None:
        return f"{here}\n  nothing of it was kept\n  --checkpoint FILE keeps what is learned"
    return f"{here}\n  {checkpoint} has them\n  the same command with --resume goes on"


__all__ = ["train"]
