"""`@heads` of models that name their own: by an accessor, by their number of classes; else it is said to be unknown."""

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
from torch.nn.utils import parametrizations

import freezeplan
from benchmarks.timm_models import import_timm, meta_timm
from freezeplan.inventory.from_module import inventory_of
from freezeplan.inventory.records import Inventory
from tests.inventory.put_around import Around, bert

timm = import_timm()
needs_timm = pytest.mark.skipif(timm is None, reason="timm is not installed")
FROZEN = {"match": "**", "state": "frozen"}


class Net(nn.Module):
    """A trunk with blocks and a head, and an accessor that returns whatever it is told to."""

    def __init__(self, returned: Callable[[Any], Any], classes: Any = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)) for _ in range(2))
        self.norm = nn.LayerNorm(8)
        self.head, self.aux, self.empty = nn.Linear(8, 3), nn.Linear(8, 3), nn.Identity()
        self.heads = nn.ModuleList([nn.Linear(8, 3), nn.Linear(4, 3)])
        self.num_classes = classes
        self.returned = returned

    def get_classifier(self) -> Any:
        """Return the head."""
        return self.returned(self)


class Language(Net):
    """The same with the accessor of models of language."""

    def get_output_embeddings(self) -> Any:
        """Return the head."""
        return self.returned(self)

    get_classifier = None  # type: ignore[assignment]


def heads_of(model: nn.Module) -> tuple[str, ...]:
    found = inventory_of(model)
    assert not any("heads" in doubt.roles for doubt in found.doubts)
    return found.role_nodes["heads"]


def refusal(model: nn.Module | Inventory, pattern: str = "@heads") -> Any:
    rules = [FROZEN, {"match": pattern, "state": "trainable"}]
    with pytest.raises(freezeplan.DiagnosticError) as refused:
        freezeplan.compile_plan(model, {"rule": rules})
    return next(item for item in refused.value.diagnostics if item.is_error)


RETURNED: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "a module": (lambda net: net.head, ("head",)),
    "two": (lambda net: (net.head, net.aux), ("head", "aux")),
    "two of which one is empty": (lambda net: [net.head, net.empty], ("head",)),
    "a list of modules": (lambda net: net.heads, ("heads",)),
    "a table": (lambda net: {"a": net.head, "b": net.aux}, ("head", "aux")),
    "an item of a list": (lambda net: net.heads[1], ("heads.1",)),
}


@pytest.mark.parametrize("kind", [Net, Language])
@pytest.mark.parametrize("case", RETURNED)
def test_the_heads_are_what_the_model_returns(case: str, kind: type) -> None:
    returned, heads = RETURNED[case]
    found = inventory_of(kind(returned))
    assert found.role_nodes["heads"] == heads
    assert {info.name for info in found.params if "heads" in info.roles} == {
        info.name for info in found.params if any(info.name.startswith(f"{path}.") for path in heads)
    }
    # What is no head is the backbone, and nothing is both.
    assert all(("heads" in info.roles) != ("backbone" in info.roles) for info in found.params)
    assert [stack.path for stack in found.stacks if stack.main] == ["blocks"]


def test_a_model_that_returns_an_empty_module_has_no_head() -> None:
    problem = refusal(Net(lambda net: net.empty))
    assert (problem.code, problem.message) == ("FP203", "the model has no `@heads`")
    assert inventory_of(Net(lambda net: net.empty)).role_nodes["backbone"] == ("",)


def raising(net: Any) -> Any:
    raise AttributeError("'Identity' object has no attribute 'linear'")


def test_an_accessor_that_fails_for_a_model_of_no_classes_says_that_there_is_no_head() -> None:
    assert heads_of(Net(raising, classes=0)) == ()


@pytest.mark.parametrize(
    "returned", [raising, lambda net: None, lambda net: nn.Linear(2, 2), lambda net: net]
)
@pytest.mark.parametrize("role", ["@heads", "@backbone"])
def test_an_accessor_that_returns_nothing_of_the_model_leaves_the_heads_unknown(
    returned: Any, role: str
) -> None:
    problem = refusal(Net(returned), role)
    assert problem.code == "FP214"
    assert "`get_classifier()` of `Net` returns no module of it" in problem.message
    assert problem.help == "name the modules by their paths, such as `stem`"


def test_what_stands_beside_such_a_model_is_a_head_too() -> None:
    found = inventory_of(nn.Sequential(Net(lambda net: net.head), nn.Linear(3, 2)))
    assert (found.base, found.role_nodes["heads"]) == ("0", ("0.head", "1"))
    assert all(("heads" in info.roles) != ("backbone" in info.roles) for info in found.params)


def test_two_such_models_are_in_doubt() -> None:
    problem = refusal(Around(one=Net(lambda net: net.head), two=Net(lambda net: net.head)))
    assert problem.code == "FP214" and "`one`, `two`" in problem.message


def test_a_model_of_transformers_inside_says_more_than_an_accessor_around_it() -> None:
    class Delegating(Around):
        def get_output_embeddings(self) -> Any:
            return self.classifier

    found = inventory_of(Delegating(bert=bert(), classifier=nn.Linear(8, 2), more=nn.Linear(2, 2)))
    assert (found.base, found.role_nodes["heads"]) == ("bert", ("classifier", "more"))


@given(st.lists(st.sampled_from(["head", "aux", "heads.0", "heads.1", "norm"]), min_size=1, unique=True))
def test_backbone_and_heads_are_all_and_share_nothing(paths: list[str]) -> None:
    with torch.device("meta"):
        found = inventory_of(Net(lambda net: [net.get_submodule(path) for path in paths]))
    assert set(found.role_nodes["heads"]) == set(paths)
    assert all(("heads" in info.roles) != ("backbone" in info.roles) for info in found.params)


def counted(classes: Any, **parts: nn.Module) -> nn.Module:
    model = Around(**parts)
    if classes is not None:
        model.num_classes = classes
    return model


BLOCKS = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
CLEAR: dict[str, tuple[nn.Module, tuple[str, ...]]] = {
    "a linear layer": (counted(3, stem=nn.Conv2d(3, 8, 4), blocks=BLOCKS, out=nn.Linear(8, 3)), ("out",)),
    "a convolution": (counted(5, stem=nn.Conv2d(3, 8, 4), out=nn.Conv2d(8, 5, 1)), ("out",)),
    "inside a child": (counted(3, net=nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))), ("net.1",)),
    "two side by side": (counted(3, stem=nn.Linear(4, 8), a=nn.Linear(8, 3), b=nn.Linear(8, 3)), ("a", "b")),
    "none": (counted(0, stem=nn.Linear(4, 8)), ()),
}


@pytest.mark.parametrize("case", CLEAR)
def test_the_heads_are_the_modules_of_as_many_outputs_as_classes(case: str) -> None:
    model, heads = CLEAR[case]
    assert heads_of(model) == heads


UNCLEAR: dict[str, tuple[nn.Module, str]] = {
    "nothing is said": (counted(None, stem=nn.Linear(4, 8), out=nn.Linear(8, 3)), "names no head"),
    "nothing fits": (counted(7, stem=nn.Linear(4, 8), out=nn.Linear(8, 3)), "names no head"),
    "no number": (counted(True, stem=nn.Linear(4, 8), out=nn.Linear(8, 1)), "names no head"),
    "the width of all": (counted(8, blocks=BLOCKS, out=nn.Linear(8, 8)), "`blocks.0`, `blocks.1`"),
    "the width of a stem": (counted(8, stem=nn.Conv2d(3, 8, 4), out=nn.Linear(16, 8)), "`stem`, `out`"),
    "a list of that width": (counted(8, net=BLOCKS), "so many outputs have"),
}


@pytest.mark.parametrize("case", UNCLEAR)
@pytest.mark.parametrize("role", ["@heads", "@backbone"])
def test_where_nothing_says_it_the_heads_are_unknown(case: str, role: str) -> None:
    model, reason = UNCLEAR[case]
    problem = refusal(model, role)
    assert problem.code == "FP214" and reason in problem.message
    assert problem.help and problem.help.startswith("name the modules by their paths, such as `")


def lora(model: nn.Module, **options: Any) -> nn.Module:
    return peft.get_peft_model(model, peft.LoraConfig(r=1, target_modules=["blocks.0.0"], **options))


WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compiled": torch.compile,
    "in DataParallel": nn.DataParallel,
    "with adapters": lora,
    "with a trained head": lambda model: lora(model, modules_to_save=["head"]),
    "with an adapted head": lambda model: peft.get_peft_model(
        model, peft.LoraConfig(r=1, target_modules=["head"])
    ),
}


@pytest.mark.parametrize("case", WRAPPED)
def test_wrappers_change_nothing(case: str) -> None:
    assert heads_of(WRAPPED[case](Net(lambda net: net.head))) == ("head",)


def test_a_parametrized_head_is_the_head() -> None:
    model = Net(lambda net: net.head)
    parametrizations.weight_norm(model.head)
    found = inventory_of(model)
    assert {info.name for info in found.params if "heads" in info.roles} == {
        "head.bias", "head.weight.original0", "head.weight.original1",
    }  # fmt: skip


MODELS = (
    "crossvit_9_240",
    "deit_tiny_distilled_patch16_224",
    "efficientvit_m0",
    "inception_next_atto",
    "levit_128",
    "repvit_m0_9",
    "resnet18",
    "sequencer2d_s",
    "test_vit",
)


@needs_timm
@pytest.mark.parametrize("name", MODELS)
def test_timms_models_have_the_heads_that_they_return(name: str) -> None:
    model = meta_timm(name, num_classes=7)
    returned = model.get_classifier()
    modules = returned if isinstance(returned, tuple) else (returned,)
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    theirs = {names[id(tensor)] for module in modules for tensor in module.parameters()}
    found = inventory_of(model)
    assert {info.name for info in found.params if "heads" in info.roles} == theirs
    assert {info.name for info in found.params if "backbone" in info.roles} == {*names.values()} - theirs


@needs_timm
@pytest.mark.parametrize("name", MODELS)
def test_timms_models_of_no_classes_have_no_heads(name: str) -> None:
    assert heads_of(meta_timm(name, num_classes=0)) == ()


class Frame(transformers.PreTrainedModel):
    """A frame as transformers has one for timm's models: its base is the whole of another library's model."""

    config_class = transformers.BertConfig
    base_model_prefix = "timm_model"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.timm_model = Net(lambda net: net.head)


def test_a_frame_of_transformers_around_such_a_model_has_its_heads() -> None:
    found = inventory_of(Frame(transformers.BertConfig()))
    assert (found.base, found.role_nodes["heads"]) == ("timm_model", ("timm_model.head",))
    assert all(("heads" in info.roles) != ("backbone" in info.roles) for info in found.params)
