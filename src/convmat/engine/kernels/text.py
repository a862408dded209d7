"""The text of a kernel: which of the writers turns a recipe into a module of LLVM IR.

A writer is loaded when it first writes: where all kernels are found, none is.
"""

from __future__ import annotations

from ..cpu import Cpu
from ..ir.emitter import PREFER_512
from .direct.channels import ChannelsRecipe
from .direct.pixels import PixelsRecipe
from .dots.recipe import DotsRecipe
from .panel.recipe import PanelRecipe
from .phases.recipe import PhasesRecipe
from .pieces.recipe import PiecesRecipe
from .quads.pack_x import PackRecipe, pack_module
from .quads.recipe import QuadsRecipe
from .sweeps.base import SweepRecipe
from .winograd.writer import WinogradRecipe

Recipe = (
    PanelRecipe
    | PixelsRecipe
    | ChannelsRecipe
    | DotsRecipe
    | PhasesRecipe
    | WinogradRecipe
    | PiecesRecipe
    | QuadsRecipe
    | PackRecipe
    | SweepRecipe
)
"""What is constant in a kernel: a frozen value whose `repr` says all that its text is made from."""


def kernel_text(recipe: Recipe, cpu: Cpu) -> str:
    """The IR of a recipe for a CPU: a function `task(args, index, thread)`, and `weights` where A is packed."""
    attributes = PREFER_512 if cpu.vector_bytes == 64 else ""
    match recipe:
        case PanelRecipe():
            from .panel import loops

            return str(loops.module(recipe, attributes, fused=cpu.fma))
        case WinogradRecipe():
            from .winograd import kernel as winograd

            return str(winograd.module(recipe, attributes, cpu.fma))
        case PiecesRecipe():
            from .pieces import kernel as pieces

            return str(pieces.module(recipe, attributes, cpu.fma))
        case PixelsRecipe():
            from .direct import pixels_loop

            return str(pixels_loop.module(recipe, attributes, cpu.fma))
        case ChannelsRecipe():
            from .direct import channels

            return str(channels.module(recipe, attributes, cpu.fma))
        case DotsRecipe():
            from .dots import kernel as dots

            return str(dots.module(recipe, attributes, cpu.fma))
        case PhasesRecipe():
            from .phases import kernel as phases

            return str(phases.module(recipe, attributes, cpu.fma))
        case QuadsRecipe():
            from .quads import kernel as quads

            return str(quads.module(recipe, attributes, fused=cpu.fma))
        case PackRecipe():
            return str(pack_module(recipe, attributes, fused=cpu.fma))
        case SweepRecipe():
            return str(recipe.module(attributes, cpu.fma))


__all__ = ["Recipe", "kernel_text"]
