"""The text of a new spec for one model and one scenario, with comments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from freezeplan.diagnostics.wording import counted
from freezeplan.inventory.records import Inventory, ParamInfo
from freezeplan.render.filling import fill_template
from freezeplan.render.visible import visible

TOP = 2
MOST_PHASES = 6


def scaffold(inventory: Inventory, scenario: str, model: Mapping[str, str], labels: tuple[str, ...]) -> str:
    """Return a commented spec as TOML text.

    ``scenario`` is one of :data:`freezeplan.render.scenarios.SCENARIOS`, ``model`` the keys of ``[model]``,
    ``labels`` those of the one task (none: a spec without tasks). The rules name what the inventory has: a
    model of several stacks gets a pattern for each, a head that is tied to an embedding no rule of its own.
    """
    stacks = [stack for stack in inventory.stacks if stack.main]
    scopes = [f"{stack.path}." if len(stacks) > 1 and stack.path else "" for stack in stacks] or [""]
    shortest = min((stack.length for stack in stacks), default=TOP)
    tensors = inventory.tensors
    return fill_template(
        "scaffold.toml.j2",
        {"toml": _toml, "counted": counted},
        scenario=scenario,
        model=model,
        labels=labels,
        label=visible(inventory.label, keep=""),
        pooler=bool(labels and inventory.role_nodes.get("pooler")),
        tensors=len(tensors),
        parameters=sum(info.numel for info in tensors),
        stacks=stacks,
        top=[f"{scope}@layers[-{min(TOP, shortest)}:]" for scope in scopes],
        lower=["@embeddings", *(f"{scope}@layers[:50%]" for scope in scopes)],
        over=[f"{scope}@layers" for scope in scopes],
        per_phase=max(1, -(-max((stack.length for stack in stacks), default=1) // MOST_PHASES)),
        then=_embeddings(inventory),
        heads=_free_heads(inventory),
        tied=[info.name for info in inventory.params if info.alias_of and "embeddings" not in info.roles],
    )


def _embeddings(inventory: Inventory) -> list[str]:
    """Return patterns that thaw the embeddings: one tied to a head needs a pattern for all its names."""
    names = {info.name for info in inventory.params if "embeddings" in info.roles}
    aliases = [info for info in inventory.params if info.alias_of and info.name not in names]
    tied = names & {info.alias_of for info in aliases}
    patterns = {"@tied": tied, "@embeddings": names - tied}
    return [pattern for pattern, selected in patterns.items() if selected]


def _free_heads(inventory: Inventory) -> list[ParamInfo]:
    """Return the parameters of heads that are no other name of a tensor, nor have another one."""
    tied = {info.alias_of for info in inventory.params}
    return [
        info
        for info in inventory.params
        if "heads" in info.roles and info.alias_of is None and info.name not in tied
    ]


def _toml(value: Any) -> str:
    """Write a string, or a list of them, as TOML; a list of one as the string alone."""
    if isinstance(value, (list, tuple)):
        return _toml(value[0]) if len(value) == 1 else f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
