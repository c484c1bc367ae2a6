"""Backbone and heads of modules of one's own around a model: the one model below is the base, all else the heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import freezeplan
from freezeplan.inventory.from_module import inventory_of
from freezeplan.models.multitask import MultiTaskModel
from freezeplan.outside.quiet import quiet
from tests.inventory.put_around import (
    SMALL,
    Around,
    Dense,
    SentenceTransformer,
    SoftmaxLoss,
    bert,
    scale,
    text_decoder,
    vision_tower,
)

FROZEN = {"match": "**", "state": "frozen"}


def parts(model: nn.Module) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    found = inventory_of(model)
    assert not found.doubts
    return found.base, found.role_nodes["backbone"], found.role_nodes["heads"]


def selected(model: nn.Module, pattern: str) -> tuple[str, ...]:
    rules = [FROZEN, {"match": pattern, "state": "trainable"}]
    return freezeplan.compile_plan(model, {"rule": rules}).names(trainable=True)


def refusal(model: nn.Module, pattern: str) -> Any:
    with pytest.raises(freezeplan.DiagnosticError) as refused:
        selected(model, pattern)
    return next(item for item in refused.value.diagnostics if item.is_error)


class Composed(transformers.PreTrainedModel):
    """A class of one's own on the frame that transformers gives its models."""

    config_class = transformers.BertConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.encoder = transformers.AutoModel.from_config(config)
        self.head = nn.Linear(8, 2)


class ComposedModel(Composed):
    """The same under a name that ends as those of models without a head do."""


class Pair(transformers.PreTrainedModel):
    """A class of one's own with two models of transformers."""

    config_class = transformers.BertConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.question = transformers.BertModel(config)
        self.passage = transformers.BertModel(config)


def composed(kind: type = Composed) -> Any:
    with quiet():
        return kind(transformers.BertConfig(**SMALL))


class Named(transformers.BertPreTrainedModel):
    """A class of one's own that names its base as transformers does, with another model beside it."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert = transformers.BertModel(config)
        self.other = transformers.BertModel(config)
        self.out = nn.Linear(8, 2)


def with_a_teacher(class_name: str) -> Any:
    model = bert(class_name)
    model.teacher = bert()
    return model


def gpt2() -> Any:
    settings = {
        "n_embd": 8,
        "n_layer": 2,
        "n_head": 2,
        "vocab_size": 12,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings))


CASES: dict[str, tuple[Callable[[], nn.Module], str, tuple[str, ...]]] = {
    "a classifier": (lambda: Around(bert=bert(), classifier=nn.Linear(8, 2)), "bert", ("classifier",)),
    "a Sequential": (lambda: nn.Sequential(bert(), nn.Linear(8, 2)), "0", ("1",)),
    "a model with a head of its own": (
        lambda: Around(model=bert("BertForSequenceClassification"), more=nn.Linear(2, 2)),
        "model.bert",
        ("model.classifier", "more"),
    ),
    "parameters on the way down": (
        lambda: Around(net=Around(bert=bert(), weight=scale()), scale=scale(), loss=nn.Linear(2, 2)),
        "net.bert",
        ("scale", "net.weight", "loss"),
    ),
    "nothing beside": (lambda: Around(model=bert()), "model", ()),
    "a sentence encoder": (lambda: SentenceTransformer(Dense()), "0.auto_model", ("2",)),
    "a sparse encoder": (
        lambda: SentenceTransformer(model=bert("BertForMaskedLM")), "0.auto_model.bert", ("0.auto_model.cls",),
    ),
    "a loss around a sentence encoder": (
        lambda: SoftmaxLoss(SentenceTransformer()), "model.0.auto_model", ("classifier",),
    ),
    "a value head": (
        lambda: Around(pretrained_model=gpt2(), v_head=nn.Linear(8, 1)),
        "pretrained_model.transformer",
        ("pretrained_model.lm_head", "v_head"),
    ),
    "a list of heads": (
        lambda: Around(encoder=bert(), heads=nn.ModuleList([nn.Linear(8, 2), nn.Linear(8, 3)])),
        "encoder",
        ("heads",),
    ),
    "layers on top": (
        lambda: Around(
            encoder=bert(), top=nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 2)
        ),
        "encoder",
        ("top",),
    ),
    "a model of ours": (
        lambda: Around(model=MultiTaskModel(bert(), 8, {"mood": (2, 0.1)}), metric=nn.Linear(1, 1)),
        "model.backbone",
        ("model.heads", "metric"),
    ),
    "a frame of transformers": (composed, "encoder", ("head",)),
    "a frame of transformers called a model": (lambda: composed(ComposedModel), "encoder", ("head",)),
    "a frame of transformers in a module": (
        lambda: Around(model=composed(), loss=nn.Linear(2, 2)), "model.encoder", ("model.head", "loss"),
    ),
    "torch.compile inside": (lambda: Around(model=torch.compile(bert()), head=nn.Linear(8, 2)), "model", ("head",)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_one_model_below_is_the_base_and_what_stands_beside_it_the_heads(case: str) -> None:
    make, base, heads = CASES[case]
    assert parts(make()) == (base, (base,), heads)


@pytest.mark.parametrize("case", CASES)
def test_backbone_and_heads_are_all_of_a_model_and_share_nothing(case: str) -> None:
    infos = inventory_of(CASES[case][0]()).params
    assert {len(info.roles & {"backbone", "heads"}) for info in infos} == {1}


LEAVES = st.sampled_from(["linear", "dropout", "parameter"])


@given(st.lists(st.tuples(st.lists(LEAVES, max_size=3), st.booleans()), max_size=4))
def test_however_deep_it_stands_the_rest_is_heads(levels: list[tuple[list[str], bool]]) -> None:
    made = {"linear": lambda: nn.Linear(2, 2), "dropout": nn.Dropout, "parameter": scale}
    with torch.device("meta"):
        model: nn.Module = bert()
        for beside, first in levels:
            others = {f"{name}{place}": made[name]() for place, name in enumerate(beside)}
            model = Around(**({"inner": model} | others if first else others | {"inner": model}))
    inventory = inventory_of(model)
    base = ".".join(["inner"] * len(levels))
    assert inventory.base == base
    for info in inventory.params:
        inside = info.name.startswith(f"{base}.") or not base
        assert ("backbone" in info.roles, "heads" in info.roles) == (inside, not inside)


def test_a_pattern_may_begin_at_the_base_model() -> None:
    model = SentenceTransformer(Dense())
    layer = selected(model, "encoder.layer.1")
    assert layer == selected(model, "0.auto_model.encoder.layer.1")
    assert len(layer) == 16
    assert selected(model, "@layers[-1]") == layer


def test_the_rate_of_the_backbone_is_not_that_of_a_head() -> None:
    model = SoftmaxLoss(SentenceTransformer())
    spec = {"optimizer": {"lr": 1e-3}, "rule": [{"match": "**", "state": "trainable"},
                                                {"match": "@backbone", "lr_mult": 0.1}]}  # fmt: skip
    groups = freezeplan.build_param_groups(model, spec)
    rates = {name: group["lr"] for group in groups for name, _ in group["params"]}
    assert (rates["classifier.weight"], rates["model.0.auto_model.pooler.dense.weight"]) == (1e-3, 1e-4)


def test_heads_stay_heads_where_the_base_of_a_sequence_model_is_no_child_of_its_own() -> None:
    settings = {
        "d_model": 8,
        "d_kv": 4,
        "d_ff": 8,
        "num_layers": 2,
        "num_heads": 2,
        "vocab_size": 12,
        "eos_token_id": 1,
    }
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**settings))
    assert parts(Around(t5=model, more=nn.Linear(2, 2))) == (
        "t5", ("t5.shared", "t5.encoder", "t5.decoder"), ("t5.lm_head", "more"),
    )  # fmt: skip


def test_a_model_that_is_registered_twice_is_one_model() -> None:
    model = bert("BertForSequenceClassification")
    twice = Around(model=model, loss=Around(model=model, weight=scale()))
    assert parts(twice) == (
        "model.bert",
        ("model.bert", "loss.model.bert"),
        ("model.classifier", "loss.model.classifier", "loss.weight"),
    )


@pytest.mark.parametrize("first", [True, False])
def test_a_part_that_is_registered_beside_its_model_stays_that_part(first: bool) -> None:
    model = bert("BertForSequenceClassification")
    short = {"encoder": model.bert, "out": model.classifier}
    beside = Around(**(short | {"model": model} if first else {"model": model} | short))
    base, backbone, heads = parts(beside)
    assert (base, set(backbone)) == ("model.bert", {"model.bert", "encoder"})
    assert set(heads) == {"model.classifier", "out"}


def test_a_model_of_peft_inside_a_module_of_ones_own() -> None:
    config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"], r=2)
    inside = peft.get_peft_model(bert("BertForSequenceClassification"), config)
    model = Around(net=inside, more=nn.Linear(2, 2))
    assert parts(model) == ("net.bert", ("net.bert",), ("net.classifier", "more"))
    adapters = selected(model, "@adapters")
    assert {name.split(".")[0] for name in adapters} == {"net"}
    assert sum(".lora_A." in name for name in adapters) == SMALL["num_hidden_layers"]


@pytest.mark.parametrize("class_name", ["BertModel", "BertForSequenceClassification"])
def test_prompts_inside_a_module_of_ones_own_are_neither(class_name: str) -> None:
    kind = "SEQ_CLS" if class_name.endswith("Classification") else "FEATURE_EXTRACTION"
    inside = peft.get_peft_model(
        bert(class_name), peft.PromptTuningConfig(task_type=kind, num_virtual_tokens=3)
    )
    roles = {info.name: info.roles for info in inventory_of(Around(net=inside, more=nn.Linear(2, 2))).params}
    prompts = [name for name in roles if "prompt_encoder" in name]
    assert prompts
    assert not any(roles[name] & {"backbone", "heads"} for name in prompts)


class Extended(transformers.BertModel):
    """A base model of transformers with a head of one's own in it."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.score = nn.Linear(8, 2)


class ExtendedModel(Extended):
    """The same under a name that ends as those of models without a head do."""


def with_a_head_put_in(at: str = "") -> Any:
    model = bert("BertForSequenceClassification") if at else bert()
    model.get_submodule(at).score = nn.Linear(8, 2)
    return model


PUT_IN: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "a base model": (with_a_head_put_in, ("score",)),
    "the base of a model": (lambda: with_a_head_put_in("bert"), ("classifier", "bert.score")),
    "a class of one's own": (lambda: Extended(transformers.BertConfig(**SMALL)), ("score",)),
    "a class called a model": (lambda: ExtendedModel(transformers.BertConfig(**SMALL)), ("score",)),
    "a base model inside": (
        lambda: Around(net=with_a_head_put_in(), more=nn.Linear(2, 2)), ("net.score", "more"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PUT_IN)
def test_what_was_put_into_a_base_model_is_a_head(case: str) -> None:
    make, heads = PUT_IN[case]
    model = make()
    found = inventory_of(model)
    assert found.role_nodes["heads"] == heads
    for info in found.params:
        inside = any(info.name.startswith(f"{path}.") for path in heads)
        assert ("heads" in info.roles, "backbone" in info.roles) == (inside, not inside)


def test_a_part_that_takes_the_place_of_another_is_none_that_was_put_in() -> None:
    model = bert()
    model.pooler = nn.Linear(8, 8)
    assert parts(model) == ("", ("",), ())


REFUSED: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "teacher and student": (lambda: Around(student=bert(), teacher=bert()), ["`student`, `teacher`"]),
    "a moving average": (
        lambda: Around(model=SentenceTransformer(), ema=bert()),
        ["`model.0.auto_model`, `ema`"],
    ),
    "an encoder and a decoder": (lambda: Around(encoder=bert(), decoder=gpt2()), ["`encoder`, `decoder`"]),
    "two models on one frame": (lambda: composed(Pair), ["`question`, `passage`"]),
    "a frame with two models in a module": (lambda: Around(m=composed(Pair)), ["`m.question`, `m.passage`"]),
    "a tower of images beside": (
        lambda: Around(text=bert(), image=vision_tower()),
        ["`text`", "`image.stem`"],
    ),
    "a plain decoder beside": (lambda: Around(encoder=bert(), **text_decoder()), ["`encoder`", "`words`"]),
    "a second model beside a named base": (lambda: composed(Named), ["the base of `Named`", "`other`"]),
    "the same in a module": (lambda: Around(net=composed(Named)), ["the base of `Named`", "`net.other`"]),
    "a teacher put into a base model": (lambda: with_a_teacher("BertModel"), ["`BertModel`", "`teacher`"]),
    "a teacher put beside a base": (
        lambda: with_a_teacher("BertForSequenceClassification"),
        ["`BertForSequenceClassification`", "`teacher`"],
    ),
    "a plain torch model": (vision_tower, ["`Around` is no model of transformers and holds none"]),
    "a single layer": (lambda: nn.Linear(2, 2), ["`Linear` is no model of transformers"]),
}


@pytest.mark.parametrize("role", ["@backbone", "@heads"])
@pytest.mark.parametrize("case", REFUSED)
def test_where_it_is_open_which_part_is_the_base_both_roles_are_refused(case: str, role: str) -> None:
    make, reasons = REFUSED[case]
    problem = refusal(make(), role)
    assert problem.code == "FP214"
    assert problem.message.startswith(f"`{role}` is not clear here: ")
    assert all(reason in problem.message for reason in reasons)
    assert problem.help.startswith("name the modules by their paths")


def test_the_other_roles_of_a_model_without_a_base_work() -> None:
    model = Around(left=bert(), right=bert(), head=nn.Linear(8, 2))
    assert all(
        name.startswith(("left.encoder.layer", "right.encoder.layer")) for name in selected(model, "@layers")
    )
    assert selected(model, "head") == ("head.weight", "head.bias")
    roles = inventory_of(model).role_nodes
    assert (roles["backbone"], roles["heads"]) == ((), ())


def test_a_frozen_head_of_a_wrapper_is_called_by_its_path() -> None:
    model = Around(model=bert("BertForSequenceClassification"), more=nn.Linear(2, 2))
    rules = [{"match": "**", "state": "trainable"}, {"match": "@heads", "state": "frozen"}]
    plan = freezeplan.compile_plan(model, {"rule": rules})
    drifting = [item.message.split("`")[1] for item in plan.diagnostics if item.code == "FP405"]
    assert drifting == ["model.classifier", "more"]


class InAFrame(transformers.PreTrainedModel):
    """An architecture of one's own in the frame of transformers, whose prefix names no module."""

    config_class = transformers.BertConfig
    base_model_prefix = "own"

    def __init__(self, config: transformers.BertConfig) -> None:
        super().__init__(config)
        self.stem = nn.Linear(4, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.last = nn.Linear(8, 2)


class WithAHead(InAFrame):
    """One that names its head."""

    def get_output_embeddings(self) -> nn.Module:
        """Return the head."""
        return self.last


def test_a_stem_in_a_frame_of_transformers_is_no_head() -> None:
    inventory = inventory_of(InAFrame(transformers.BertConfig()))
    assert inventory.role_nodes["heads"] == inventory.role_nodes["backbone"] == ()
    (doubt,) = [doubt for doubt in inventory.doubts if "heads" in doubt.roles]
    assert "base_model_prefix" in doubt.reason


def test_the_head_that_an_architecture_of_ones_own_names_is_the_only_one() -> None:
    inventory = inventory_of(WithAHead(transformers.BertConfig()))
    assert inventory.role_nodes["heads"] == ("last",)
    assert inventory.role_nodes["backbone"] == ("stem", "layers")
