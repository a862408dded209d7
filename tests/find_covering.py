"""Finds the sets of `covering.py` anew and prints them: greedily, the most that is missing for the least text first.

    python -m tests.find_covering            all groups, some minutes
    python -m tests.find_covering int8       one of them

Traits are told apart by element type and by CPU: this one, and those that other machines with other vectors stand for.
"""

from __future__ import annotations

import itertools
import sys
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

import pytest

from convmat.engine import jit
from convmat.engine.cpu import Cpu
from convmat.engine.kernels.text import kernel_text
from tests.covering import COVERING, group, recipes_of, traits
from tests.support import DTYPES, LAYOUTS, PASSES, TAILS, way_name
from tests.test_matrix import compiled

CPUS = ("native", "x86-64-v3", "x86-64-v4", "sapphirerapids", "znver4", "alderlake")
PAIRS = "float32 NCHW"
"""The group of which every two traits of a kernel are wanted together, and every tail."""

OVERHEAD = 2000
"""Bytes of text that take as long to compile as what else a pass takes."""

Pass = tuple[str, str, str]
"""A case, a way without its engine, and a pass of it."""


@dataclass
class Found:
    """What a pass has: the things wanted of a set, and its kernels' texts on this CPU by what they are made from."""

    has: set[Hashable] = field(default_factory=set)
    texts: dict[str, int] = field(default_factory=dict)


def look(name: str) -> dict[Pass, Found]:
    """All passes of a group."""
    found: dict[Pass, Found] = defaultdict(Found)
    tails = {each.name for each in TAILS}
    for cpu, dtype, layout in itertools.product(CPUS, DTYPES, LAYOUTS):
        if group(dtype, layout) != name:
            continue
        target = Cpu.named(cpu)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jit, "host", lambda target=target: target)
            for each, _, _, way, direction in compiled(dtype, layout):
                made = found[each.name, way_name(way).removeprefix("jit-"), direction]
                for recipe in recipes_of(each, dtype, layout, way, direction):
                    known = sorted(traits(recipe))
                    made.has |= {(cpu, way, direction), *((cpu, dtype, trait) for trait in known)}
                    if name == PAIRS and each.name in tails:
                        made.has |= {each.name, *((cpu, *two) for two in itertools.combinations(known, 2))}
                    if cpu == "native":
                        made.texts[f"{dtype} {recipe!r}"] = len(kernel_text(recipe, target))
    return found


def choose(found: dict[Pass, Found]) -> list[Pass]:
    """Passes that together have all that any has."""
    wanted = set[Hashable]().union(*(each.has for each in found.values()))
    texts: dict[str, int] = {}
    chosen: list[Pass] = []

    def gain(one: Pass) -> float:
        new = sum(size for text, size in found[one].texts.items() if text not in texts)
        return len(found[one].has & missing) / (new + OVERHEAD)

    missing = set(wanted)
    while missing:
        chosen.append(max(found, key=gain))
        texts |= found[chosen[-1]].texts
        missing -= found[chosen[-1]].has
    for each in sorted(chosen, key=lambda each: -sum(found[each].texts.values())):
        others = [other for other in chosen if other != each]
        if wanted == set[Hashable]().union(*(found[other].has for other in others)):
            chosen = others
    return chosen


def lines(name: str) -> Iterator[str]:
    """The group as `covering.py` has it."""
    cases: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case, way, direction in choose(look(name)):
        cases[case][way].append(direction)
    yield f'    "{name}": {{'
    for case, by_way in sorted(cases.items()):
        ways = (
            f"{way} {' '.join(sorted(passes, key=PASSES.index))}" for way, passes in sorted(by_way.items())
        )
        yield f'        "{case}": "{"; ".join(ways)}",'
    yield "    },"


if __name__ == "__main__":
    for each in sys.argv[1:] or COVERING:
        print(*lines(each), sep="\n", flush=True)
