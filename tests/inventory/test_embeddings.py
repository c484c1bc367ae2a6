"""What embeds inputs, and what only looks like it: found from the code of a module and from its widths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from freezeplan.api import compile_plan
from freezeplan.diagnostics import DiagnosticError
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.usage import only_read, order_of_use
from tests.models.sources import meta

CASES = {
    # The queries and the projection between two stacks are none.
    ("maskformer", "MaskFormerModel"): ("pixel_level_module.encoder.model.embeddings",),
    # The output tokens of the mask decoder and its norms are none; prompts are inputs.
    ("sam_hq", "SamHQModel"): (
        "shared_image_embedding", "vision_encoder.pos_embed", "vision_encoder.patch_embed", "prompt_encoder",
    ),
    # Registered after the layers, run before them.
    ("qwen3_asr_encoder", "Qwen3ASREncoder"): ("conv2d1", "conv2d2", "conv2d3", "conv_out"),
    # A table of relative positions is only read too.
    ("sew-d", "SEWDModel"): (
        "feature_extractor", "layer_norm", "feature_projection", "encoder.pos_conv_embed",
        "encoder.encoder.rel_embeddings",
    ),
    # No look-up at all: three projections of raw inputs.
    ("decision_transformer", "DecisionTransformerModel"): (
        "encoder.wte", "encoder.wpe", "embed_timestep", "embed_return", "embed_state", "embed_action", "embed_ln",
    ),
}  # fmt: skip


@pytest.mark.parametrize("key", CASES, ids="/".join)
def test_embeddings_of_an_architecture(key: tuple[str, str]) -> None:
    assert set(inventory_of(meta(*key)).role_nodes["embeddings"]) == set(CASES[key])


class Encoder(nn.Module):
    """Layers that run after a projection registered behind them."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width)) for _ in range(3)
        )
        self.after = nn.Linear(width, width)
        self.first = nn.Linear(inputs, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Run the projection, the layers, and the other projection."""
        hidden = self.first(hidden)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.after(hidden)


class Pair(nn.Module):
    """Two encoders, and a table that is read, not looked up in."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.one = Encoder(5, 8)
        self.queries = nn.Embedding(3, 8)
        self.two = Encoder(inputs, 8)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run one encoder, and the other one on the queries."""
        return self.two(self.one(inputs) + self.queries.weight)


@pytest.mark.parametrize(
    ("inputs", "expected"), [(8, ("one.first",)), (6, ("one.first", "two.first"))], ids=["hidden", "raw"]
)
def test_a_projection_of_hidden_states_embeds_nothing(inputs: int, expected: tuple[str, ...]) -> None:
    assert inventory_of(Pair(inputs)).role_nodes["embeddings"] == expected


class Positions(nn.Module):
    """A table that is read, in the part that embeds the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.positions = nn.Embedding(4, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Add the whole table to what is looked up."""
        hidden = self.tokens(ids) + self.positions.weight
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


def test_a_table_of_positions_that_is_only_read_is_an_embedding() -> None:
    assert inventory_of(Positions()).role_nodes["embeddings"] == ("tokens", "positions")


class Tables(Positions):
    """Read and used tables, in the class itself and in its base."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.ModuleList([nn.Embedding(2, 2)])
        self.both = nn.Embedding(2, 2)
        self.both = self.both

    def more(self, ids: torch.Tensor) -> torch.Tensor:
        """Read two tables, look up in one of them."""
        return self.read[0].weight + self.both.weight + self.both(ids)


class Block(nn.Module):
    """A residual block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3)


def blocks(count: int, width: int = 4) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(count)))


class Siblings(nn.Module):
    """A stem, and two lists of like blocks of which the latter holds most."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.first = blocks(2)
        self.second = blocks(4, 8)


def test_blocks_like_the_layers_are_no_embeddings() -> None:
    assert "first" not in {path.split(".")[0] for path in inventory_of(Siblings()).role_nodes["embeddings"]}


class Image(nn.Module):
    """A tower of its own: a stem and blocks."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.trunk = blocks(count)


class Contrast(nn.Module):
    """Two towers, of which neither is said to be the model's."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = Image(4)
        self.words = nn.Embedding(5, 4)
        self.text = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 3, enable_nested_tensor=False)


def test_a_tower_is_no_embedding_of_the_other() -> None:
    embeddings = inventory_of(Contrast()).role_nodes["embeddings"]
    assert "words" in embeddings
    assert "visual" not in embeddings


@pytest.mark.parametrize("match", ["@embeddings", "@layers"])
def test_what_is_known_by_its_place_alone_is_in_doubt_with_the_layers(match: str) -> None:
    spec = {"rule": [{"match": "**", "state": "trainable"}, {"match": match, "state": "frozen"}]}
    with pytest.raises(DiagnosticError) as caught:
        compile_plan(TwoKinds(), spec)
    assert [found.code for found in caught.value.diagnostics] == ["FP214"]


class TwoKinds(nn.Module):
    """A stem before two lists of blocks of different kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.trunk = blocks(4, 8)
        self.neck = nn.ModuleList([nn.Conv2d(4, 4, 3) for _ in range(4)])


class HeadFirst(nn.Module):
    """A head registered before the layers that it runs after."""

    def __init__(self) -> None:
        super().__init__()
        self.lm_head = nn.Linear(4, 5, bias=False)
        self.words = nn.Embedding(5, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Embed, run the layers, then the head."""
        hidden = self.words(ids)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.lm_head(hidden)


def test_a_head_registered_first_is_no_embedding() -> None:
    assert inventory_of(HeadFirst()).role_nodes["embeddings"] == ("words",)


def test_what_code_only_reads() -> None:
    read = only_read([("part", Tables())])
    assert read("part") == {"positions", "read"}
    assert read("elsewhere") == frozenset()


def test_order_of_use() -> None:
    uses = order_of_use([("", Encoder(2, 2))])("")
    assert uses["first"][1] < uses["layers"][0] < uses["after"][0]


def test_a_class_without_a_source_tells_nothing() -> None:
    scope: dict = {"nn": nn}
    exec("class Made(nn.Module):\n    def forward(self, x):\n        return self.table.weight", scope)  # noqa: S102
    made = scope["Made"]()
    assert order_of_use([("", made)])("") == {}
    assert only_read([("", made)])("") == frozenset()


def test_a_stem_of_the_class_of_layers_that_are_single_convolutions_embeds() -> None:
    inventory = inventory_of(meta("mobilenet_v1", "MobileNetV1Model"))
    assert inventory.role_nodes["embeddings"] == ("conv_stem",)


class Chained(nn.Module):
    """A part of a child is called with what another child puts out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the body, then a part of the head."""
        return self.head.dense(self.body(x))


def test_what_a_call_takes_runs_before_a_part_of_a_child() -> None:
    uses = order_of_use([("", Chained())])("")
    assert uses["body"][1] < uses["head"][0]
