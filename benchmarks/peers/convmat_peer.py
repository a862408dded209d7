"""convmat itself: bound weights with `out=` reused, weights packed per call, and NHWC beside."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.jobs import Job
from benchmarks.netjobs import NetJob, joined
from benchmarks.peers.base import Array, Peer, Prepared, channels_last, channels_second
from convmat.errors import PlanError


class Convmat(Peer):
    """`convmat.plan(...).bind(w)(x, out=y)`, or the plain function.

    `layout` of x and y; `bound`: weights packed beforehand and the output's memory reused (gradients are plain
    functions with `out=`, since training changes both operands); `engine`: the fastest candidate of that engine
    instead of the plan's choice.
    """

    library = "convmat"
    about_networks = "`convmat.load(file)(x)`: arrays as the file has them, weights packed at the first call"

    def __init__(
        self,
        name: str,
        about: str,
        *,
        layout: str = "NCHW",
        bound: bool = True,
        engine: str | None = None,
        direct: bool = True,
    ) -> None:
        self.name = name
        self.about = about
        self.default = engine is None
        self.direct = direct
        self.directions = (("forward", "input", "weight") if bound and engine is None else ("forward",)) + (
            "network",
        ) * (name == self.library)
        self._layout = layout
        self._bound = bound
        self._engine = engine

    def version(self) -> str:
        """convmat's own."""
        import convmat

        return convmat.__version__

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """Plan, bind, allot the output."""
        import convmat

        convmat.threads(job.threads)
        last = self._layout == "NHWC"
        # exact=True: the definition's own products, as the peers' direct algorithms have them.
        options: dict[str, Any] = {**job.options, "layout": self._layout, "exact": self.direct}
        laid = channels_last if last else np.ascontiguousarray
        images = {"forward": (0,), "input": (0,), "weight": (0, 1)}[job.direction]
        a, b = (laid(each) if i in images else each for i, each in enumerate((a, b)))
        shapes = {
            "forward": (a.shape, b.shape),
            "input": (job.shapes[2], b.shape),
            "weight": (a.shape, job.shapes[2]),
        }
        x_shape, w_shape = shapes[job.direction]
        if last and job.direction == "input":
            x_shape = (x_shape[0], *x_shape[2:], x_shape[1])
        plan = convmat.plan(
            x_shape, w_shape, direction=job.direction, reuse_weights=self._bound and job.direction == "forward",
            **options,
        )  # fmt: skip
        plan = on_engine(plan, self._engine) if self._engine else plan
        out = np.empty(plan.problem.shape("y"), a.dtype)
        call: Callable[[], Array]
        if job.direction == "input":
            call = functools.partial(convmat.conv_input_grad, a, b, x_shape, out=out, **options)
        elif job.direction == "weight":
            call = functools.partial(convmat.conv_weight_grad, a, b, w_shape, out=out, **options)
        elif self._bound:
            call = functools.partial(plan.bind(b), a, out=out)
        elif self._engine:
            call = functools.partial(plan, a, b)
        else:
            call = functools.partial(convmat.conv, a, b, **options)
        turned = last and job.direction != "weight"
        cost = plan.chosen.cost
        return Prepared(
            call,
            lambda: channels_second(call()) if turned else call(),
            workspace=plan.workspace,
            predicted=cost.seconds if cost else None,
        )

    def load(self, job: NetJob, *inputs: Array) -> Prepared:
        """The network as a user has it: its defaults, which allow fewer multiplications than the definition."""
        import convmat
        from convmat.network.graph import Spec
        from convmat.network.reports.summary import summarise

        convmat.threads(job.threads)
        net = convmat.load(job.file)
        given = {each.name: x for each, x in zip(net.inputs, inputs, strict=True)}
        call = functools.partial(net, given)
        program = net.program({name: Spec(x.shape, x.dtype) for name, x in given.items()})
        seconds = summarise(program, job.threads).seconds

        def answer() -> Array:
            found = call()
            return joined([found] if len(net.outputs) == 1 else [found[name] for name in net.outputs])

        return Prepared(call, answer, program.memory.size, seconds)


def on_engine(plan: Any, engine: str) -> Any:
    """The same problem planned anew with the fastest candidate of one engine. Raises PlanError if it has none."""
    import convmat

    possible = [c for c in plan.candidates if c.engine == engine and c.cost is not None]
    if not possible:
        raise PlanError(
            f"bench: no candidate of the engine {engine!r} can run this\n  {plan.problem.geometry}\n"
            f"  engines with candidates: {', '.join(sorted({c.engine for c in plan.candidates}))}"
        )
    fastest = min(possible, key=lambda c: c.cost.seconds)
    return convmat.Plan(plan.decision.force(fastest))


PEERS: tuple[Peer, ...] = (
    Convmat("convmat", "C-contiguous NCHW arrays in and out, weights bound, `out=` reused"),
    Convmat(
        "convmat per call", "`conv(x, w)`: NCHW, weights packed and output allotted in each call", bound=False
    ),
    Convmat(
        "convmat fewest", "as convmat, with fewer multiplications than the definition where `rtol` allows",
        direct=False,
    ),
    Convmat("convmat NHWC", "C-contiguous NHWC arrays in and out, weights bound, `out=` reused", layout="NHWC"),
    Convmat("convmat blas", "the blas engine, NCHW, weights bound, `out=` reused", engine="blas"),
    Convmat(
        "convmat blas per call", "the blas engine, NCHW, weights packed and output allotted in each call",
        engine="blas", bound=False,
    ),
)  # fmt: skip
