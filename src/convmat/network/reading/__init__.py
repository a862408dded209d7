"""ONNX files read and believed in nothing: bytes in, a Graph out, or a NetworkError that says why not."""
