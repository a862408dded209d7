"""The onnx package, which reads what is unusual."""

from __future__ import annotations

from typing import Any

from ...errors import NetworkError
from ...processes import importing


def parse_model(onnx: Any, data: bytes) -> Any:
    """The model in these bytes, as the package has it; None where they are none."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # protobuf's own error differs between its implementations
        return None
    return model


def require_onnx() -> Any:
    """onnx. Raises NetworkError where it is not installed."""
    try:
        with importing("onnx"):
            import onnx
    except ImportError:
        raise NetworkError(
            "load: reading this ONNX file needs the onnx package\n  it is not installed\n  pip install 'convmat[onnx]'"
        ) from None
    return onnx


def require_graph(model: Any, name: str, size: int) -> Any:
    """The model, if there is one with a graph in it."""
    if model is None or not model.HasField("graph") or not model.opset_import:
        raise NetworkError(
            f"load: {name} is not an ONNX model\n  {size:,} bytes, no graph in them\n"
            f"  give a .onnx file, as torch.onnx.export and others write it"
        )
    return model


__all__ = ["parse_model", "require_graph", "require_onnx"]
