"""A graph that is called with arrays: prepared for their shapes, unless another process recorded what it does."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Self

from ..errors import NetworkError
from ..processes import Lock, importing, kept_property
from .graph import MEMORY_LIMIT, Graph, Spec, Value, copy_lists, specs_of

if TYPE_CHECKING:
    from ..planner import Choice
    from .ops import Options
    from .preparing.deciding import DecidingValues
    from .preparing.latest import Latest
    from .preparing.program import Program
    from .preparing.programs import Programs
    from .preparing.sharing import Shared
    from .starts.start import Start


class CalledGraph:
    """What a Network is to its calls. What prepares is imported by the first call that needs it."""

    def __init__(
        self,
        graph: Graph | None,
        options: Options | None,
        memory_limit: int,
        rules: Collection[str] | None = None,
        choices: Mapping[str, Choice] | None = None,
        shared: Shared | None = None,
        start: Start | None = None,
    ) -> None:
        self._graph, self._options, self.memory_limit, self.rules = graph, options, memory_limit, rules
        self.source: str | os.PathLike[str] | bytes | None = None
        self.choices = choices
        self._shared, self._start = shared, start
        self._file = start.take_file() if start is not None and graph is None else None
        self._others: OrderedDict[tuple[str, ...], Any] = OrderedDict()
        self._lock = Lock()
        self._latest: Latest | None = None
        if graph is not None:
            _import_what_prepares()

    @classmethod
    def from_start(cls, start: Start) -> Self:
        """The network of a file that another process loaded, with no options: its graph is read when it is needed."""
        made = cls(None, None, MEMORY_LIMIT, start=start)
        made.source = start.path
        return made

    @property
    def graph(self) -> Graph:
        """Its nodes, inputs and outputs. Raises NetworkError."""
        if self._graph is None:
            with self._lock, importing("convmat.network.files.readings"):
                if self._graph is None:
                    assert self._file is not None
                    from .files.readings import read_again

                    self._graph, self._file = read_again(self._file()), None
        return self._graph

    @property
    def options(self) -> Options:
        """Options that the network was loaded with."""
        if self._options is None:
            from .ops import Options

            self._options = Options()
        return self._options

    @kept_property
    def _programs(self) -> Programs:
        from .preparing.programs import Programs, Setting

        setting = Setting(self.options, self.memory_limit, self._rules(), self.choices, shared=self._shared)
        return Programs(self.graph, setting)

    @kept_property
    def _values_met(self) -> DecidingValues:
        from .preparing.deciding import DecidingValues

        return DecidingValues(self.graph)

    def _run_again(self, x: Any) -> dict[str, Value] | None:
        """The outputs for arrays of NumPy's just like those of the last call; None for any others."""
        latest, start = self._latest, self._start
        if start is not None and latest is None:
            return self._answer_recorded(x, start)
        if latest is None or latest.program is not self._programs.latest:
            return None
        matched = latest.match(x)
        return None if matched is None else copy_lists(latest.program(matched))

    def _run(self, x: Any) -> dict[str, Value]:
        again = self._run_again(x)
        if again is not None:
            return again
        _import_what_prepares()
        begin, given = time.perf_counter(), self.inputs_of(x)
        start, self._start = self._start, None
        program = self._prepare(given)
        seconds = time.perf_counter() - begin
        found = program(given)
        from .preparing.latest import Latest

        self._latest = Latest.of(given, program, self._values_met.names)
        if start is not None and self.graph.whole:  # by the file alone it is known again
            from .starts.record import record

            start.keep(
                given, found, seconds, sum(program.packed.values()),
                lambda x, y, most: record(program, x, y, seconds, most),
            )  # fmt: skip
        return copy_lists(found)

    def _answer_recorded(self, x: Any, start: Start) -> dict[str, Value] | None:
        """What another process recorded, as long as that is enough; None where it recorded nothing of such arrays."""
        found = start.answer(x)
        if found is not None and start.over:
            self._start = None
        return found

    def _prepare(self, given: Mapping[str, Value]) -> Program:
        return self.program(self._values_met.know_values(given, specs_of(given)))

    def program(self, specs: Mapping[str, Spec]) -> Program:
        """The graph prepared for inputs of these shapes. Raises NetworkError, with a shape that would fit."""
        try:
            return self._programs.program(specs)
        except NetworkError as error:
            from .input_shapes import misfit_error

            raise misfit_error(self.graph, specs, error, self.memory_limit) from error

    def inputs_of(self, x: Any) -> dict[str, Any]:
        """The inputs by name, as C-contiguous arrays of the declared types, lists of them, or None."""
        from .inputs import read_inputs

        return read_inputs(self.graph.inputs, x)

    def _rules(self) -> tuple[str, ...] | None:
        return None if self.rules is None else tuple(self.rules)


def _import_what_prepares() -> None:
    """Import what prepares networks as one is made that will be, not amid its first call.

    A signal's handler may call the network that its thread is inside, and would meet half a module.
    """
    with importing("convmat.network.starts.record"):
        from . import input_shapes, inputs  # noqa: F401  # what methods above import
        from .preparing import deciding, latest, programs  # noqa: F401
        from .starts import record  # noqa: F401


__all__ = ["CalledGraph"]
