"""Side by side with other libraries: the same layers, on the same machine, in the same minute.

    python -m benchmarks --help

Outside the package: it imports what is public, and of the rest what the import test names.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
"""The checkout, whose `src` is measured."""
