"""A small structured emitter of LLVM IR text.

    module = Module()
    fn = module.function("dot", {"x": ptr, "y": ptr, "out": ptr, "n": i64})
    x, y, out, n = fn.arguments
    with fn.loop(0, n, 16, carried=[const(f32.x(16), 0.0)]) as loop:       # n: a multiple of 16
        (total,) = loop.carried
        at = loop.index * 4
        loop.carry(fma(fn.load(x + at, f32.x(16)), fn.load(y + at, f32.x(16)), total))
    fn.store(loop.results[0], out)
    print(module)

What is written here is what the machine runs: only code generation follows, no optimising passes. So values
are in SSA form from the start (a loop carries its accumulators as phis, nothing lives in memory), address
arithmetic on Python numbers happens in Python, and pointers move by bytes, which folds into addressing
modes. The text is the same for the same calls, whatever the CPU, so that its hash is a key for compiled
objects.

What values can do is in `instructions`; here is where they are written: modules, functions, loops, branches
and memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from .control_flow import Branch, Loop, Repeat, as_value
from .instructions import Operand, Type, Value, const, extract, i1, i32, i64, less, minimum, ptr, splat, trunc

Int = Value | int
# Both of them: a lone one makes LLVM split every vector in two.
PREFER_512 = '"prefer-vector-width"="512" "min-legal-vector-width"="512"'


class Module:
    """Functions that are compiled together.

    attributes: LLVM function attributes for every function, e.g. `PREFER_512` on AVX-512.
    fused: whether the CPU has fused multiply-add. Without it `fma` rounds twice instead of calling libm.

    `str(module)` is the IR:

    >>> module = Module()
    >>> fn = module.function("sum", {"x": ptr, "n": i64}, i64)
    >>> x, n = fn.arguments
    >>> with fn.loop(0, n, carried=[0], at_least_once=True) as loop:
    ...     loop.carry(loop.carried[0] + fn.load(x + loop.index * 8, i64))
    >>> fn.returning(loop.results[0])
    >>> print(module)
    define i64 @sum(ptr %x, i64 %n) nounwind {
    entry.0:
      br label %loop.1
    loop.1:
      %.3 = phi i64 [ 0, %entry.0 ], [ %.9, %loop.1 ]
      %.4 = phi i64 [ 0, %entry.0 ], [ %.8, %loop.1 ]
      %.5 = mul i64 %.3, 8
      %.6 = getelementptr i8, ptr %x, i64 %.5
      %.7 = load i64, ptr %.6, align 8
      %.8 = add i64 %.4, %.7
      %.9 = add nsw i64 %.3, 1
      %.10 = icmp slt i64 %.9, %n
      br i1 %.10, label %loop.1, label %done.2
    done.2:
      ret i64 %.8
    }
    """

    def __init__(self, attributes: str = "", *, fused: bool = True) -> None:
        self.attributes = attributes
        self.fused = fused
        self.functions: list[Function] = []
        self.declared: dict[str, None] = {}
        """Lines that declare intrinsics, those of which versions of LLVM have several signatures."""

    def function(
        self,
        name: str,
        parameters: Mapping[str, Type],
        returns: Type | None = None,
        *,
        notes: Mapping[str, str] | None = None,
    ) -> Function:
        """Begins a function.

        parameters: name -> type, in order.
        notes: parameter attributes such as `{"x": "noalias readonly align 64"}`.
        """
        function = Function(self, name, parameters, returns, notes or {})
        self.functions.append(function)
        return function

    def __str__(self) -> str:
        return "\n".join([*self.declared, *map(str, self.functions)])


class Function:
    """A function being written, a line at a time. `arguments` are its parameters as values."""

    def __init__(
        self,
        module: Module,
        name: str,
        parameters: Mapping[str, Type],
        returns: Type | None,
        notes: Mapping[str, str],
    ) -> None:
        self.module = module
        self.fused = module.fused
        self.name = name
        self.returns = returns
        self.arguments = [Value(f"%{each}", type, self) for each, type in parameters.items()]
        self.address = Value(f"@{name}", ptr, None)
        given = ", ".join(
            " ".join(filter(None, (type.text, notes.get(each, ""), f"%{each}")))
            for each, type in parameters.items()
        )
        result = "void" if returns is None else returns.text
        self._head = f"define {result} @{name}({given}) nounwind {module.attributes}".rstrip()
        self._lines = ["entry.0:"]  # our own names have a dot, which parameters' cannot have
        self._block = "entry.0"  # the one being written; "" after a return
        self._labels = 0

    def __str__(self) -> str:
        lines = list(self._lines)
        if self._block:
            assert self.returns is None, f"{self.name} must return {self.returns}"
            lines.append("  ret void")
        return "\n".join([f"{self._head} {{", *lines, "}", ""])

    # ---- lines and blocks ---------------------------------------------------------------------------------

    def emit(self, text: str, result: Type) -> Value:
        """Writes `text`, the right-hand side of a line, and names what it gives."""
        name = f"%.{len(self._lines)}"
        self._lines.append(f"  {name} = {text}")
        return Value(name, result, self)

    def do(self, text: str) -> None:
        """Writes a line that gives nothing."""
        self._lines.append(f"  {text}")

    def _label(self, stem: str) -> str:
        self._labels += 1
        return f"{stem}.{self._labels}"

    def _begin(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self._block = label

    def _phi(self, incoming: Sequence[tuple[Value, str]]) -> Value:
        type = incoming[0][0].type
        assert all(value.type is type for value, _ in incoming), f"one type on every way in, not {incoming}"
        ways = ", ".join(f"[ {value.name}, %{block} ]" for value, block in incoming)
        return self.emit(f"phi {type.text} {ways}", type)

    def returning(self, value: Operand | None = None) -> None:
        """Returns from the function here; what follows in this branch is not allowed."""
        if value is None:
            self.do("ret void")
        else:
            assert self.returns is not None
            self.do(f"ret {self.returns.text} {as_value(value, self.returns).name}")
        self._block = ""

    # ---- structure ----------------------------------------------------------------------------------------

    @contextmanager
    def loop(
        self,
        start: Int,
        stop: Int,
        step: Int = 1,
        carried: Sequence[Operand] = (),
        *,
        at_least_once: bool = False,
    ) -> Iterator[Loop]:
        """`for index in range(start, stop, step)` with `step > 0`, carrying values from turn to turn.

            with fn.loop(0, n, carried=[x, total]) as loop:
                x, total = loop.carried
                ...loop.index...
                loop.carry(next_x, next_total)
            x, total = loop.results

        The indices are signed 64-bit. `at_least_once` promises a first turn and saves its test; where start
        and stop are numbers, that is known. A loop of exactly one turn is written without a loop.
        """
        start, stop, step = as_value(start), as_value(stop), as_value(step)
        initial = [as_value(each) for each in carried]
        known = [int(value.number) for value in (start, stop, step) if value.number is not None]
        turns = len(range(*known)) if len(known) == 3 else None
        if turns == 1:
            once = Loop(start, initial)
            yield once
            once.results = once.following(initial)
            return
        before, body, done = self._block, self._label("loop"), self._label("done")
        guarded = not (at_least_once or turns)
        self.do(
            f"br i1 {less(start, stop).name}, label %{body}, label %{done}"
            if guarded
            else f"br label %{body}"
        )
        self._begin(body)
        line = len(self._lines)
        phis = [self.emit(f"phi {value.type.text}", value.type) for value in (start, *initial)]
        inside = Loop(phis[0], phis[1:])
        yield inside
        following = inside.following(initial)
        index = self.emit(f"add nsw i64 {phis[0].name}, {step.name}", i64)
        latch = self._block
        self.do(f"br i1 {less(index, stop).name}, label %{body}, label %{done}")
        self._close(line, [start, *initial], [index, *following], before, latch)
        self._begin(done)
        if guarded:
            following = [
                self._phi([(first, before), (last, latch)])
                for first, last in zip(initial, following, strict=True)
            ]
        inside.results = following

    @contextmanager
    def repeat(self, carried: Sequence[Operand] = ()) -> Iterator[Repeat]:
        """Runs the block, then again for as long as the condition given to `again` holds:

            with fn.repeat(carried=[tries]) as loop:
                (tries,) = loop.carried
                seen = fn.load(flag, i64)
                loop.carry(tries + 1)
                loop.again(equal(seen, 0))
            (tries,) = loop.results

        The block runs at least once.
        """
        initial = [as_value(each) for each in carried]
        before, body, done = self._block, self._label("loop"), self._label("done")
        self.do(f"br label %{body}")
        self._begin(body)
        line = len(self._lines)
        inside = Repeat([self.emit(f"phi {value.type.text}", value.type) for value in initial])
        yield inside
        inside.results = inside.following(initial)
        assert inside.condition is not None, "a repeat says again(condition)"
        self.do(f"br i1 {inside.condition.name}, label %{body}, label %{done}")
        self._close(line, initial, inside.results, before, self._block)
        self._begin(done)

    def _close(
        self, line: int, initial: Sequence[Value], following: Sequence[Value], before: str, latch: str
    ) -> None:
        """Completes the phis of a loop, begun at `line`, now that the values of the next turn are known."""
        for at, (first, last) in enumerate(zip(initial, following, strict=True), line):
            self._lines[at] += f" [ {first.name}, %{before} ], [ {last.name}, %{latch} ]"

    @contextmanager
    def if_(self, condition: Value, default: Sequence[Operand] = ()) -> Iterator[Branch]:
        """Runs the block if the condition (i1) holds; `default` are its results if it doesn't.

            with fn.if_(n > 0, default=[0]) as branch:
                branch.carry(n * 4)
            (size,) = branch.results

        or, with two sides,

            with fn.if_(n > 0) as branch:
                branch.carry(n * 4)
            with branch.otherwise():        # at once, nothing in between
                branch.carry(n)
            (size,) = branch.results
        """
        branch = Branch(self, condition, [as_value(each) for each in default])
        yield branch
        branch.end()

    # ---- memory -------------------------------------------------------------------------------------------

    def load(
        self,
        pointer: Value,
        type: Type,
        offset: Int = 0,
        *,
        align: int = 0,
        mask: Value | None = None,
        other: Operand | None = None,
    ) -> Value:
        """The value of that type at `pointer + offset` bytes.

        align: in bytes, by default that of one element.
        mask: lanes that are false are not read and are `other` (default 0).
        """
        at, align = pointer + offset, align or type.scalar.bytes
        if mask is None or mask.number:
            return self.emit(f"load {type.text}, ptr {at.name}, align {align}", type)
        kept = as_value(0 if other is None else other, type)
        return self.emit(
            f"call {type.text} @llvm.masked.load.{type.suffix}.p0"
            f"(ptr {at.name}, i32 {align}, {mask.type.text} {mask.name}, {type.text} {kept.name})",
            type,
        )

    def store(
        self, value: Value, pointer: Value, offset: Int = 0, *, align: int = 0, mask: Value | None = None
    ) -> None:
        """Writes the value at `pointer + offset` bytes; masked lanes are not touched."""
        at, type, align = pointer + offset, value.type, align or value.type.scalar.bytes
        only = None if mask is None or mask.number else _only_lane(mask)
        if mask is None or mask.number:
            self.do(f"store {type.text} {value.name}, ptr {at.name}, align {align}")
        elif only is not None and value.home is not None:
            # Of a truncated vector LLVM 22 would store the whole of the element, over what lies behind it.
            self.store(extract(value, lane=only), at, only * type.scalar.bytes)
        else:
            self.do(
                f"call void @llvm.masked.store.{type.suffix}.p0"
                f"({type.text} {value.name}, ptr {at.name}, i32 {align}, {mask.type.text} {mask.name})"
            )

    def prefetch(self, pointer: Value, offset: Int = 0, *, write: bool = False, locality: int = 3) -> None:
        """Asks for a cache line; `locality` from 0 (used once) to 3 (keep in every cache). Never faults."""
        at = pointer + offset
        self.do(f"call void @llvm.prefetch.p0(ptr {at.name}, i32 {int(write)}, i32 {locality}, i32 1)")

    def keep_order(self) -> None:
        """Keeps what follows from reading or writing memory before what precedes; makes no instruction.

        Within a block code generation reads as early as it can: where registers are scarce, values that wait in
        them push out those that are needed.
        """
        self.do('call void asm sideeffect "", "~{memory}"()')

    # ---- other threads and functions ---------------------------------------------------------------------

    def atomic_store(self, value: Value, pointer: Value, order: str = "release") -> None:
        """Writes an i32 or i64, aligned to its size, after everything stored before."""
        type = value.type
        self.do(f"store atomic {type.text} {value.name}, ptr {pointer.name} {order}, align {type.bytes}")

    def atomic_add(self, pointer: Value, value: Value, order: str = "acq_rel") -> Value:
        """Adds and gives what was there before."""
        return self.emit(
            f"atomicrmw add ptr {pointer.name}, {value.type.text} {value.name} {order}", value.type
        )

    def call(self, target: Value, *arguments: Value, returns: Type | None = None) -> Value | None:
        """Calls through a pointer (`function.address` is one)."""
        given = ", ".join(f"{value.type.text} {value.name}" for value in arguments)
        if returns is None:
            self.do(f"call void {target.name}({given})")
            return None
        return self.emit(f"call {returns.text} {target.name}({given})", returns)


def _only_lane(mask: Value) -> int | None:
    """The one lane that is true in a mask known when the code is written; None if there is no such lane."""
    lanes = [i for i, lane in enumerate(mask.name.split(",")) if "true" in lane]
    return lanes[0] if mask.home is None and len(lanes) == 1 else None


def prefix_mask(lanes: int, count: Int) -> Value:
    """The mask whose first `count` lanes are true (none if count <= 0, all if count >= lanes).

    A number gives a constant, and a full one makes `load` and `store` plain.

    >>> prefix_mask(4, 3)
    <4 x i1> <i1 true, i1 true, i1 true, i1 false>
    """
    if not isinstance(count, Value):
        return (
            const(i1.x(lanes), 1) if count >= lanes else const(i1.x(lanes), [i < count for i in range(lanes)])
        )
    clamped = trunc(minimum(count, lanes), to=i32)
    return const(i32.x(lanes), range(lanes)) < splat(clamped, lanes=lanes)
