"""What is left to the standard's reference, beside what the standard's cases hold: formulas of its texts, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import convmat
from convmat.network.ops import OPERATORS
from convmat.network.ops.held import HELD

from .cases import Array
from .held import DRAWN, OPTIONAL, agrees, cases, schemas
from .made import model
from .made import node as made_node


@pytest.mark.slow
def test_onnxruntime_agrees_with_the_standards_cases() -> None:
    """Where it has the operator and its types: the reference is not the only witness."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    witnessed, wrong = set(), []
    for name, version, case in cases():
        try:
            session = onnxruntime.InferenceSession(case.model.SerializeToString(), options)
            found = dict(zip(case.outputs, session.run(None, case.inputs), strict=True))
        except Exception:  # of many kinds: it has not this operator, version or type
            continue
        witnessed.add(name)
        if not agrees(case._replace(rtol=max(case.rtol, 2e-3), atol=max(case.atol, 1e-3)), found):
            wrong.append((case.name, version))
    assert not wrong
    assert len(witnessed) >= 20


def net(name: str, version: int, inputs: list[Array | None], outputs: int = 1, **attributes: Any) -> Any:
    """What a network of one node gives, its inputs constant."""
    words = " ".join("-" if array is None else f"x{i}" for i, array in enumerate(inputs))
    kept = {f"x{i}": array for i, array in enumerate(inputs) if array is not None}
    made = made_node(name, words, " ".join(f"y{i}" for i in range(outputs)), **attributes)
    return convmat.load(
        model([made], {}, " ".join(f"y{i}" for i in range(outputs)), kept, opset=max(version, 6))
    )({})


@pytest.mark.parametrize("version", HELD["DFT"].versions)
@pytest.mark.parametrize("length", [None, 4, 6, 9])
def test_fourier_transforms_of_any_length(version: int, length: int | None) -> None:
    """Shorter ones cut the signal, longer ones add zeros; along either axis, both ways, one-sided or not."""
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 2)).astype(np.float32)
    wide = x[..., 0] + 1j * x[..., 1]
    for axis in (1, 2):
        given: list[Array | None] = [] if length is None else [np.array(length)]
        about = {"axis": axis} if version == 17 else {}
        if version == 20 and axis == 1:  # the default is the last but one, 2
            given = [*(given or [None]), np.array(axis)]
        for inverse in (0, 1):
            wanted = (np.fft.ifft if inverse else np.fft.fft)(wide, length, axis)
            found = net("DFT", version, [x, *given], inverse=inverse, **about)
            np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], wanted, rtol=1e-4, atol=1e-5)
        found = net("DFT", version, [x[..., :1], *given], onesided=1, **about)
        np.testing.assert_allclose(
            found[..., 0] + 1j * found[..., 1], np.fft.rfft(x[..., 0], length, axis), rtol=1e-4, atol=1e-5
        )


WINDOWS = {
    "HannWindow": (0.5, 0.5, 0.0), "HammingWindow": (25 / 46, 21 / 46, 0.0), "BlackmanWindow": (0.42, 0.5, 0.08),
}  # fmt: skip


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_are_sums_of_cosines(name: str) -> None:
    one, two, three = WINDOWS[name]
    for periodic in (0, 1):
        for size in (2, 7, 10):
            turn = 2 * np.pi * np.arange(size) / (size if periodic else size - 1)
            wanted = one - two * np.cos(turn) + three * np.cos(2 * turn)
            for kind, dtype in ((1, np.float32), (11, np.float64)):
                found = net(name, 17, [np.array(size)], periodic=periodic, output_datatype=kind)
                assert found.dtype == dtype
                np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("axis", [1, 2, -2, -1])
@pytest.mark.parametrize("mode", ["linear", "circular"])
def test_caches_are_written_from_their_indices_on(axis: int, mode: str) -> None:
    past, update = np.zeros((2, 3, 4, 5), np.float32), np.ones((2, 3, 4, 5), np.float32)
    update = update.take(range(2), axis)
    for indices in (
        None,
        np.array([1, 0]),
        np.array([1, past.shape[axis] - 1] if mode == "circular" else [0, 1]),
    ):
        wanted = past.copy()
        for b in range(2):
            begin = 0 if indices is None else int(indices[b])
            for i in range(2):
                np.moveaxis(wanted[b], axis if axis < 0 else axis - 1, 0)[(begin + i) % past.shape[axis]] = 1
        found = net("TensorScatter", 24, [past, update, indices], axis=axis, mode=mode)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", sorted(DRAWN - {"Bernoulli"}))
def test_what_is_drawn_has_the_mean_and_deviation_asked_for(name: str) -> None:
    about: dict[str, Any] = {"mean": 3.0, "scale": 2.0} if "Normal" in name else {"low": 1.0, "high": 5.0}
    inputs: list[Array | None] = [np.zeros((100, 200), np.float32)] if "Like" in name else []
    about |= {} if inputs else {"shape": [100, 200]}
    for version in HELD[name].versions:
        for kind, dtype in ((1, np.float32), (10, np.float16), (11, np.float64)):
            found, again = (net(name, version, inputs, dtype=kind, seed=5.0, **about) for _ in range(2))
            assert (found.shape, found.dtype) == ((100, 200), dtype)
            np.testing.assert_array_equal(found, again)
            wide = found.astype(float)
            spread = 2 if "Normal" in name else 4 / 12**0.5
            assert abs(wide.mean() - 3) < 0.1
            assert abs(wide.std() - spread) < 0.1
            assert "Normal" in name or (wide.min() >= 1 and wide.max() <= 5)
        assert (net(name, version, inputs, **about) != net(name, version, inputs, **about)).any()


@pytest.mark.parametrize("version", HELD["Bernoulli"].versions)
def test_draws_of_one_bit(version: int) -> None:
    chance = np.repeat(np.array([0, 0.25, 1], np.float32), 10_000).reshape(3, -1)
    plain = net("Bernoulli", version, [chance], seed=2.0)
    assert plain.dtype == np.float32
    np.testing.assert_allclose(plain.mean(1), [0, 0.25, 1], atol=0.03)
    assert net("Bernoulli", version, [chance], seed=2.0, dtype=6).dtype == np.int32


def test_the_table_names_what_the_standard_has() -> None:
    known = schemas()
    for name, held in HELD.items():
        there = [known[name][version] for version in held.versions if version in known.get(name, {})]
        attributes = {each for schema in there for each in schema.attributes}
        inputs = {each.name for schema in there for each in schema.inputs if each.option == OPTIONAL}
        assert not there or set(held.attributes.split()) <= attributes
        assert not there or set(held.optional.split()) <= inputs
    assert not {*HELD} & {*OPERATORS}


def test_all_that_is_not_held_is_refused_at_once() -> None:
    x = np.zeros((2, 1, 8), np.float32)
    nodes = [
        made_node("MaxRoiPool", "x", "a", pooled_shape=[1, 1]),
        made_node("MaxRoiPool", "x", "b", pooled_shape=[1, 1]),
        made_node("Multinomial", "x", "c"),
        made_node("StringNormalizer", "x", "d", locale="de"),
        made_node("Relu", "x", "y"),
    ]
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(model(nodes, {"x": x.shape}, "y", opset=17))
    assert str(error.value) == (
        "load: the model: some of its operators are not computed here\n"
        "  MaxRoiPool-1 (2 nodes): nothing here computes it; export the model without it\n"
        "  Multinomial-7 (1 node): nothing here computes it; export the model without it\n"
        "  StringNormalizer-10 (1 node): its attribute 'locale' is not computed; omit it"
    )


def test_operators_within_bodies_are_refused_too() -> None:
    body = helper.make_graph(
        [made_node("MaxRoiPool", "x", "r")], "b", [], [helper.make_empty_tensor_value_info("r")]
    )
    made = made_node("If", "go", "y", then_branch=body, else_branch=body)
    with pytest.raises(convmat.NetworkError, match=r"MaxRoiPool-1 \(2 nodes\): nothing here computes it"):
        convmat.load(model([made], {"x": (1,)}, "y", {"go": np.array(True)}))
