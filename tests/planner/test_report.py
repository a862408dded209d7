"""A plan in print: its head, a row for each way that can run, the refusals once each, and what decided."""

from __future__ import annotations

import re
from dataclasses import replace

from convmat import plan
from convmat.planner import report
from convmat.planner.columns import align_columns
from convmat.planner.decision import Decision


def test_the_head_says_what_is_computed() -> None:
    made = plan((1, 4, 8, 8), (6, 2, 3, 3), groups=2, padding=1, dtype="float64")
    assert report.report_header(made.decision) == [
        "1x4x8x8 * 6x2x3x3 -> 1x6x8x8, padding (1, 1) (1, 1), groups 2, float64",
        "one product: 2 groups of (3 x 18) @ (18 x 64), 1.382e-05 GFLOP",
        "x 2 KiB, w 864 B, y 3 KiB; unrolled input 18 KiB: every element of x 9 times; 2.31 FLOP a byte",
    ]


def test_the_head_says_what_is_done_beside_it() -> None:
    padded = plan((1, 4, 8, 8), (4, 4, 3, 3), padding=((1, 2), (0, 3)), padding_mode="reflect")
    assert (
        report.report_header(padded.decision)[-1] == "padded explicitly (reflect) (1, 0) before, (2, 3) after"
    )
    transposed = plan((1, 4, 8, 8), (4, 4, 3, 3), stride=2, transposed=True)
    assert report.report_header(transposed.decision)[-1] == "4 phases: no inserted zero is multiplied"


def test_the_chosen_row_is_marked_and_all_are_there() -> None:
    made = plan((1, 4, 8, 8), (4, 4, 3, 3))
    rows = report.report_rows(made.decision)
    assert [row[1] for row in rows if row[0] == ">"] == [made.chosen.name]
    assert len(rows) == sum(c.cost is not None for c in made.candidates)
    assert all(len(row) == len(report.HEAD) for row in rows)
    text = report.report_text(made.decision).splitlines()
    first = next(i for i, line in enumerate(text) if line.split()[:2] == ["way", "engine"])
    assert text[first : first + 1 + len(rows)] == align_columns(report.HEAD, rows, words=3)


def test_a_refusal_is_said_once_for_all_ways_that_share_it() -> None:
    lines = report.report_text(plan((1, 4, 8, 8), (4, 4, 3, 3)).decision).splitlines()
    refused = lines[lines.index("refused") + 1 :]
    assert refused.count("  pointwise: needs a 1x1 filter, got 3x3") == 1
    assert refused.count("  depthwise: needs one input channel a group, got 4") == 1


def test_measured_ways_have_a_column_of_their_own() -> None:
    made = plan((1, 4, 8, 8), (4, 4, 3, 3)).decision
    timed = tuple(replace(c, measured=2e-6) if c is made.chosen else c for c in made.candidates)
    chosen = next(c for c in timed if c.measured)
    text = report.report_text(Decision(made.problem, timed, chosen))
    assert re.search(r"error +tuned$", text, re.MULTILINE)
    assert re.search(r"^> .* 2 us$", text, re.MULTILINE)
