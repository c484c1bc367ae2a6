"""A plan as a guest in trainers that other libraries build on transformers' Trainer: the same phases, the same bits."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset

from freezeplan.api import compile_plan
from freezeplan.guests.transformers import TrainerGuest, trainer_guest
from tests.apply.phased import freezes, phase, thaws
from tests.guests.trainers import Watcher, copies
from tests.train.tiny import SPECIAL, WORDS, save_tiny_bert, tiny_tokenizer, toy_rows

STEPS = (2, 3, 2)
SETTINGS: dict[str, Any] = {
    "max_steps": sum(STEPS),
    "per_device_train_batch_size": 4,
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_steps": 3,
    "report_to": "none",
    "use_cpu": True,
    "disable_tqdm": True,
}
Joined = tuple[torch.nn.Module, TrainerGuest, Any]


def guest_for(model: torch.nn.Module, *first: str) -> TrainerGuest:
    """Return a guest whose phases train what is named, then the last layer too, then what is named alone."""
    plan = compile_plan(
        model,
        {
            "optimizer": {"lr": 0.01},
            "schedule": {"name": "constant"},
            "rule": [freezes("**") | {"name": "rest"}, thaws(list(first), name="first")],
            "phase": [
                phase("first", steps=STEPS[0]),
                phase("top", thaws("@layers[-1:]", lr_mult=0.5), steps=STEPS[1]),
                phase("again", freezes("**"), thaws(list(first)), steps=STEPS[2]),
            ],
        },
    )
    return trainer_guest(model, plan)


def texts(count: int = 24) -> list[str]:
    """Return short texts of known words."""
    return [row["text"] for row in toy_rows(count, 3)]


def sentence_transformer(folder: Path) -> Joined:
    """Join SentenceTransformerTrainer, over pairs of texts."""
    import sentence_transformers as st
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    model = st.SentenceTransformer(str(save_tiny_bert(folder / "bert")), device="cpu")
    guest = guest_for(model, "@layers[0]")
    rows = Dataset.from_dict({"anchor": texts(), "positive": texts()[::-1]})
    trainer = st.SentenceTransformerTrainer(
        model,
        st.SentenceTransformerTrainingArguments(str(folder / "out"), **SETTINGS),
        train_dataset=rows,
        loss=MultipleNegativesRankingLoss(model),
        optimizers=guest.optimizers,
        callbacks=[guest.callback],
    )
    return model, guest, trainer


def cross_encoder(folder: Path) -> Joined:
    """Join CrossEncoderTrainer, over pairs with a label."""
    from sentence_transformers import cross_encoder as ce

    model = ce.CrossEncoder(str(save_tiny_bert(folder / "bert")), num_labels=1, device="cpu")
    guest = guest_for(model, "@heads", "@pooler")
    rows = Dataset.from_dict({"one": texts(), "two": texts()[::-1], "label": [0.0, 1.0] * 12})
    trainer = ce.CrossEncoderTrainer(
        model,
        ce.CrossEncoderTrainingArguments(str(folder / "out"), **SETTINGS),
        train_dataset=rows,
        loss=ce.losses.BinaryCrossEntropyLoss(model),
        optimizers=guest.optimizers,
        callbacks=[guest.callback],
    )
    return model, guest, trainer


def decoder(folder: Path) -> tuple[Any, Any]:
    """Return a random Qwen3 of two layers, read from a folder, and its tokenizer."""
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "[SEP]"
    config = transformers.Qwen3Config(
        vocab_size=len(SPECIAL) + len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=3,
        tie_word_embeddings=False,
    )
    torch.manual_seed(3)
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    return transformers.Qwen3ForCausalLM.from_pretrained(folder), tokenizer


def of_trl(name: str, rows: dict[str, Any], **more: Any) -> Callable[[Path], Joined]:
    """Return what joins one of TRL's trainers of a decoder; its head trains first."""

    def join(folder: Path) -> Joined:
        import trl

        model, tokenizer = decoder(folder / "qwen3")
        guest = guest_for(model, "@heads", "@final_norm")
        rewards = {"reward_funcs": more["reward"]} if "reward" in more else {}
        settings = {key: value for key, value in more.items() if key != "reward"}
        trainer = getattr(trl, f"{name}Trainer")(
            model,
            args=getattr(trl, f"{name}Config")(str(folder / "out"), bf16=False, **{**SETTINGS, **settings}),
            train_dataset=Dataset.from_dict(rows),
            processing_class=tokenizer,
            optimizers=guest.optimizers,
            callbacks=[guest.callback],
            **rewards,
        )
        return model, guest, trainer

    return join


def lengths(completions: list[str], **_: Any) -> list[float]:
    """Reward the number of different words."""
    return [float(len(set(text.split()))) for text in completions]


HOSTS: dict[str, tuple[str, Callable[[Path], Joined]]] = {
    "SentenceTransformerTrainer": ("sentence_transformers", sentence_transformer),
    "CrossEncoderTrainer": ("sentence_transformers", cross_encoder),
    "SFTTrainer": ("trl", of_trl("SFT", {"text": texts()})),
    "DPOTrainer": (
        "trl",
        of_trl("DPO", {"prompt": texts(), "chosen": texts()[::-1], "rejected": texts()[5:] + texts()[:5]}),
    ),
    "GRPOTrainer": (
        "trl",
        of_trl("GRPO", {"prompt": texts()}, reward=lengths, num_generations=4, max_completion_length=5),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS)
def test_each_phase_moves_what_it_trains_and_a_resumed_run_ends_alike(host: str, tmp_path: Path) -> None:
    package, join = HOSTS[host]
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    model, guest, trainer = join(tmp_path)
    watcher = Watcher()
    trainer.add_callback(watcher)
    trainer.train()
    plan, ends = guest.callback.plan, [0, STEPS[0], STEPS[0] + STEPS[1], sum(STEPS)]
    assert trainer.state.global_step == ends[-1]
    for index, (begin, end) in enumerate(pairwise(ends)):
        moved = {name for name in watcher.moved(model, begin, end) if name in dict(model.named_parameters())}
        assert moved == set(plan.names(index, trainable=True))
    again, _, resumed = join(tmp_path)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))
    apart = {name for name, value in copies(again).items() if not torch.equal(value, copies(model)[name])}
    assert apart == set()


@pytest.mark.slow
def test_setfit_trains_its_body_by_a_plan(tmp_path: Path) -> None:
    if find_spec("setfit") is None:
        pytest.skip("setfit is not installed")
    import setfit

    model = setfit.SetFitModel.from_pretrained(str(save_tiny_bert(tmp_path / "bert")), device="cpu")
    guest = guest_for(model.model_body, "@layers[0]")
    rows = Dataset.from_dict({"text": texts(), "label": [0, 1] * 12})
    settings = setfit.TrainingArguments(
        str(tmp_path / "out"), batch_size=4, max_steps=sum(STEPS), report_to="none", save_strategy="no"
    )
    trainer = setfit.Trainer(model, settings, train_dataset=rows, callbacks=[guest.callback])
    trainer.st_trainer.optimizer, trainer.st_trainer.lr_scheduler = guest.optimizers
    before = copies(model.model_body)
    trainer.train()
    moved = {name for name, value in copies(model.model_body).items() if not torch.equal(value, before[name])}
    assert moved == set(guest.callback.plan.ever_trained)
