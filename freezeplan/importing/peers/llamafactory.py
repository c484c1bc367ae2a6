"""LLaMA-Factory: ``finetuning_type: freeze`` and ``full``.

Restates ``_setup_freeze_tuning`` of LLaMA-Factory 0.9.5,
https://github.com/hiyouga/LLaMA-Factory/blob/main/src/llamafactory/model/adapter.py: a tensor trains where its name
holds ``.INDEX.MODULE`` of a chosen layer anywhere, or the name of an extra module.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.hits import Hits
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.drafting import Draft
from freezeplan.importing.peers.findings import OTHER_MODULES, refuse_towers
from freezeplan.importing.reading import FROZEN, TRAINED, Reading, Statement
from freezeplan.spec.locations import KeyPath

NAME, TITLE = "llamafactory", "LLaMA-Factory"
CLASS = "AutoModelForCausalLM"
LENGTHS = ("num_hidden_layers", "num_layers", "n_layer")
NUMBERED = re.compile(r"\.\d+\.")
CANNOT = {
    "use_galore": "GaLore projects gradients",
    "use_apollo": "APOLLO projects gradients",
    "use_badam": "BAdam trains blocks in turn",
    "loraplus_lr_ratio": "it is about adapters",
    "mixture_of_depths": "it makes other layers of those of the model",
    "use_adam_mini": "which tensors decay is decided by code of its own",
    "use_muon": "which tensors decay is decided by code of its own",
    "use_mca": "another trainer, Megatron's, divides the tensors",
    "use_megatron_bridge": "another trainer, Megatron's, divides the tensors",
    "use_hyper_parallel": "another trainer divides the tensors",
    "quantization_bit": "quantised weights are not trained without an adapter",
}
FREEZE_KEYS = ("freeze_trainable_layers", "freeze_trainable_modules", "freeze_extra_modules")
SWITCHES = ("freeze_vision_tower", "freeze_multi_modal_projector", "freeze_language_model")
WITH_VALUE_HEAD = ("rm", "ppo")
# Where it stands, what it says, as a statement, and what it hits.
Found = tuple[KeyPath, str, Statement, Hits]


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return "finetuning_type" in config.data or any(
        str(key).startswith("freeze_trainable_") for key in config.data
    )


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model, literally or as it is meant."""
    config.without(CANNOT)
    kind = config.text("finetuning_type") or "lora"
    if kind not in ("full", "freeze"):
        message = f"`finetuning_type: {kind}` cannot be imported: {OTHER_MODULES}"
        raise config.error(("finetuning_type",), "FP193", message)
    if config.at("do_train") is False:
        raise config.error(("do_train",), "FP193", "`do_train: false` cannot be imported: nothing is trained")
    refuse_towers(config, ("finetuning_type",), model)
    draft = Draft(config, model, meant, TRAINED if kind == "full" else FROZEN)
    draft.findings.unused(SWITCHES, "the model has one modality")
    draft.findings.unused(("loraplus_lr_embedding",), "it is about adapters")
    if config.at("stage") in WITH_VALUE_HEAD:
        draft.findings.left_out(
            ("stage",), f"`stage: {config.at('stage')}` adds a value head there, which trains"
        )
    if kind == "full":
        draft.findings.unused(FREEZE_KEYS, "`finetuning_type: full` trains everything")
        return draft.with_hugging_face()
    for path, text, statement, hits in (*_layers(config, model), *_extra(config, model)):
        names = draft.chosen(path, text, hits)
        draft.statements.append(statement)
        draft.put(names, TRAINED, len(draft.statements) - 1)
    return draft.with_hugging_face()


def _layers(config: ConfigFile, model: ModelNames) -> list[Found]:
    place: KeyPath = ("freeze_trainable_layers",)
    count = config.number(*place)
    wanted = 2 if count is None else int(count)
    indices = _indices(config, model, wanted)
    modules = config.strings("freeze_trainable_modules", split=True) or [(place, "all")]
    hidden = _hidden_modules(model)
    found = []
    for path, module in modules:
        if module != "all" and module not in hidden:
            raise config.error(path, "FP194", f"there `{module}` is an error: it is no module of a layer")
        hits = _in_layers(model, indices, "" if module == "all" else module)
        said = f"freeze_trainable_layers: {wanted}" + ("" if module == "all" else f", module {module}")
        statement = Statement(said, config.span(path), _selectors(model, wanted, indices))
        found.append((path, module if module != "all" else str(wanted), statement, hits))
    return found


def _indices(config: ConfigFile, model: ModelNames, wanted: int) -> Sequence[int]:
    place: KeyPath = ("freeze_trainable_layers",)
    length = _length(model)
    if not length:
        raise config.error(
            place, "FP194", "there this model is an error: its config names no number of layers"
        )
    if config.at("use_llama_pro"):
        if not wanted or length % wanted:
            raise config.error(
                place, "FP194", f"there it is an error: {length} layers are no multiple of {wanted}"
            )
        stride = length // wanted
        return range(stride - 1, length + stride - 1, stride)
    return range(max(0, length - wanted), length) if wanted > 0 else range(min(-wanted, length))


def _length(model: ModelNames) -> int:
    config = dict(model.config or {})
    config = config.get("text_config") or config
    given = next((int(config[key]) for key in LENGTHS if config.get(key)), 0)
    stacks = [stack.length for stack in model.inventory.stacks if stack.main]
    return given or (stacks[0] if stacks else 0)


def _hidden_modules(model: ModelNames) -> set[str]:
    found = set()
    for name in model.tensors:
        mark = ".0." if ".0." in name else ".1." if ".1." in name else None
        if mark:
            found.add(name.split(mark)[-1].split(".")[0])
    return found


def _in_layers(model: ModelNames, indices: Sequence[int], module: str) -> Hits:
    marks = [f".{index}.{module}" for index in indices]
    literal = frozenset(name for name in model.tensors if any(mark in name for mark in marks))
    return Hits(
        literal,
        _meant(model, indices, module) if literal else literal,
        "the number is that of something else",
    )


def _meant(model: ModelNames, indices: Sequence[int], module: str) -> frozenset[str]:
    """Return the tensors of the chosen layers themselves, and of the module by its whole name."""
    stacks = [stack for stack in model.inventory.stacks if stack.main]
    layers = [
        model.prefix + stack.layers[index] for stack in stacks for index in indices if index < stack.length
    ]
    inside = {f"{layer}.{module}".removesuffix(".") + "." for layer in layers}
    return frozenset(name for name in model.tensors if any(name.startswith(path) for path in inside))


def _selectors(model: ModelNames, wanted: int, indices: Sequence[int]) -> tuple[str, ...]:
    if wanted > 0 and len(indices) == wanted and indices == range(indices[0], indices[-1] + 1):
        return (f"@layers[-{wanted}:]",)
    return (f"@layers[:{len(indices)}]",) if indices == range(len(indices)) and indices else ()


def _extra(config: ConfigFile, model: ModelNames) -> list[Found]:
    known = {name.split(".")[-2] for name in model.tensors if not NUMBERED.search(name) and "." in name}
    found = []
    for path, module in config.strings("freeze_extra_modules", split=True):
        if module not in known:
            raise config.error(
                path, "FP194", f"there `{module}` is an error: it is no module outside the layers"
            )
        literal = frozenset(name for name in model.tensors if module in name)
        meant = frozenset(name for name in literal if module in name.split("."))
        statement = Statement(f"freeze_extra_modules: {module}", config.span(path))
        found.append((path, module, statement, Hits(literal, meant, "the name is part of a longer one")))
    return found
