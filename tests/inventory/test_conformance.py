"""Stacks, heads, embeddings and poolers against the reference of architectures beside the project."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from benchmarks.architectures import reference_rows
from benchmarks.reference_rows import compare
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Inventory
from freezeplan.inventory.structure import parent, under_any
from tests.models.sources import meta

ROWS = Path(__file__).parents[2].parent / "shared" / "conformance" / "architectures.jsonl"
ENCODERS = [
    "albert",
    "bert",
    "camembert",
    "convbert",
    "data2vec-text",
    "deberta",
    "deberta-v2",
    "deit",
    "dinov2",
    "distilbert",
    "electra",
    "ernie",
    "esm",
    "ibert",
    "layoutlm",
    "megatron-bert",
    "mobilebert",
    "modernbert",
    "mpnet",
    "nystromformer",
    "rembert",
    "resnet",
    "roberta",
    "roformer",
    "squeezebert",
    "swin",
    "vit",
    "xlm-roberta",
    "xmod",
    "convnext",
    "gpt2",
    "t5",
    "llama",
]
# These hold out a mask token as a head because the base class lacks it; it is a part of the embeddings.
MASK_TOKEN = ("DeiTForMaskedImageModeling", "SwinForMaskedImageModeling", "ViTForMaskedImageModeling")

pytestmark = pytest.mark.skipif(not ROWS.is_file(), reason="the reference is not on this machine")


def rows() -> list[dict]:
    """Return the reference rows of models built from their default config."""
    if not ROWS.is_file():
        return []
    found = [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()]
    return [row for row in found if row["mode"] == "plain" and row["model_type"] in ENCODERS]


@cache
def inventory(model_type: str, class_name: str) -> Inventory:
    return inventory_of(meta(model_type, class_name))


each = pytest.mark.parametrize("row", rows(), ids=lambda row: row["cls"])


@each
def test_tensors_and_ties(row: dict) -> None:
    found = inventory(row["model_type"], row["cls"])
    assert (len(found.tensors), sum(info.numel for info in found.tensors)) == (row["n_params"], row["numel"])
    aliases = {}
    for info in found.params:
        aliases.setdefault(info.alias_of or info.name, set()).add(info.name)
    for names in row["tied"]:
        assert any(set(names) <= group for group in aliases.values())


@each
def test_main_stacks(row: dict) -> None:
    found = inventory(row["model_type"], row["cls"])
    expected = {stack["path"] for stack in row["stacks"] if stack["kind"] == "main"}
    assert {parent(layer) for stack in found.stacks if stack.main for layer in stack.layers} == expected


@each
def test_heads(row: dict) -> None:
    found = inventory(row["model_type"], row["cls"])
    expected = {info.name for info in found.tensors if under_any(info.name, row["head_prefixes"])}
    if row["cls"] in MASK_TOKEN:
        expected = {name for name in expected if not name.endswith("mask_token")}
    assert {info.name for info in found.tensors if "heads" in info.roles} == expected


@each
def test_embeddings_and_poolers_are_all_found(row: dict) -> None:
    infos = {info.name: info.roles for info in inventory(row["model_type"], row["cls"]).params}
    assert [name for name in row["embedding_params"] if "embeddings" not in infos[name]] == []
    assert [name for name in row["pooler"] if "pooler" not in infos[name]] == []


@pytest.mark.slow
def test_shares_over_every_eighth_unflagged_row() -> None:
    """A stack that is wrong must be in doubt; `benchmarks.architectures` takes every row."""
    rows = [row for row in reference_rows(ROWS, ()) if not row["ambiguous"]]
    verdicts = [compare(row) for row in rows[::8]]
    count = len(verdicts)
    shares = {
        name: sum(item.right(name) for item in verdicts) / count for name in ("stacks", "exact", "heads")
    }
    assert shares["stacks"] >= 0.99
    assert shares["exact"] >= 0.97
    assert shares["heads"] >= 0.99
    for question in ("exact", "heads"):
        assert [item.class_name for item in verdicts if not item.right(question) and not item.said] == []
    for kind, base, aim in (("numel", 0, 0.97), ("numel", 1, 0.97), ("tensors", 0, 0.97), ("near", 1, 0.96)):
        assert _mean([getattr(item, kind) for item in verdicts], base) >= aim, (kind, base)


def _mean(counts: list[tuple[int, int, int]], base: int) -> float:
    shares = [count[2] / count[base] for count in counts if count[base]]
    return sum(shares) / len(shares)
