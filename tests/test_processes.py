"""Copies, pickles, forks and signals: nothing of one process is taken for another's, and nobody waits for ever."""

from __future__ import annotations

import ast
import copy
import gc
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat.errors import EngineError, PlanError
from convmat.planner.maxima import maxima
from convmat.planner.prepared import Bound, _weights_name
from tests.network.made import model, node, normal

Array = npt.NDArray[Any]
PACKAGE = Path(convmat.__file__).parent
fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

WAYS: dict[str, dict[str, Any]] = {
    "a plane": {"lowering": "im2col"},
    "winograd": {"lowering": "winograd 2"},
    "fft": {"lowering": "fft"},
    "blas": {"engine": "blas"},
    "padding apart": {"padding_mode": "reflect"},
    "weights as they are": {"reuse_weights": False},
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda it: pickle.loads(pickle.dumps(it)),
}


def bound(**ways: Any) -> tuple[Bound, Array, Array]:
    """A layer of its own, its input, and what it gives."""
    x, w, bias = normal(1, 8, 12, 13), normal(8, 8, 3, 3, seed=1), normal(8, seed=2)
    made = convmat.plan(x.shape, w.shape, padding=1, bias=True, **ways).bind(w, bias)
    return made, x, made(x).copy()


def in_a_process(text: str, *options: str, timeout: float = 120, **more: Any) -> str:
    """What a program prints; that it ends well, and says nothing else, is part of each test."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-X", "faulthandler", *options, "-c", textwrap.dedent(text)],
        capture_output=True, text=True, timeout=timeout, env=environment, check=False, **more,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    return str(ran.stdout)


# -- copies and pickles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_bound_layer_outlives_it(how: str, way: str) -> None:
    made, x, right = bound(**WAYS[way])
    other = COPIES[how](made)
    del made
    gc.collect()
    spoiled = [np.full(9000, np.nan, np.float32) for _ in range(50)]  # over what would have been freed
    out = np.empty_like(right)
    assert other(x, out=out) is out
    assert np.array_equal(out, right)
    assert len(spoiled) == 50


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_plan_runs(how: str) -> None:
    plan = convmat.plan((1, 8, 12, 13), (8, 8, 3, 3), padding=1)
    x, w = normal(1, 8, 12, 13), normal(8, 8, 3, 3, seed=1)
    assert np.array_equal(COPIES[how](plan)(x, w), plan(x, w))


def test_a_plan_that_fell_back_is_pickled_as_it_runs() -> None:
    plan = convmat.plan((1, 8, 12, 13), (8, 8, 3, 3), lowering="im2col", engine="jit")
    with pytest.warns(RuntimeWarning):
        plan._fall_back(EngineError("as told by a test"))
    assert pickle.loads(pickle.dumps(plan)).chosen == plan.chosen


def test_pickles_are_read_by_other_processes(tmp_path: Path) -> None:
    made, x, right = bound()
    name = _weights_name(made.plan.program)[0]
    kept = {"plan": made.plan, "bound": made, "x": x, "y": right, "threads": convmat.threads()}
    (tmp_path / "kept").write_bytes(pickle.dumps(kept))
    text = f"""
        import pickle
        import convmat
        before = convmat.threads(1)
        kept = pickle.load(open({str(tmp_path / "kept")!r}, "rb"))
        print((kept["bound"](kept["x"]) == kept["y"]).all(), convmat.threads())
        try:
            pickle.loads(pickle.dumps(kept["bound"]).replace({name!r}.encode(), b"0" * 64))
        except convmat.PlanError as error:
            print(error)
    """
    assert in_a_process(text).splitlines() == [
        "True 1",
        "plan: the pickle's weights are packed for another CPU, or by another version of convmat",
        f"  {made.plan.problem.geometry}, float32: {made.plan.chosen.name}",
        "  pickle w beside the plan, and bind it where it is read: plan.bind(w)",
    ]


def test_arrays_from_a_pickle_take_the_short_way() -> None:
    """Their element type is equal to NumPy's own, and not it: what compares identities would look at them each time."""
    x, w, bias = normal(2, 64), normal(64, 32, seed=1), normal(32, seed=2)
    given = pickle.loads(pickle.dumps(x))
    assert given.dtype is not x.dtype
    net = convmat.load(model([node("Gemm", "x w b", "y")], {"x": x.shape}, "y", {"w": w, "b": bias}))
    for each in (given, pickle.loads(pickle.dumps(x))):
        assert np.array_equal(net(each), net(x))
        assert net._latest is not None
        assert net._latest.match(each) is not None
    made, x, right = bound()
    given, out = pickle.loads(pickle.dumps((x, np.empty_like(right))))
    assert made.jobs(given, None, out, 0) is not None
    assert made.plan._is_plain(given, out, None)
    assert np.array_equal(made(given, out=out), right)


def test_weights_weights_name_something_else_are_refused_and_can_be_bound_again() -> None:
    made, x, right = bound(lowering="im2col", engine="jit")
    call, (plan, name, *rest) = made.__reduce__()
    with pytest.raises(PlanError):
        call(plan, ("another",), *rest)
    assert name == _weights_name(plan.program)
    again = pickle.loads(pickle.dumps(plan)).bind(normal(8, 8, 3, 3, seed=1), normal(8, seed=2))
    assert np.array_equal(again(x), right)


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_number_of_threads_is_the_number(how: str) -> None:
    with convmat.threads(3) as three:
        convmat.threads(1)
        assert COPIES[how](three) == 3
        assert convmat.threads() == 1


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_a_network_runs(how: str) -> None:
    nodes = [
        node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "b"),
        node("MaxPool", "b", "y", kernel_shape=[2, 2]),
    ]
    net = convmat.load(model(nodes, {"x": ("n", 8, "h", "w")}, "y", {"w": normal(8, 8, 3, 3)}), exact=True)
    x = normal(1, 8, 12, 13)
    right = net(x)
    other = COPIES[how](net)
    del net
    gc.collect()
    assert np.array_equal(other(x), right)
    assert np.array_equal(other(x, outputs=["a"])["a"].max(), right.max())
    assert other.options.exact


def test_what_holds_addresses_is_its_own_copy_and_no_pickle() -> None:
    net = convmat.load(model([node("MaxPool", "x", "y", kernel_shape=[2, 2])], {"x": (1, 2, 64, 65)}, "y"))
    program = net.program({"x": net_spec((1, 2, 64, 65))})
    geometry = convmat.Geometry.of((1, 2, 4), (2, 1, 2), stride=2, groups=2)
    made, _, _ = bound(lowering="im2col", engine="jit")
    held = [
        program,
        maxima(geometry, "float32", 1),
        made._launcher,
        made.plan.program,
        *program.state().work,
    ]
    for each in held:
        if type(each).__name__ == "Task":
            continue
        assert copy.copy(each) is each
        assert copy.deepcopy(each) is each
        with pytest.raises(EngineError) as refused:
            pickle.dumps(each)
        assert str(refused.value) == (
            f"pickle: {type(each).__name__} holds addresses of this process, which mean nothing in another\n"
            "  pickle the Plan, the bound layer or the Network that it is of"
        )


def net_spec(shape: tuple[int, ...]) -> Any:
    from convmat.network.graph import Spec

    return Spec(shape, np.dtype(np.float32))


def test_they_say_what_they_are() -> None:
    made, _, _ = bound(lowering="im2col", engine="jit")
    assert (
        repr(made)
        == f"<Bound {made.plan.problem.geometry}, float32: im2col, a panel at a time, weights packed>"
    )
    net = convmat.load(model([node("Relu", "x", "y")], {"x": ("n", 3)}, "y"))
    assert repr(net) == "<Network x: float32 nx3 -> y: 1 node>"


# -- forks -------------------------------------------------------------------------------------------------------------


HOLDING = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier", "Queue"} | {
    "cached_property"
}
HOMES = {"threading", "functools", "queue", "multiprocessing"}
ELSEWHERE = {
    ("processes.py", "RLock"),  # the helper itself
    ("processes.py", "Condition"),
    ("engine/runtime/thread_pool.py", "Semaphore"),  # of a pool, which a child leaves behind whole
    ("chunks/files/stream.py", "Semaphore"),  # of a pipeline: one call's, and its threads are the parent's
    ("chunks/files/stream.py", "Event"),
    ("train/fit.py", "Event"),  # of one call of `fit`, set by a signal's handler
}


def locks(path: Path) -> Iterator[str]:
    """What a file takes of the standard library that may be held while another thread forks."""
    text = path.read_text()
    for found in ast.walk(ast.parse(text)) if any(name in text for name in HOLDING) else ():
        if isinstance(found, ast.Attribute) and isinstance(found.value, ast.Name) and found.value.id in HOMES:
            names = [found.attr]
        elif isinstance(found, ast.ImportFrom) and found.module in HOMES:
            names = [each.name for each in found.names]
        else:
            continue
        yield from (name for name in names if name in HOLDING)


def test_every_lock_is_open_in_a_child() -> None:
    """Made by `convmat.processes`, that is; benchmarks run in processes of their own, and fork nothing."""
    files = [path for path in PACKAGE.rglob("*.py") if "bench" not in path.parts]
    found = {(path.relative_to(PACKAGE).as_posix(), name) for path in files for name in locks(path)}
    assert found == ELSEWHERE


def test_a_new_lock_is_found(tmp_path: Path) -> None:
    path = tmp_path / "new.py"
    path.write_text("import threading\nfrom functools import cached_property\nlock = threading.Lock()\n")
    assert sorted(locks(path)) == ["Lock", "cached_property"]


STRESS = """
    import itertools, os, threading, time, warnings
    import numpy as np, convmat
    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads: that is what is tried
    from tests.test_processes import small_network
    net = small_network()
    sizes = itertools.count(8)
    w = np.ones((4, 4, 3, 3), np.float32)
    def work():
        while True:
            n = next(sizes)
            net(np.ones((1, 4, 12, 12), np.float32))
            convmat.conv(np.ones((1, 4, n % 40 + 8, n // 40 + 8), np.float32), w, padding=n % 3)
    for _ in range(2):
        threading.Thread(target=work, daemon=True).start()
    net(np.ones((1, 4, 12, 12), np.float32))
    for turn in range(TURNS):
        time.sleep(0.002 * (turn % 7))
        child = os.fork()
        if not child:
            status = 1
            try:
                y = net(np.ones((1, 4, 12, 12), np.float32))
                z = convmat.conv(np.ones((1, 4, 9, 300 + turn), np.float32), w)
                status = 0 if y[0, 0, 5, 5] == 36 and (z == 36).all() else 2
            finally:
                os._exit(status)
        deadline = time.monotonic() + 60
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.005)
        if not ended[0]:
            os.kill(child, 9)
        print("hangs" if not ended[0] else os.waitstatus_to_exitcode(ended[1]))
    os._exit(0)
"""


def small_network() -> convmat.Network:
    nodes = [node("Conv", "x w", "a", pads=[1, 1, 1, 1]), node("Relu", "a", "y")]
    return convmat.load(
        model(nodes, {"x": ("n", 4, "h", "w")}, "y", {"w": np.ones((4, 4, 3, 3), np.float32)})
    )


@fork
@pytest.mark.parametrize("turns", [10, pytest.param(400, marks=pytest.mark.slow)])
def test_children_forked_amid_other_threads_work(turns: int) -> None:
    said = in_a_process(STRESS.replace("TURNS", str(turns)), timeout=turns * 5 + 60)
    assert said.split() == ["0"] * turns


@fork
def test_locks_are_open_in_a_child_but_those_of_who_forked() -> None:
    said = in_a_process("""
        import os, threading, warnings
        from convmat.processes import Condition, Lock
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs, ours, changed, held, done = Lock(), Lock(), Condition(), threading.Event(), threading.Event()
        def work():
            with theirs, changed:
                held.set()
                done.wait()
        threading.Thread(target=work).start()
        held.wait()
        with ours:
            child = os.fork()
            if not child:
                with theirs, ours, changed:
                    changed.notify_all()
                    changed.wait(0.001)
        if not child:
            with ours:
                os._exit(7)
        done.set()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert said == "7\n"


# -- signals -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(__import__("signal"), "setitimer"), reason="timers are POSIX")
def test_a_handler_may_call_what_its_thread_is_inside() -> None:
    said = in_a_process("""
        import signal, time
        import numpy as np, convmat
        from tests.test_processes import small_network
        net, x, w = small_network(), np.ones((1, 4, 12, 12), np.float32), np.ones((4, 4, 3, 3), np.float32)
        met, inside = [0, 0], [False]
        def handler(*_):
            if inside[0]:
                return
            inside[0] = True
            met[0] += 1
            met[1] += net(x)[0, 0, 5, 5] == 36 and (convmat.conv(x[..., : 3 + met[0] % 9], w) == 36).all()
            inside[0] = False
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
        deadline, calls, right = time.monotonic() + 60, 0, 0
        while met[0] < 100 and time.monotonic() < deadline:
            calls += 1
            right += net(np.ones((1 + calls % 9, 4, 12, 12), np.float32))[0, 0, 5, 5] == 36
            convmat.conv(np.ones((1, 4, 9, 9 + calls % 50), np.float32), w)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(calls == right, met[0] == met[1], met[0] >= 100)
    """)
    assert said == "True True True\n"


# -- without asserts, and without what is not needed -------------------------------------------------------------------


PURE = {
    "all", "any", "callable", "get", "isinstance", "issubclass", "len", "map", "max", "min", "refuses", "set", "tuple",
    "type", "groups", "of",
}  # fmt: skip


def test_no_assert_has_an_effect() -> None:
    """`python -O` omits them: what they call only looks."""
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        for found in ast.walk(ast.parse(text)) if "assert " in text else ():
            if isinstance(found, ast.Assert):
                for each in ast.walk(found.test):
                    if isinstance(each, ast.NamedExpr | ast.Await | ast.Yield):
                        wrong.append(f"{path.name}:{found.lineno}")
                    if isinstance(each, ast.Call):
                        name = getattr(each.func, "attr", getattr(each.func, "id", ""))
                        wrong += [f"{path.name}:{found.lineno} {name}"] * (name not in PURE)
    assert wrong == []


OTHERS = ("llvmlite", "platformdirs", "threadpoolctl", "onnx")
WITHOUT = """
    import os, sys, warnings
    os.environ["HOME"] = {home!r}
    for name in {names!r}:
        sys.modules[name] = None
    warnings.simplefilter("ignore", RuntimeWarning)
    import numpy as np, convmat
    x, w = np.ones((1, 4, 12, 12), np.float32), np.ones((4, 4, 3, 3), np.float32)
    print(convmat.conv(x, w, padding=1)[0, 0, 5, 5], convmat.plan(x.shape, w.shape).bind(w)(x)[0, 0, 5, 5])
    net = convmat.load({path!r})
    print(net(x)[0, 0, 5, 5], net(x[..., :7])[0, 0, 5, 5], [n for n in {names!r} if sys.modules.get(n)])
"""


@pytest.mark.parametrize("options", [(), ("-O",)], ids=["plain", "-O"])
@pytest.mark.parametrize(
    "names", [(), ("llvmlite", "platformdirs", "threadpoolctl", "onnx")], ids=["all", "numpy alone"]
)
def test_numpy_alone_is_enough_and_asserts_are_not_needed(
    names: tuple[str, ...], options: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "net.convmat"
    small_network().save(path, {"n": 1, "h": 12, "w": 12})
    text = WITHOUT.format(names=names, path=str(path), home=str(tmp_path))
    found = in_a_process(text, *options).split()
    assert [round(float(each), 3) for each in found[:4]] == [36] * 4
    assert found[4:] == ["[]"]


def test_all_names_are_listed() -> None:
    assert set(convmat.__all__) <= set(dir(convmat))


def test_idle_arenas_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen calls at once had sixteen arenas; what stays of them is so many bytes, or one."""
    import convmat.network.preparing.sharing as of

    nodes = [node("Relu", "x", "a"), node("Mul", "a a", "b"), node("Relu", "b", "y")]
    net = convmat.load(model(nodes, {"x": (1, 4, 32, 32)}, "y"), rewrite=False)
    made = net.program({"x": net_spec((1, 4, 32, 32))})
    assert made.memory.size > 0
    for bound, kept in ((3 * made.memory.size, 3), (0, 1)):
        monkeypatch.setattr(of, "IDLE_BYTES", bound)
        made.idle.forget(list(made.idle.arenas._free))
        made.idle.arenas._free.clear()
        for state in [made.state() for _ in range(16)]:
            made._give_back(state)
        assert len(made.idle._states) == kept == len(made.idle.arenas._free)


def test_modules_are_imported_without_collecting() -> None:
    """What young objects there are count as old afterwards; what is off stays off, what is frozen frozen.

    Where the module is there, all stays as it was.
    """
    script = """
        import gc
        from convmat.processes import importing

        with importing("not_there"):
            assert not gc.isenabled()
            kept = [[] for _ in range(500)]
        assert gc.isenabled() and any(kept is each for each in gc.get_objects(generation=2))
        gc.disable()
        try:
            with importing("not_there"):
                raise ImportError
        except ImportError:
            assert not gc.isenabled()
        gc.enable()
        gc.freeze()
        with importing("not_there"):
            pass
        assert gc.get_freeze_count()
        gc.unfreeze()
        gc.collect()
        with importing("gc"):
            assert gc.isenabled()
            young = [[] for _ in range(10)]
        assert not any(young is each for each in gc.get_objects(generation=2))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)
