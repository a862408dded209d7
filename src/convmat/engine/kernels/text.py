"""The text of a kernel: which of the writers turns a recipe into a module of LLVM IR."""

from __future__ import annotations

from ..cpu import Cpu
from ..ir.emitter import PREFER_512
from .direct import channels, pixels_loop
from .direct.channels import ChannelsRecipe
from .direct.pixels import PixelsRecipe
from .dots import kernel as dots_kernel
from .dots.recipe import DotsRecipe
from .panel import loops as panel_loops
from .panel.recipe import PanelRecipe
from .pieces import kernel as pieces_kernel
from .pieces.recipe import PiecesRecipe
from .quads import kernel as quads_kernel
from .quads.pack_x import PackRecipe, pack_module
from .quads.recipe import QuadsRecipe
from .sweeps.base import SweepRecipe
from .winograd import kernel as winograd_kernel
from .winograd.writer import WinogradRecipe

Recipe = (
    PanelRecipe
    | PixelsRecipe
    | ChannelsRecipe
    | DotsRecipe
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
            return str(panel_loops.module(recipe, attributes, fused=cpu.fma))
        case WinogradRecipe():
            return str(winograd_kernel.module(recipe, attributes, cpu.fma))
        case PiecesRecipe():
            return str(pieces_kernel.module(recipe, attributes, cpu.fma))
        case PixelsRecipe():
            return str(pixels_loop.module(recipe, attributes, cpu.fma))
        case ChannelsRecipe():
            return str(channels.module(recipe, attributes, cpu.fma))
        case DotsRecipe():
            return str(dots_kernel.module(recipe, attributes, cpu.fma))
        case QuadsRecipe():
            return str(quads_kernel.module(recipe, attributes, fused=cpu.fma))
        case PackRecipe():
            return str(pack_module(recipe, attributes, fused=cpu.fma))
        case SweepRecipe():
            return str(recipe.module(attributes, cpu.fma))


__all__ = ["Recipe", "kernel_text"]
