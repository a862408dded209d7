"""Saved networks: a data part read as warily as an ONNX file, and a code part that is run only if trusted."""
