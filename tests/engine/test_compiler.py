"""Compiling: in a child with its own options, side by side, and whatever happens to the child."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import llvmlite.binding as llvm
import pytest

from convmat import errors
from convmat.engine.cpu import Cpu, host
from convmat.engine.runtime import compiler, compiler_pool, elf

posix = pytest.mark.skipif(os.name != "posix", reason="signals and fork are POSIX")

SEVEN = "define i64 @seven() {\n  ret i64 7\n}\n"


def crowded(rows: int = 14, vectors: int = 2, steps: int = 16, lanes: int = 16) -> str:
    """A register tile, unrolled, that leaves two of 32 registers: hoisting any loads spills accumulators."""
    vector = f"<{lanes} x float>"
    tile = [(i, j) for i in range(rows) for j in range(vectors)]
    lines = [
        f"declare {vector} @llvm.fma({vector}, {vector}, {vector})",
        "define void @tile(ptr %a, ptr %b, ptr %c, i64 %n) {",
        "entry:",
        "  br label %loop",
        "loop:",
        "  %t = phi i64 [ 0, %entry ], [ %next, %loop ]",
    ]
    for i, j in tile:
        lines.append(
            f"  %r{i}.{j} = phi {vector} [ zeroinitializer, %entry ], [ %r{steps - 1}.{i}.{j}, %loop ]"
        )
    for k in range(steps):
        lines += [f"  %k{k}.0 = mul i64 %t, {steps}", f"  %k{k} = add i64 %k{k}.0, {k}"]
        for j in range(vectors):
            lines += [
                f"  %x{k}.{j} = mul i64 %k{k}, {lanes * vectors}",
                f"  %y{k}.{j} = add i64 %x{k}.{j}, {lanes * j}",
                f"  %q{k}.{j} = getelementptr float, ptr %b, i64 %y{k}.{j}",
                f"  %b{k}.{j} = load {vector}, ptr %q{k}.{j}, align 4",
            ]
        for i in range(rows):
            lines += [
                f"  %z{k}.{i} = add i64 %k{k}, {i * 576}",
                f"  %p{k}.{i} = getelementptr float, ptr %a, i64 %z{k}.{i}",
                f"  %a{k}.{i} = load float, ptr %p{k}.{i}",
                f"  %v{k}.{i} = insertelement {vector} poison, float %a{k}.{i}, i32 0",
                f"  %w{k}.{i} = shufflevector {vector} %v{k}.{i}, {vector} poison, "
                f"<{lanes} x i32> zeroinitializer",
            ]
            for j in range(vectors):
                before = f"%r{i}.{j}" if k == 0 else f"%r{k - 1}.{i}.{j}"
                operands = f"{vector} %w{k}.{i}, {vector} %b{k}.{j}, {vector} {before}"
                lines.append(f"  %r{k}.{i}.{j} = call {vector} @llvm.fma({operands})")
    lines += [
        "  %next = add i64 %t, 1",
        "  %more = icmp ult i64 %next, %n",
        "  br i1 %more, label %loop, label %out",
    ]
    lines.append("out:")
    for i, j in tile:
        lines += [
            f"  %c{i}.{j} = getelementptr {vector}, ptr %c, i64 {i * vectors + j}",
            f"  store {vector} %r{steps - 1}.{i}.{j}, ptr %c{i}.{j}, align 4",
        ]
    return "\n".join([*lines, "  ret void", "}"])


@pytest.fixture(autouse=True)
def _own_children() -> Iterator[None]:
    """Each test starts and ends without children, and without a verdict on whether there can be any."""
    compiler_pool.close()
    compiler_pool._team.hopeless = False
    yield
    compiler_pool.close()
    compiler_pool._team.hopeless = False


def idle() -> list[compiler_pool.Child]:
    return compiler_pool._team.idle


def test_frames_return_what_was_packed() -> None:
    fields = [b"", b"x" * 100_000, b"\0\xff"]
    assert compiler.unframe(io.BytesIO(compiler.frame(*fields)).read) == fields


@pytest.mark.parametrize(
    "nonsense",
    [
        struct.pack("<4sI", b"nope", 1),
        struct.pack("<4sI", compiler.MAGIC, 17),
        struct.pack("<4sII", compiler.MAGIC, 1, compiler.LIMIT + 1),
    ],
)
def test_nonsense_is_no_frame(nonsense: bytes) -> None:
    with pytest.raises(compiler.Broken):
        compiler.unframe(io.BytesIO(nonsense).read)


def test_objects_come_back_in_order() -> None:
    texts = [f"define i64 @f{i}() {{\n  ret i64 {i}\n}}\n" for i in range(7)]
    found = compiler_pool.compile_many(texts, host())
    assert [list(elf.parse(each).functions) for each in found] == [[f"f{i}"] for i in range(7)]
    assert compiler_pool.compile_many([], host()) == []


def test_texts_are_written_while_others_are_compiled() -> None:
    """One is ready for whoever is done first, and no more; who writes them may fail."""
    before: list[int] = []
    written: list[int] = []

    def texts(count: int) -> Iterator[str]:
        for i in range(count):
            before.append(len(compiler_pool._team.all))
            written.append(i)
            yield f"define i64 @f{i}() {{\n  ret i64 {i}\n}}\n"

    assert len(compiler_pool.compile_many(texts(6), host())) == 6
    assert written == [*range(6)]
    assert before[0] == 0, "no child is started before there is a text"
    assert before[1] == 1

    def failing() -> Iterator[str]:
        yield SEVEN
        raise KeyError("no text")

    with pytest.raises(KeyError, match="no text"):
        compiler_pool.compile_many(failing(), host())
    assert compiler_pool.compile_many([SEVEN], host())


def test_the_child_is_kept() -> None:
    compiler_pool.compile_many([SEVEN], host())
    (child,) = idle()
    compiler_pool.compile_many([SEVEN], host())
    assert idle() == [child]


def test_warm_starts_a_child() -> None:
    compiler_pool.warm()
    (child,) = idle()
    compiler_pool.compile_many([SEVEN], host())
    assert idle() == [child]


def test_our_option_takes_effect_and_only_in_the_child() -> None:
    """With the scheduler accumulators spill to the stack; without it, none does."""
    cpu = Cpu.named("x86-64-v4")
    text, triple = crowded(), cpu.triple or "x86_64-unknown-linux-gnu"

    def spills(assembly: bytes) -> int:
        lines = assembly.decode().splitlines()
        return sum("zmm" in line and "(%rsp)" in line for line in lines)

    before = compiler.generate(text, triple, cpu.name, "", 2, "assembly")
    (ours,) = compiler_pool.compile_many([text], cpu, form="assembly")
    after = compiler.generate(text, triple, cpu.name, "", 2, "assembly")
    assert spills(ours) == 0
    assert spills(before) > 0
    # The same module through the same LLVM in this process: what the child was told has not reached it.
    assert before == after


def test_a_mistake_in_ir_is_a_sentence_with_llvms_message() -> None:
    with pytest.raises(errors.EngineError) as error:
        compiler_pool.compile_many([SEVEN, "define i64 @f() {\n  ret i32 7\n}\n"], host())
    assert str(error.value).startswith(f"compiler: no code for native ({host().model})\n  ")
    assert "value doesn't match function result type 'i64'" in str(error.value)
    assert compiler_pool.compile_many([SEVEN], host())


def test_what_fells_llvm_is_an_error_and_the_next_module_compiles() -> None:
    """A call no target can lower ends the whole process: the child's, not ours."""
    fatal = 'define void @f() {\n  call void asm sideeffect "no such instruction", ""()\n  ret void\n}\n'
    with pytest.raises(errors.EngineError, match="compiler: no code for native"):
        compiler_pool.compile_many([fatal], host())
    assert compiler_pool.compile_many([SEVEN], host())


@posix
def test_a_killed_child_is_replaced() -> None:
    compiler_pool.compile_many([SEVEN], host())
    (first,) = idle()
    first.process.kill()
    first.process.wait()
    assert compiler_pool.compile_many([SEVEN], host())
    assert first not in idle()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux says that a process is stopped")
def test_a_stopped_child_is_not_waited_for() -> None:
    compiler_pool.close()
    compiler_pool.warm()
    (child,) = idle()
    os.kill(child.process.pid, signal.SIGSTOP)
    start = time.monotonic()
    try:
        with pytest.warns(RuntimeWarning) as warned:
            made = [compiler_pool.compile_many([SEVEN], host()) for _ in range(4)]
    finally:
        compiler_pool._team.hopeless = False
    assert len(made) == 4
    assert time.monotonic() - start < 30
    assert [str(each.message) for each in warned] == [
        "convmat compiles in this process, one kernel after the other: its compiling process was stopped"
    ]
    assert child.process.poll() is not None


@posix
def test_a_child_killed_at_work_is_replaced() -> None:
    compiler_pool.compile_many([SEVEN], host())
    (first,) = idle()
    first.process.send_signal(signal.SIGSTOP)
    killer = threading.Timer(0.2, first.process.kill)
    killer.start()
    assert compiler_pool.compile_many([SEVEN], host())
    killer.join()
    assert first not in idle()


def test_without_a_child_this_process_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    (found,) = compiler_pool.compile_many([SEVEN], host())
    assert list(elf.parse(found).functions) == ["seven"]
    assert compiler_pool._team.hopeless
    with pytest.raises(errors.EngineError, match="compiler: no code"):
        compiler_pool.compile_many(["nonsense"], host())


def test_a_frozen_program_starts_no_copy_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert compiler_pool.compile_many([SEVEN], host())
    assert not compiler_pool._team.all


def test_a_child_that_cannot_serve_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that starts but never greets: `false` in its place."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert compiler_pool.compile_many([SEVEN, SEVEN], host())


def test_without_llvmlite_it_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler_pool, "llvmlite_folder", lambda: None)
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    compiler.machine.cache_clear()
    with pytest.raises(errors.EngineError, match="compiler: no code for native"):
        compiler_pool.compile_many([SEVEN], host())


def test_many_threads_share_few_children() -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(4):
                text = f"define i64 @f{number}_{step}() {{\n  ret i64 1\n}}\n"
                (found,) = compiler_pool.compile_many([text], host())
                assert list(elf.parse(found).functions) == [f"f{number}_{step}"]
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert len(compiler_pool._team.all) <= max(1, os.cpu_count() or 1)


@posix
def test_an_interrupted_exchange_does_not_leak_into_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler_pool.compile_many([SEVEN], host())
    (first,) = idle()
    first.process.send_signal(signal.SIGSTOP)
    wait = compiler_pool.first_to_speak

    def interrupt(children: list[compiler_pool.Child]) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return wait(children)

    with monkeypatch.context() as waiting:  # for the answer: the question has been asked
        waiting.setattr(compiler_pool, "first_to_speak", interrupt)
        with pytest.raises(KeyboardInterrupt):
            compiler_pool.compile_many([SEVEN], host())
    assert first.process.poll() is not None
    (found,) = compiler_pool.compile_many(["define i64 @eight() {\n  ret i64 8\n}\n"], host())
    assert list(elf.parse(found).functions) == ["eight"]


@posix
def test_a_forked_process_starts_its_own() -> None:
    compiler_pool.compile_many([SEVEN], host())
    (ours,) = idle()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            (found,) = compiler_pool.compile_many([SEVEN], host())
            (theirs,) = idle()
            os.write(writer, b"%d" % theirs.process.pid if list(elf.parse(found).functions) else b"0")
            compiler_pool.close()
        finally:
            os._exit(0)
    os.close(writer)
    other = int(os.read(reader, 32) or b"0")
    os.close(reader)
    os.waitpid(pid, 0)
    assert other not in (0, ours.process.pid)
    assert compiler_pool.compile_many([SEVEN], host())
    assert idle() == [ours]


@posix
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, None])
def test_children_end_with_their_parent(ending: signal.Signals | None) -> None:
    code = (
        "import sys, time; from convmat.engine import cpu\nfrom convmat.engine.runtime import compiler_pool\n"
        f"compiler_pool.compile_many([{SEVEN!r}], cpu.host())\n"
        "print(compiler_pool._team.idle[0].process.pid, flush=True)\n"
        + ("time.sleep(60)\n" if ending else "")
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    if ending:
        parent.send_signal(ending)
    parent.wait(30)
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and runs(child):
        time.sleep(0.02)
    assert not runs(child)


def runs(pid: int) -> bool:
    """Whether a process is there and not merely waiting for its parent to notice its end."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_child_imports_neither_numpy_nor_convmat() -> None:
    code = (
        "import sys, runpy; sys.argv = ['compiler']\n"
        f"runpy.run_path({compiler.__file__!r}, run_name='__main__')\n"
        "sys.stderr.write(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True
    )
    loaded = ran.stderr.decode().split()
    assert "llvmlite" in loaded
    assert "numpy" not in loaded
    assert "convmat" not in loaded


def test_an_idle_child_leaves() -> None:
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(compiler.__file__)!r}); import compiler\n"
        "compiler.IDLE_SECONDS = 0.1; sys.path.pop(0); compiler.main(None)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    # Its input stays open: it leaves of itself.
    assert child.wait(30) == 0
    child.stdin.close()
    child.stdout.close()


def test_it_serves_as_a_module_too() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    request = compiler.frame(SEVEN.encode(), b"", b"native", b"", b"2", b"object")
    ran = subprocess.run(
        [sys.executable, "-m", "convmat.engine.runtime.compiler"],
        input=request,
        capture_output=True,
        timeout=60,
        env=environment,
        check=True,
    )
    replies = io.BytesIO(ran.stdout)
    version = ".".join(map(str, llvm.llvm_version_info)).encode()
    assert compiler.unframe(replies.read) == [b"ready", version]
    status, data = compiler.unframe(replies.read)
    assert status == b"ok"
    assert list(elf.parse(data).functions) == ["seven"]


def test_aarch64_is_generated_and_assembled() -> None:
    """On any machine: this LLVM has both processors."""
    arm = Cpu.named("neoverse-n1")
    triple = arm.triple or "aarch64-unknown-linux-gnu"
    (text,) = compiler_pool.compile_many([SEVEN], arm, form="assembly")
    assert "mov\tw0, #7" in text.decode()
    image = elf.parse(compiler.generate(SEVEN, triple, arm.name, "", 2))
    assert (image.machine, list(image.functions)) == ("aarch64", ["seven"])
