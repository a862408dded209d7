"""The panel kernel: panels of B are packed and multiplied with packed A, five loops around a micro-kernel."""
