"""The tables of a cost: the record's numbers in honest units, whole at any width."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.cells import cell_len
from rich.console import Console

from freezeplan.cost.records import Cost, Fitting, FittingBatch, Memory, PhaseCost, Store, Work
from freezeplan.diagnostics.wording import format_flops
from freezeplan.plan.records import FrozenPrefix
from freezeplan.render.cost import CostView
from freezeplan.render.fitting import FittingView
from tests.render import drawing

MIB = 1 << 20
MEMORY = Memory(87 * MIB, 6 * MIB, 12 * MIB, 66 * MIB, 5 * MIB, 153 * MIB, 352 * MIB)
STORE = Store(FrozenPrefix("layers", 4, 6), 20 * MIB, 10, 15_900_000_000, 46_000_000_000)
ROWS = {"topic": 495, "mood": 495}
HEADS = PhaseCost(
    "heads only", ("topic", "mood"), MEMORY, Work(1_500_000_000, 900), 77_900_000_000, ROWS, STORE, ""
)
TOP = replace(
    HEADS, name="top", store=None, no_store="the blocks are shared", memory=replace(MEMORY, evaluation=None)
)
COST = Cost(32, 128, 64, "texts of 64 tokens", True, (HEADS,), ("bytes are those of tensors",), 1.25, 1.5)


def drawn(cost: Cost, width: int = 200) -> str:
    console = Console(
        file=StringIO(), width=width, markup=False, highlight=False, emoji=False, color_system=None
    )
    console.print(CostView(cost))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_one_phase_is_labelled_lines() -> None:
    lines = [" ".join(line.split()) for line in drawn(COST).splitlines()]
    assert lines[1:] == [
        "cost of batches of 32, texts of 64 tokens",
        "weights 87.0 MiB",
        "gradients 6.0 MiB",
        "optimizer state 12.0 MiB",
        "activations 66.0 MiB, of them 5.0 MiB saved for the backward pass",
        "peak 153.0 MiB",
        "evaluation 352.0 MiB, in batches of 128",
        "step 1.5 GFLOP forward, 900 FLOP backward",
        "epoch 77.9 GFLOP for 495 rows of each of 2 tasks",
        "stored prefix 4 of 6 layers: 20.0 MiB for 10 rows, 15.9 GFLOP once, then 46.0 GFLOP per epoch",
        "note: the allocator's margin is not in these bytes: 352.0 MiB of tensors take about 440.0 MiB of memory, "
        "up to 528.0 MiB (1.25 to 1.5 times as much, measured with glibc)",
        "note: bytes are those of tensors",
    ]


def test_rows_and_batches_that_differ_are_named() -> None:
    text = drawn(replace(COST, batch_sizes={"mood": 8}, phases=(replace(HEADS, rows=ROWS | {"mood": 1200}),)))
    assert "cost of batches of 32 (mood: 8), texts of 64 tokens" in text
    assert "77.9 GFLOP for 1,695 rows (topic 495, mood 1,200)" in text


def test_large_batches_have_their_thousands_apart() -> None:
    text = drawn(replace(COST, batch_size=4096, eval_batch_size=8192, batch_sizes={"mood": 1024}))
    assert "cost of batches of 4,096 (mood: 1,024)" in text
    assert "in batches of 8,192" in text


def test_a_budget_is_written_in_a_unit_of_its_size() -> None:
    batch = FittingBatch("all", 64, 3 << 20, 5 << 20, None)
    fitting = Fitting(99_999_999 * 10**12, "texts of 64 tokens", (batch,), ())
    assert "batches that fit into 86.7 EiB, texts" in drawing.drawn(FittingView(fitting))
    assert "batches that fit into 16,384.0 MiB" in drawing.drawn(
        FittingView(replace(fitting, budget=16 << 30))
    )


def test_several_phases_are_a_line_each_and_what_has_no_store_says_why() -> None:
    text = drawn(replace(COST, phases=(HEADS, TOP)))
    rows = [line.split("  ") for line in text.splitlines()]
    assert [
        [cell.strip() for cell in row if cell.strip()] for row in rows if row[0] in ("heads only", "top")
    ] == [
        ["heads only", "87.0 MiB", "6.0 MiB", "12.0 MiB", "66.0 MiB", "153.0 MiB", "352.0 MiB"],
        ["top", "87.0 MiB", "6.0 MiB", "12.0 MiB", "66.0 MiB", "153.0 MiB", "-"],
        ["heads only", "1.5 GFLOP", "900 FLOP", "77.9 GFLOP", "15.9 GFLOP", "46.0 GFLOP", "20.0 MiB"],
        ["top", "1.5 GFLOP", "900 FLOP", "77.9 GFLOP", "-", "-", "-"],
    ]
    assert "no store in top: the blocks are shared" in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_every_line_fits_and_every_number_is_whole(width: int) -> None:
    text = drawn(replace(COST, phases=(HEADS, TOP)), width)
    assert max(map(cell_len, text.splitlines())) <= width
    whole = " ".join(text.split())
    assert all(
        number in whole for number in ("87.0 MiB", "153.0 MiB", "77.9 GFLOP", "heads only", "20.0 MiB")
    )


def test_a_frozen_backbone_is_said_to_be_pooled() -> None:
    pooled = replace(HEADS, store=replace(STORE, prefix=replace(STORE.prefix, whole_backbone=True)))
    assert "the whole backbone, as its heads read it: 20.0 MiB" in drawn(replace(COST, phases=(pooled,)))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (999, "999 FLOP"),
        (1000, "1.0 kFLOP"),
        (2_500_000, "2.5 MFLOP"),
        (10**15, "1.0 PFLOP"),
        (10**22, "10,000.0 EFLOP"),
    ],
)
def test_flops_are_in_decimal_units(number: int, text: str) -> None:
    assert format_flops(number) == text
