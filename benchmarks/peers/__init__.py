"""Who is measured: one file a library. A new one is imported here, and nothing else is edited."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers import (
    convmat_peer,
    litert_peer,
    mnn_peer,
    ncnn_peer,
    numpy_peer,
    onnxruntime_peer,
    opencv_peer,
    openvino_peer,
    scipy_peer,
    torch_peer,
)
from benchmarks.peers.base import Peer, Prepared, RefusedError
from convmat.errors import PlanError

ALL: tuple[Peer, ...] = (
    *convmat_peer.PEERS,
    *torch_peer.PEERS,
    *onnxruntime_peer.PEERS,
    *openvino_peer.PEERS,
    *litert_peer.PEERS,
    *ncnn_peer.PEERS,
    *mnn_peer.PEERS,
    *numpy_peer.PEERS,
    *opencv_peer.PEERS,
    *scipy_peer.PEERS,
)

IMAGES = (
    "convmat fewest",
    "torch eager",
    "opencv filter2D",
    "scipy oaconvolve",
    "scipy fftconvolve",
)
"""Those who filter images."""


def peer(name: str) -> Peer:
    """The peer of that name; KeyError if there is none.

    >>> peer("litert").library
    'litert'
    """
    found = next((each for each in ALL if each.name == name), None)
    if found is None:
        raise KeyError(name)
    return found


def chosen(wanted: Sequence[str], engine: str | None = None, *, networks: bool = False) -> tuple[str, ...]:
    """Names of the peers that are meant: by name, or all default ones of a library; all default ones if none is given.

    `networks`: of those that run networks, instead of those that run layers. With an `engine`, convmat's peers are
    those that run on it, and without further wishes NumPy stands beside them. Raises PlanError, with the peers there
    are.

    >>> chosen(["torch", "litert"])
    ('torch eager', 'torch channels_last', 'torch prepacked', 'litert')
    >>> chosen([], engine="blas")
    ('convmat blas', 'convmat blas per call', 'numpy im2col')
    >>> chosen(["convmat", "torch"], networks=True)
    ('convmat', 'torch channels_last')
    """
    able = [each for each in ALL if each.runs(networks)]
    ours = [each.name for each in able if engine and each.name.startswith(f"convmat {engine}")]
    if engine and not ours:
        raise PlanError(
            f"bench: no peer runs convmat on the engine {engine!r}\n  engine = {engine!r}\n  e.g. 'blas'"
        )
    if not wanted:
        wanted = ["numpy"] if engine else sorted({each.library for each in able})
    names = {each.name for each in able} | {each.library for each in able}
    for text in wanted:
        if text in names:
            continue
        listed = "\n".join(f"  {each.name}: {each.about}" for each in able)
        elsewhere = [each for each in ALL if text in (each.name, each.library)]
        if elsewhere:
            refusal = "runs no networks" if networks else "runs no single layers"
            where = ", ".join(f"`{name}`" for name in elsewhere[0].where)
            raise PlanError(f"bench: {text!r} {refusal}\n{listed}\n  it takes part in {where}")
        raise PlanError(
            f"bench: there is no peer {text!r}\n{listed}\n  give a name, or a library for all of its own"
        )
    return tuple(
        each.name
        for each in able
        if each.name in ours
        or (each.name in wanted and each.name != each.library)
        or (each.default and each.library in wanted and not (engine and each.library == "convmat"))
    )


__all__ = ["ALL", "IMAGES", "Peer", "Prepared", "RefusedError", "chosen", "peer"]
