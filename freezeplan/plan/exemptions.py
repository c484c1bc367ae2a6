"""Which names escape weight decay: those that patterns hit, or those of a published rule, by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from freezeplan.diagnostics import Diagnostic
from freezeplan.inventory.records import Inventory, ParamInfo
from freezeplan.plan import masks
from freezeplan.plan.binding import match_patterns
from freezeplan.plan.tree import NameTree
from freezeplan.spec.locations import at_key
from freezeplan.spec.tables import Spec

PLACE = ("optimizer", "no_decay")
TRANSFORMERS_NAMES = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")


def exempt(spec: Spec, tree: NameTree) -> tuple[int, list[Diagnostic]]:
    """Return the mask of names without weight decay, and what is wrong or worth a note.

    ``no_decay`` is a list of patterns, or the name of a published rule (see ``PUBLISHED``). A tensor with
    several names is exempt when a pattern hits any of them; a published rule looks at its first name, as
    ``named_parameters()`` does. Every name of an exempt tensor is in the mask.
    """
    wanted = spec.optimizer.no_decay
    if isinstance(wanted, str):
        return _published(tree, wanted)
    # Every model lacks some role of the default: a note would be about what nobody wrote.
    told = "no_decay" in spec.optimizer.model_fields_set
    union, problems = masks.EMPTY, []
    for entry, text in enumerate(wanted):
        found, missed = match_patterns(tree, [text], PLACE, False, entry)
        union |= found
        absent = text.startswith("@") and all(item.code == "FP203" for item in missed)
        problems += ([_absent_role(text, entry)] if missed and told else []) if absent else missed
    return _over_ties(tree, union), problems


def _published(tree: NameTree, name: str) -> tuple[int, list[Diagnostic]]:
    if name == "transformers" and tree.inventory.weak:
        message = 'no_decay = "transformers" goes by module classes, which a weights file alone does not tell'
        advice = "name an `architecture`, or use a list of patterns"
        return masks.EMPTY, [at_key(PLACE, "FP207", message, help=advice)]
    names = set(PUBLISHED[name](tree.inventory))
    return _mask_of_tensors(tree, names), []


def by_transformers(inventory: Inventory) -> Iterable[str]:
    """Yield tensors in a ``LayerNorm``, and those whose name tells of a bias or a norm.

    A name does so when it holds ``bias``, ``layernorm`` or ``rmsnorm`` anywhere, or ``norm`` as a whole
    segment of the path or at the end of one behind an underscore, in lower or upper case. BatchNorm
    weights and layer scales are therefore decayed, and tables called ``…_bias…`` are not, whatever their
    shape. Source: ``Trainer.get_decay_parameter_names`` of transformers 5.23,
    https://github.com/huggingface/transformers/blob/main/src/transformers/trainer.py
    """
    norms = {module.path for module in inventory.modules if module.path and "LayerNorm" in module.classes}
    for info in inventory.tensors:
        if TRANSFORMERS_NAMES.search(info.name.lower()) or _inside(info, norms):
            yield info.name


def by_timm(inventory: Inventory) -> Iterable[str]:
    """Yield tensors of at most one axis, and those that the model's own ``no_weight_decay()`` lists.

    Source: ``param_groups_layer_decay`` of timm, with the list that its ``create_optimizer_v2`` passes on,
    https://github.com/huggingface/pytorch-image-models/blob/main/timm/optim/_param_groups.py
    """
    return (info.name for info in inventory.tensors if len(info.shape) <= 1 or info.undecayed)


def by_beit(inventory: Inventory) -> Iterable[str]:
    """Yield tensors of exactly one axis, those whose name ends in ``.bias``, and those that the model lists.

    Source: ``get_parameter_groups`` of BEiT, with the model's ``no_weight_decay()`` that its ``create_optimizer``
    passes on, https://github.com/microsoft/unilm/blob/master/beit/optim_factory.py
    """
    for info in inventory.tensors:
        if len(info.shape) == 1 or info.name.endswith(".bias") or info.undecayed:
            yield info.name


PUBLISHED: dict[str, Callable[[Inventory], Iterable[str]]] = {
    "beit": by_beit,
    "timm": by_timm,
    "transformers": by_transformers,
}


def _inside(info: ParamInfo, modules: set[str]) -> bool:
    parts = info.module.split(".")
    return any(".".join(parts[:end]) in modules for end in range(len(parts), 0, -1))


def _absent_role(text: str, entry: int) -> Diagnostic:
    message = f"`no_decay`: this model has no `{text}`"
    return at_key((*PLACE, entry), "FP212", message, within=(0, len(text)))


def _over_ties(tree: NameTree, mask: int) -> int:
    params = tree.inventory.params
    if not any(info.alias_of for info in params):
        return mask
    flags = mask.to_bytes(tree.size, "little")
    hit = {_tensor(params[index]) for position, index in enumerate(tree.order) if flags[position]}
    return _mask_of_tensors(tree, hit)


def _mask_of_tensors(tree: NameTree, names: set[str]) -> int:
    params = tree.inventory.params
    hit = (position for position, index in enumerate(tree.order) if _tensor(params[index]) in names)
    return masks.mask_of_positions(hit, tree.size)


def _tensor(info: ParamInfo) -> str:
    return info.alias_of or info.name
