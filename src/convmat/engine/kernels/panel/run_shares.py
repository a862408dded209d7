"""How a product whose k is one long run is shared out: boxes of columns times rows of A, and a task's scratch."""

from __future__ import annotations

from ....lazy_dataclass import dataclass
from ....processes import kept_property
from ....product import Index, Product
from ...operands import aligned_size
from ..effort import PACK, TASK_FMAS
from .k_parts import count_pieces, cut_evenly
from .partition import PANEL_BYTES, Overheads, Portions, partition
from .recipe import Form, PanelRecipe
from .windows import copy_of, most_columns

A_BYTES = 256 << 10
"""Bytes of A that a task packs for itself."""


@dataclass(frozen=True)
class RunShares:
    """The shares of a product's tasks: `blocks` of A's rows and all columns, for each of `outer` matrices.

    `wanted`: the tasks that so many `threads` should have together, at least.
    """

    recipe: PanelRecipe
    product: Product
    blocks: int
    outer: int
    threads: int
    wanted: int

    @property
    def pieces(self) -> tuple[int, int]:
        """How many parts k has, and how long the longest is."""
        return count_pieces(self.product.terms[0][1])

    @property
    def columns(self) -> tuple[Index, ...]:
        """The column indices in the order in which a task has them."""
        by_name = {i.name: i for i in self.product.c.cols}
        return tuple(by_name[name] for name in self.recipe.box_indices)

    @kept_property
    def sizes(self) -> tuple[int, int]:
        """(columns, blocks of A's rows) of a task at most."""
        r = self.recipe
        in_place = r.form is Form.OUTER
        mc = (
            self.blocks
            if in_place
            else max(1, min(self.blocks, A_BYTES // max(r.block_bytes(self.pieces[1]), 1)))
        )
        most = r.block_columns if in_place else max(PANEL_BYTES // r.pitch // r.nr * r.nr, 1)
        if r.windows:
            whole = copy_of(r.windows, self.product, self.product.n, r.lanes, r.work.bytes)
            most = most_columns(whole, self.product, r.nr, PANEL_BYTES)
            if self.threads > 1 and self.outer == 1:
                most, shared = self._partition(whole.vectors, most)
                mc = min(mc, shared)
        boxes = cut_evenly(self.columns, most).sizes[0]
        tasks = self.outer * boxes * -(-self.blocks // mc)
        if tasks < self.wanted and not r.windows:
            mc = -(-self.blocks // min(self.blocks, -(-self.wanted // max(self.outer * boxes, 1))))
        return most, mc

    def _partition(self, copied: int, most: int) -> tuple[int, int]:
        """The same where windows overlap, for one matrix and several threads; `copied`: vectors of all columns."""
        r, product = self.recipe, self.product
        panels = Portions(-(-product.n // r.nr))
        parts = self.pieces[0]
        vectors = r.padded_rows(r.mr) // r.lanes * r.nr  # FMAs of a tile for one k
        overheads = Overheads(
            pack=PACK * parts * copied / (panels.count * vectors * product.k),
            fetch=PACK / r.nr,
            start=TASK_FMAS / (vectors * product.k),
        )
        blocks = Portions(self.blocks, r.tail / r.mr)
        nc, mc = partition(panels, blocks, overheads, most=-(-most // r.nr), threads=self.threads)
        return min(nc * r.nr, most), mc

    def words(self) -> dict[str, int]:
        """Shares and scratch as kernel arguments."""
        r, product = self.recipe, self.product
        most, mc = self.sizes
        boxes, longest = cut_evenly(self.columns, most).sizes
        parts = self.pieces[0]
        panels = -(-longest // r.nr)
        copy = copy_of(r.windows, product, most, r.lanes, r.work.bytes) if r.windows else None
        in_place = r.form is Form.OUTER
        panel_bytes = (r.kc if in_place else panels * r.nr) * r.pitch + 64
        packed_b = aligned_size(copy.bytes if copy else panel_bytes)
        packed_a = 0 if in_place else aligned_size(mc * r.block_bytes(self.pieces[1]))
        sums = aligned_size(panels * mc * r.tile_bytes if parts > 1 else 0)
        places = aligned_size(panels * r.nr * 8 if r.places else 0)
        size = packed_b + packed_a + sums + places
        return {
            "scratch size": size, "parts": parts, "nc blocks": boxes, "mc": mc, "mc blocks": -(-self.blocks // mc),
            "packed a": packed_b, "sums": packed_b + packed_a, "places": packed_b + packed_a + sums,
        } | (copy.words(size) if copy else {})  # fmt: skip

    def count_packed(self) -> int:
        """Vectors of B and of A that all tasks write."""
        r, product, words = self.recipe, self.product, self.words()
        boxes, mc_blocks, parts = words["nc blocks"], words["mc blocks"], words["parts"]
        a = 0 if r.form is Form.OUTER else self.outer * boxes * product.k * -(-product.m // r.lanes)
        if r.windows:
            copy = copy_of(r.windows, product, self.sizes[0], r.lanes, r.work.bytes)
            return a + self.outer * boxes * mc_blocks * parts * copy.vectors
        return a + self.outer * product.k * -(-product.n // r.lanes) * mc_blocks


__all__ = ["PANEL_BYTES", "RunShares"]
