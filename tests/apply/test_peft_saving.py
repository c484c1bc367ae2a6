"""What PEFT saves of what a plan trains: nothing is lost without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import freezeplan
from freezeplan import DiagnosticError
from freezeplan.apply import build_optimizer
from tests.apply.wrapping import tiny, train

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")
FROZEN = {"match": "**", "state": "frozen"}
HEAD = {"match": "classifier.{weight,bias}", "state": "trainable"}
ADAPTERS = {"match": "@adapters", "state": "trainable"}


def adapted(**more: Any) -> Any:
    """Return a model for classification whose head PEFT does not know of, unless it is told."""
    return peft.get_peft_model(tiny("bert"), peft.LoraConfig(target_modules=["query"], r=2, **more))


def compiled(model: Any, *rules: dict[str, Any]) -> Any:
    return freezeplan.compile_plan(model, {"optimizer": {"lr": 0.1}, "rule": [FROZEN, *rules]})


def warned(model: Any, *rules: dict[str, Any]) -> list[str]:
    found = compiled(model, *rules).diagnostics
    return [f"{item.code} {item.message}" for item in found if "FP491" <= item.code <= "FP493"]


def test_a_head_that_is_not_saved_is_a_warning_and_an_error_for_the_trainer() -> None:
    pytest.importorskip("accelerate")
    from freezeplan.guests.transformers import trainer_guest

    model = adapted()
    (warning,) = warned(model, ADAPTERS, HEAD)
    assert warning.startswith("FP492 2 tensors would train that `save_pretrained` does not save")
    assert "`classifier.weight`, `classifier.bias`" in warning
    with pytest.raises(DiagnosticError) as caught:
        trainer_guest(model, compiled(model, ADAPTERS, HEAD))
    assert [item.code for item in caught.value.diagnostics] == ["FP447"]
    assert trainer_guest(model, compiled(model, ADAPTERS))


def reloaded(model: Any, folder: Path) -> Any:
    model.save_pretrained(folder)
    return peft.PeftModel.from_pretrained(tiny("bert"), folder)


def test_what_is_warned_of_is_lost_and_what_is_not_is_kept(tmp_path: Path) -> None:
    model = adapted()
    plan = compiled(model, ADAPTERS, HEAD)
    freezeplan.apply_freeze(model, plan)
    train("bert", model, build_optimizer(model, plan))
    fresh = reloaded(model, tmp_path / "lost")
    assert not torch.equal(fresh.base_model.model.classifier.weight, model.base_model.model.classifier.weight)

    model = adapted(modules_to_save=["classifier"])
    assert warned(model, ADAPTERS) == []
    plan = compiled(model, ADAPTERS)
    freezeplan.apply_freeze(model, plan)
    train("bert", model, build_optimizer(model, plan))
    kept = dict(reloaded(model, tmp_path / "kept").named_parameters())
    live = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    assert all(torch.equal(kept[name], tensor) for name, tensor in live.items())


def test_an_original_beside_its_copy_is_not_run() -> None:
    model = adapted(modules_to_save=["classifier"])
    (warning,) = warned(model, ADAPTERS, HEAD)
    assert warning.startswith("FP493 2 tensors would train that the model does not run")


def test_an_inactive_adapter_is_not_run() -> None:
    model = adapted()
    model.add_adapter("second", peft.LoraConfig(target_modules=["query"], r=2))
    second = {"match": "**.second", "state": "trainable"}
    (warning,) = warned(model, second)
    assert warning.startswith("FP493 6 tensors")
    model.set_adapter("second")
    assert warned(model, second) == []


def test_adapters_put_into_a_model_by_hand_are_saved_with_it() -> None:
    model = tiny("bert")
    peft.inject_adapter_in_model(peft.LoraConfig(target_modules=["query"], r=2), model)
    (warning,) = warned(model, ADAPTERS, HEAD)
    assert warning.startswith("FP491 2 tensors that the model holds fixed")


def resized(folder: Path, **more: Any) -> Any:
    """Return a decoder under LoRA whose vocabulary has grown since it was saved."""
    settings = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8}
    config = transformers.AutoConfig.for_model("llama", num_attention_heads=2, **settings)
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return peft.get_peft_model(grown(folder), peft.LoraConfig(r=2, **{"target_modules": ["q_proj"], **more}))


def grown(folder: Path, rows: int = 12) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(rows)
    return model


TABLE = {"match": "**.embed_tokens.weight", "state": "trainable"}


def test_embeddings_that_peft_saves_itself_are_not_lost(tmp_path: Path) -> None:
    model = resized(tmp_path / "base")
    plan = compiled(model, ADAPTERS, TABLE)
    assert warned(model, ADAPTERS, TABLE) == []
    freezeplan.apply_freeze(model, plan)
    with torch.no_grad():
        model.get_input_embeddings().weight.add_(1.0)
    model.save_pretrained(tmp_path / "saved")
    again = peft.PeftModel.from_pretrained(grown(tmp_path / "base"), tmp_path / "saved")
    assert torch.equal(again.get_input_embeddings().weight, model.get_input_embeddings().weight)


def test_those_that_it_does_not_save_are_said(tmp_path: Path) -> None:
    resized(tmp_path)
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    model = peft.get_peft_model(plain, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    (warning,) = warned(model, ADAPTERS, TABLE)
    assert warning.startswith("FP492 1 tensor would train that `save_pretrained` does not save")


def test_the_table_under_an_adapter_is_saved(tmp_path: Path) -> None:
    resized(tmp_path)
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    model = peft.get_peft_model(plain, peft.LoraConfig(r=2, target_modules=["embed_tokens"]))
    assert warned(model, ADAPTERS, TABLE) == []
    keys = peft.get_peft_model_state_dict(model)
    assert any(key.endswith("embed_tokens.base_layer.weight") for key in keys)
