"""The kernel of all phases of a thin product: interleaved parts of C, written side by side."""
