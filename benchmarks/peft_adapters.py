"""Compare `@adapters` with what PEFT trains: every method that PEFT has, and the settings that change what it trains.

``python -m benchmarks.peft_adapters`` prints a line for each; ``--only NAME`` for some. A line is *equal* when the
role is the set of tensors that PEFT trains, *refused* when the compiler says why it cannot, else *WRONG*. The status is
1 if any is wrong, or cannot be built for another reason than a library that is not installed.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from freezeplan.api import build_param_groups, compile_plan, verify
from freezeplan.diagnostics import DiagnosticError
from freezeplan.outside.quiet import quiet

SMALL = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 16}
TEXT = {**SMALL, "vocab_size": 40, "max_position_embeddings": 32}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2, "vocab_size": 40}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", "AutoModelForCausalLM", {**TEXT, "num_key_value_heads": 2}),
    "biased": ("llama", "AutoModelForCausalLM", {**TEXT, "num_key_value_heads": 2, "attention_bias": True}),
    "bert": ("bert", "AutoModelForSequenceClassification", TEXT),
    "mixtral": (
        "mixtral",
        "AutoModelForCausalLM",
        {**TEXT, "num_key_value_heads": 2, "num_local_experts": 2, "head_dim": 8},
    ),
    "t5": ("t5", "AutoModelForSeq2SeqLM", T5),
}  # fmt: skip
ONES = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 2}
# What a method needs beside its target modules and a small rank.
NEEDS: dict[str, dict[str, Any]] = {
    "ADALORA": {"total_step": 10, "init_r": 2, "target_r": 1},
    "ADAPTION_PROMPT": {"task_type": "CAUSAL_LM", "adapter_len": 4, "adapter_layers": 1, "target_modules": "self_attn"},
    "BOFT": {"boft_block_size": 4},
    "C3A": {"block_size": 4},
    "CARTRIDGE": ONES,
    "CPT": {"task_type": "CAUSAL_LM", "cpt_token_ids": [1, 2], "cpt_mask": [1, 1], "cpt_tokens_type_mask": [1, 2]},
    "FOURIERFT": {"n_frequency": 8},
    "IA3": {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "LN_TUNING": {"target_modules": ["input_layernorm", "norm"]},
    "MULTITASK_PROMPT_TUNING": {**ONES, "num_tasks": 2},
    "OFT": {"r": 0, "oft_block_size": 4},
    "PREFIX_TUNING": ONES,
    "PROMPT_TUNING": ONES,
    "P_TUNING": {**ONES, "encoder_hidden_size": 8},
    "ROAD": {"group_size": 4},
    "SHADOW": {"task_type": "CAUSAL_LM", "target_modules": None},
    "TRAINABLE_TOKENS": {"target_modules": ["embed_tokens"], "token_indices": [1, 2]},
    "VBLORA": {"num_vectors": 8, "vector_length": 4},
    "WAVEFT": {"n_frequency": 8},
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One configuration: its name, the model it is put on, and what puts it there."""

    name: str
    model: str
    adapt: Callable[[Any], Any]


@dataclass(frozen=True)
class Line:
    """What one configuration gave: how many tensors PEFT trains, how many the role names, and the verdict."""

    name: str
    trained: int = 0
    named: int = 0
    verdict: str = ""
    reason: str = ""

    def __str__(self) -> str:
        """The line of the table."""
        return f"{self.name:32} {self.trained:6} {self.named:6}  {self.verdict:8} {self.reason}".rstrip()


def tiny(name: str) -> Any:
    """Build one of the models with random weights."""
    import torch
    import transformers

    kind, auto, settings = MODELS[name]
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(kind, **settings)
        return getattr(transformers, auto).from_config(config)


def cases() -> Iterator[Case]:
    """Yield every method of PEFT, then settings that change what it trains."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items():
        name = getattr(kind, "value", str(kind))
        yield Case(name, "llama", _method(name, config))
    yield from _variants()


def _method(name: str, config: Any) -> Callable[[Any], Any]:
    def adapt(model: Any) -> Any:
        import peft

        if name == "XLORA":
            return _mixed_experts(model, config)
        return peft.get_peft_model(model, _settings(name, config))

    return adapt


def _settings(name: str, config: Any) -> Any:
    known = {field.name for field in fields(config)}
    wanted = {"target_modules": ["q_proj", "v_proj"], "r": 2, **NEEDS.get(name, {})}
    return config(**{key: value for key, value in wanted.items() if key in known and value is not None})


def _mixed_experts(model: Any, config: Any) -> Any:
    """Save two adapters and mix them, as X-LoRA wants."""
    import tempfile

    import peft

    with tempfile.TemporaryDirectory() as folder:
        adapters = {}
        for name in ("0", "1"):
            path = f"{folder}/{name}"
            peft.get_peft_model(tiny("llama"), _lora()).save_pretrained(path)
            adapters[name] = path
        settings = config(
            task_type="CAUSAL_LM", hidden_size=16, xlora_depth=2, xlora_size=8, adapters=adapters
        )
        model.config.use_cache = False
        return peft.get_peft_model(model, settings)


def _lora(**more: Any) -> Any:
    import peft

    return peft.LoraConfig(**{"r": 2, "target_modules": ["q_proj", "v_proj"], **more})


def _variants() -> Iterator[Case]:
    """Yield settings of LoRA, and several adapters at once."""
    bert = {"target_modules": ["query", "value"], "task_type": "SEQ_CLS"}
    experts = ["experts.gate_up_proj", "experts.down_proj"]
    settings: dict[str, tuple[str, dict[str, Any]]] = {
        "lora, bias all": ("biased", {"bias": "all"}),
        "lora, bias lora_only": ("biased", {"bias": "lora_only"}),
        "lora, DoRA": ("llama", {"use_dora": True}),
        "lora, all-linear": ("llama", {"target_modules": "all-linear"}),
        "lora, all-linear on experts": ("mixtral", {"target_modules": "all-linear"}),
        "lora, two target parameters": ("mixtral", {"target_modules": [], "target_parameters": experts}),
        "lora, one target parameter": ("mixtral", {"target_modules": [], "target_parameters": experts[:1]}),
        "lora, a saved head": ("bert", bert),
        "lora, a saved embedding": ("llama", {"modules_to_save": ["embed_tokens"]}),
        "lora, new tokens": ("llama", {"trainable_token_indices": [1, 2]}),
        "lora, on embeddings": ("llama", {"target_modules": ["embed_tokens", "q_proj"]}),
        "lora, with a bias": ("llama", {"lora_bias": True}),
        "lora, on seq2seq": ("t5", {"target_modules": ["q", "v"], "task_type": "SEQ_2_SEQ_LM"}),
    }
    for name, (model, more) in settings.items():
        yield Case(name, model, lambda model, more=more: _wrapped(model, more))
    yield Case("lora, a second one inactive", "llama", lambda model: _second(model, active=False))
    yield Case("lora, the second one active", "llama", lambda model: _second(model, active=True))
    yield Case("lora, on a head saved twice", "bert", _second_head)


def _wrapped(model: Any, more: dict[str, Any]) -> Any:
    import peft

    return peft.get_peft_model(model, _lora(**more))


def _second(model: Any, *, active: bool) -> Any:
    model = _wrapped(model, {})
    model.add_adapter("second", _lora())
    if active:
        model.set_adapter("second")
    return model


def _second_head(model: Any) -> Any:
    more = {"target_modules": ["query", "value"], "task_type": "SEQ_CLS"}
    model = _wrapped(model, more)
    model.add_adapter("second", _lora(**more))
    return model


def measured(case: Case) -> Line:
    """Adapt a model and compare the role with what PEFT trains, by identity."""
    try:
        with quiet():
            model = case.adapt(tiny(case.model))
    except ImportError as error:
        return Line(case.name, verdict="absent", reason=str(error).partition("\n")[0][:80])
    except Exception as error:  # noqa: BLE001 - what PEFT raises for a configuration is what it likes
        return Line(case.name, verdict="UNBUILT", reason=f"{type(error).__name__}: {error}"[:120])
    trained = {id(tensor): name for name, tensor in model.named_parameters() if tensor.requires_grad}
    return _compared(case, model, trained)


def _compared(case: Case, model: Any, trained: dict[int, str]) -> Line:
    import torch

    rules = [{"match": "**", "state": "frozen"}, {"match": "@adapters", "state": "trainable"}]
    try:
        plan = compile_plan(model, {"rule": rules})
        groups = build_param_groups(model, plan)
        named = {id(tensor): name for group in groups for name, tensor in group["params"]}
        verify(model, plan, torch.optim.AdamW(groups))
    except DiagnosticError as error:
        first = next(item for item in error.diagnostics if item.is_error)
        return Line(case.name, len(trained), 0, "refused", f"{first.code}: {first.message}"[:110])
    missing, more = (
        [name for key, name in left.items() if key not in right]
        for left, right in ((trained, named), (named, trained))
    )
    live = sum(tensor.requires_grad for tensor in model.parameters())
    reason = ", ".join([f"-{name}" for name in missing[:2]] + [f"+{name}" for name in more[:2]])
    verdict = "WRONG" if missing or more or live != len(named) else "equal"
    return Line(case.name, len(trained), len(named), verdict, reason)


def main(arguments: list[str] | None = None) -> int:
    """Print the table and its counts."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peft_adapters", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="measure only these")
    only = parser.parse_args(arguments).only
    print(f"{'configuration':32} {'PEFT':>6} {'role':>6}  verdict")
    lines = []
    for case in cases():
        if only is None or case.name in only:
            lines.append(measured(case))
            print(lines[-1], flush=True)
    counts = Counter(line.verdict for line in lines)
    print(f"{len(lines)} configurations: " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())))
    return int(bool(counts["WRONG"] or counts["UNBUILT"]))


if __name__ == "__main__":
    sys.exit(main())
