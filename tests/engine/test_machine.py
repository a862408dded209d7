"""What was measured: plausible, kept, re-measurable, and not believed when the file is damaged."""

from __future__ import annotations

import ctypes
import functools
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from convmat.engine.cpu import Cpu, host
from convmat.engine.measure import calm, machine, microbench, store
from convmat.engine.measure.machine import Machine
from convmat.engine.runtime import compiler, elf, jit_cache, thread_pool


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "deep" / "machine.json"
    machine.use_rates_file(path)
    yield path
    machine.use_rates_file(None)


def never() -> float:
    raise AssertionError("this was known")


def test_machine_measures_once(file: Path) -> None:
    found = machine.machine(1)
    assert isinstance(found, Machine)
    assert 1e6 < found.blas_flops < 1e18
    assert 1e6 < found.copy_bandwidth < 1e18
    assert machine.machine(1) is found
    stored = json.loads(file.read_text())
    assert sorted(name.rpartition(np.__version__)[2] for name in stored) == [
        "/blas_flops/1",
        "/copy_bandwidth",
    ]
    machine.use_rates_file(file)
    assert machine.machine(1) == found


def test_machine_needs_no_llvm() -> None:
    code = (
        "import sys; from pathlib import Path; from convmat.engine.measure import machine\n"
        "print('convmat.engine.runtime.jit_cache' in sys.modules)\n"
        "machine.use_rates_file(Path('/no/such/folder/file'))\n"
        "print(machine.machine(1).blas_flops > 0, 'llvmlite' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    assert ran.stdout.split() == ["False", "True", "False"]


def test_peaks_are_ordered(file: Path) -> None:
    """Nothing about how fast: only that no level of memory outruns the one before it tenfold."""
    found = machine.peaks(1)
    assert not any("read" in name for name in json.loads(file.read_text())), "nobody asked for it yet"
    rates = [found.l1_bandwidth, found.l2_bandwidth, found.l3_bandwidth, found.memory_bandwidth]
    assert all(1e6 < rate < 1e18 for rate in (found.fma_flops, *rates))
    assert all(slower < 10 * faster for faster, slower in pairwise(rates))
    machine.use_rates_file(file)
    assert machine.peaks(1).figures() == found.figures()


def test_remeasuring_forgets(file: Path) -> None:
    assert store.get("a", lambda: 2e9) == 2e9
    assert store.get("a", never) == 2e9
    assert file.exists()
    machine.remeasure()
    assert not file.exists()
    assert store.get("a", lambda: 3e9) == 3e9


def test_what_others_disturbed_is_kept_for_a_while(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure from a busy machine is no less than that of one thread, and gives way to a better one."""
    figures = {1: 5e9, 2: calm.Disturbed(2e9), 3: calm.Disturbed(7e9), 4: 1e9}
    found = [machine._rate("a", n, figures.__getitem__) for n in (2, 3, 4)]
    assert found == [5e9, 7e9, 1e9]
    machine.use_rates_file(file)
    assert [machine._rate("a", n, lambda n: never()) for n in (2, 3, 4)] == found, (
        "another process measures nothing"
    )
    now = time.time()
    steps = (700, calm.Disturbed(1e9), 2e9), (1400, calm.Disturbed(3e9), 3e9), (2100, 1e9, 1e9)
    for later, measured, kept in steps:
        monkeypatch.setattr(time, "time", (now + later).__float__)
        machine.use_rates_file(file)
        assert store.get("a/2", functools.partial(type(measured), measured)) == kept
    monkeypatch.setattr(time, "time", lambda: now + 1e6)
    machine.use_rates_file(file)
    assert store.get("a/2", never) == 1e9


def test_samples_that_were_disturbed_are_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6])
    seconds = iter([1.0, 3.0, 2.0, 4.0, 5.0, 6.0, 0.5])
    monkeypatch.setattr(calm, "seconds_waited", lambda: 0.0)
    monkeypatch.setattr(calm, "count_switches", counts.__next__)
    assert calm.rate_of(6.0, seconds.__next__) == 12.0
    monkeypatch.setattr(calm, "count_switches", itertools.count().__next__)
    assert isinstance(calm.rate_of(6.0, lambda: 2.0), calm.Disturbed)


def test_samples_that_waited_are_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that one CPU runs in turns lose it to nobody."""
    monkeypatch.setattr(calm, "count_switches", lambda: 0)
    waited = iter([0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0, 5.0, 5.001])
    monkeypatch.setattr(calm, "seconds_waited", waited.__next__)
    seconds = iter([2.0, 2.0, 2.0, 2.0, 2.0, 0.5])
    assert calm.rate_of(6.0, seconds.__next__) == 12.0
    monkeypatch.setattr(calm, "seconds_waited", itertools.count().__next__)
    assert isinstance(calm.rate_of(6.0, lambda: 2.0), calm.Disturbed)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the system counts no waiting")
def test_waiting_for_a_cpu_that_another_process_has_is_counted() -> None:
    allowed = os.sched_getaffinity(0)
    one = min(allowed)
    spin = f"import os, sys; os.sched_setaffinity(0, [{one}]); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        os.sched_setaffinity(0, {one})
        try:
            before, end = calm.seconds_waited(), time.thread_time() + 0.1
            while time.thread_time() < end:
                pass
            assert calm.seconds_waited() - before > 0.01
        finally:
            os.sched_setaffinity(0, allowed)
            other.kill()


def test_figures_of_other_processes_stay(file: Path) -> None:
    store.get("a", lambda: 2e9)
    theirs = {"another cpu/b": 5e9} | json.loads(file.read_text())
    file.write_text(json.dumps(theirs))
    store.get("c", lambda: 4e9)
    assert sorted(json.loads(file.read_text()).values()) == [2e9, 4e9, 5e9]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"KEY": "fast"}',
        b'{"KEY": NaN}',
        b'{"KEY": Infinity}',
        b'{"KEY": -1e9}',
        b'{"KEY": 1e30}',
        b'{"KEY": [1e9]}',
        b'{"KEY": [1e9, "now"]}',
        b'{"KEY": [1e30, 1e9]}',
        b'{"KEY": true}',
    ],
)
def test_what_is_no_figure_is_measured_again(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    key = f"{host().key}/numpy-{np.__version__}/a"
    file.write_bytes(content.replace(b"KEY", key.encode()))
    assert store.get("a", lambda: 2e9) == 2e9
    assert json.loads(file.read_text())[key] == 2e9


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="file modes are POSIX")
def test_a_file_others_may_write_is_not_read(file: Path) -> None:
    store.get("a", lambda: 2e9)
    file.chmod(0o666)
    machine.use_rates_file(file)
    assert store.get("a", lambda: 3e9) == 3e9


def test_no_place_to_keep_figures_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    machine.use_rates_file(tmp_path / "file" / "machine.json")
    try:
        assert store.get("a", lambda: 2e9) == 2e9
        assert store.get("a", never) == 2e9
    finally:
        machine.use_rates_file(None)


@pytest.mark.parametrize("name", ["x86-64", "x86-64-v3", "x86-64-v4", "neoverse-n1"])
def test_the_kernels_are_made_for_every_cpu(name: str) -> None:
    """In registers alone: a spilled accumulator would measure memory."""
    cpu = Cpu.named(name)
    triple = f"{cpu.arch}-unknown-linux-gnu"
    image = elf.parse(compiler.generate(microbench.microbench_ir(cpu), triple, cpu.name, "", 2))
    assert set(image.functions) == {"fma", "read", "dot", "swap"}
    text = compiler.generate(microbench.microbench_ir(cpu), triple, cpu.name, "", 2, "assembly").decode()
    assert "Spill" not in text
    if cpu.fma:
        found = sum(
            line.split()[0].startswith(("vfmadd", "fmla", "fmad"))
            for line in text.splitlines()
            if line.split()
        )
        assert found >= microbench.accumulators(cpu)


def test_threads_change_the_chunks_of_others() -> None:
    (code,) = jit_cache.load([microbench.microbench_ir(host())], host())
    data = np.zeros((3, 32), np.float32)
    for turn in range(3):
        block = (ctypes.c_int64 * 5)(data.ctypes.data, data[0].nbytes, 2, 3, turn)
        code.function("swap", None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
            ctypes.addressof(block), 1, 0
        )
        expected = np.zeros((3, 1)) + 2 * np.isin(
            [[0], [1], [2]], [(1 + each) % 3 for each in range(turn + 1)]
        )
        np.testing.assert_array_equal(data, np.broadcast_to(expected, data.shape))


def test_handing_over_takes_what_shared_jobs_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes a second as they are kept: two threads move twice as many in a job."""
    bytes_a_second = {"swap/1": microbench.SWAPPED / 1e-6, "swap/2": 2 * microbench.SWAPPED / 3e-6}
    monkeypatch.setattr(store, "get", lambda name, measure: bytes_a_second[name])
    assert machine.handover_seconds(2) == pytest.approx(2e-6)
    assert machine.handover_seconds(1) == 0.0


def test_the_kernels_do_what_they_say() -> None:
    """Their results, against the same in Python: a measurement of something else would be worth nothing."""
    cpu = host()
    (code,) = jit_cache.load([microbench.microbench_ir(cpu)], cpu)
    sink = np.zeros(32, np.float64)
    block = (ctypes.c_int64 * 4)(3, 0, sink.ctypes.data, 0)
    thread_pool.run(code.symbols["fma"], ctypes.addressof(block), 1, 1)
    expected = 0.0
    for start in range(microbench.accumulators(cpu)):
        value = float(start)
        for _ in range(3):
            value = value * 0.5 + 0.5
        expected += value
    assert sink.view(np.float32)[: cpu.lanes(4)].tolist() == [expected] * cpu.lanes(4)

    rng = np.random.default_rng(1)
    data = rng.integers(0, 1 << 62, 2 * 512 + 8, dtype=np.int64)
    data = data[-(data.ctypes.data // 8) % 8 :][:1024]
    block = (ctypes.c_int64 * 4)(1, data.ctypes.data, sink.ctypes.data, 4096)
    lanes = cpu.lanes(8)
    for tasks in (1, 2):
        thread_pool.run(code.symbols["read"], ctypes.addressof(block), tasks, 1)
        part = data[(tasks - 1) * 512 : tasks * 512].reshape(-1, lanes)
        assert sink.view(np.int64)[:lanes].tolist() == functools.reduce(np.bitwise_xor, part).tolist()
