"""Ways of freezing one spec's model, each as a whole spec: what to compare."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from freezeplan.inventory.records import Inventory, Stack
from freezeplan.plan.records import Plan
from freezeplan.runs.spec_file import spec_text
from freezeplan.spec.tables import Spec

FEATURES, HEADS, ALL, LP_FT = "features", "heads", "all", "lp_ft"
EMBEDDINGS, LLRD, GRADUAL, TOP = "embeddings_frozen", "llrd", "gradual", "top"
KNOWN = (FEATURES, HEADS, f"{TOP}1", f"{TOP}2", f"{TOP}4", GRADUAL, EMBEDDINGS, LLRD, LP_FT, ALL)
BACKBONE_RATE, HEAD_RATE = 5e-5, 1e-3
DECAY, TOP_OF_LADDER = 0.8, 2.0
WARMUP = 0.06
# What a comparison decides by itself, or does not look at.
NOT_OURS = ("stop_when", "keep_best", "restore_best", "checkpoint_steps", "epochs", "keep_last", "report_to")
PLAIN_OPTIMIZER = ("name", "class", "options", "weight_decay", "no_decay", "betas", "eps", "momentum")


@dataclass(frozen=True)
class StrategyRates:
    """Hold the learning rates of the backbone and of the heads."""

    backbone: float = BACKBONE_RATE
    heads: float = HEAD_RATE


@dataclass(frozen=True)
class Strategy:
    """Name a way of freezing, say it in words, and hold its rules.

    ``warm`` says that the heads begin with what a linear probe found. ``gradual`` is the table of that name.
    """

    name: str
    words: str
    rules: tuple[Mapping[str, Any], ...]
    warm: bool = True
    gradual: Mapping[str, Any] | None = None
    lr: float | None = None

    @property
    def trains(self) -> bool:
        """Whether anything is trained."""
        return self.name != FEATURES


def is_name(text: str) -> bool:
    """Whether some model has a strategy of that name.

    >>> is_name("top3"), is_name("heads"), is_name("head"), is_name("top")
    (True, True, False, False)
    """
    return text in KNOWN or text.startswith(TOP) and text.removeprefix(TOP).isdecimal()


def rates_of(spec: Spec, plan: Plan) -> StrategyRates:
    """Return the rates that a spec's own plan uses, where it says one and trains such tensors; else the usual ones.

    5e-5 for a backbone is the upper end of what BERT was fine-tuned with (Devlin et al., 2019,
    https://arxiv.org/abs/1810.04805, appendix A.3), 1e-3 for a head the default rate of Adam.
    """
    if "lr" not in spec.optimizer.model_fields_set:
        return StrategyRates()
    found: dict[bool, float] = {}
    for phase in plan.phases:
        for param, assignment in zip(plan.params, phase.assignments, strict=True):
            if assignment.trainable:
                of_head = param.name.startswith("heads.")
                found[of_head] = max(found.get(of_head, 0.0), assignment.lr)
    return StrategyRates(found.get(False, BACKBONE_RATE), found.get(True, HEAD_RATE))


def strategies_for(
    inventory: Inventory, stack: Stack, rates: StrategyRates, epochs: int, *, own_head: bool = False
) -> list[Strategy]:
    """Return the strategies that a model has, the cheapest to train first.

    ``stack`` is the one whose layers run; ``own_head`` says that heads are the model's own. Sources: heads, then all
    (Kumar et al., 2022, https://arxiv.org/abs/2202.10054); layer by layer from the top (Howard and Ruder, 2018,
    https://arxiv.org/abs/1801.06146); rates that fall with depth (Bao et al., BEiT, 2021,
    https://arxiv.org/abs/2106.08254).
    """
    parts = _Parts(inventory, stack, rates, own_head=own_head)
    found = [Strategy(FEATURES, "everything frozen; the heads are linear probes", (parts.frozen,))]
    if parts.heads:
        found.append(Strategy(HEADS, "the heads train", (parts.frozen, *parts.heads)))
    for count in _counts(stack.length):
        what = "the top layer trains" if count == 1 else f"the top {count} layers train"
        found.append(Strategy(f"{TOP}{count}", what, (parts.frozen, *parts.heads, parts.top(count))))
    if epochs > 1:
        found.append(_gradual(parts, stack, epochs))
    everything = (parts.trained, *parts.pooler, *parts.heads)
    if parts.embeddings:
        frozen = (parts.trained, *parts.pooler, parts.embeddings, *parts.heads)
        found.append(Strategy(EMBEDDINGS, "all but the embeddings trains", frozen, warm=False))
    if not stack.shared:
        ladder = {**parts.trained, "layer_decay": {"formula": "beit", "rate": DECAY}}
        words = f"everything trains, each layer at {DECAY} times the rate of the one above"
        lr = rates.backbone * TOP_OF_LADDER
        found.append(Strategy(LLRD, words, (ladder, *parts.pooler, *parts.heads), warm=False, lr=lr))
    found.append(
        Strategy(
            LP_FT, "everything trains, the heads from a linear probe on", everything, warm=bool(parts.heads)
        )
    )
    found.append(Strategy(ALL, "everything trains, the heads from random values on", everything, warm=False))
    return found


def language_strategies(
    inventory: Inventory, stack: Stack, rates: StrategyRates, epochs: int
) -> list[Strategy]:
    """Return the strategies of a language model, whose head is trained already: it goes with the whole network."""
    found = strategies_for(inventory, stack, rates, epochs, own_head=True)
    kept = [item for item in found if item.name not in (FEATURES, HEADS, LP_FT)]
    words = {ALL: "everything trains"}
    return [replace(item, warm=False, words=words.get(item.name, item.words)) for item in kept]


def _counts(layers: int) -> list[int]:
    """Return 1, 2, 4 … below the number of layers.

    >>> _counts(6), _counts(1)
    ([1, 2, 4], [])
    """
    return [2**power for power in range(layers.bit_length()) if 2**power < layers]


class _Parts:
    """Hold the rules that strategies are made of."""

    def __init__(
        self, inventory: Inventory, stack: Stack, rates: StrategyRates, *, own_head: bool = False
    ) -> None:
        several = len([item for item in inventory.stacks if item.main]) > 1
        self.layers = f"{stack.path}.@layers" if several else "@layers"
        self.frozen: dict[str, Any] = {"name": "everything", "match": "**", "state": "frozen"}
        self.trained: dict[str, Any] = {"name": "everything", "match": "**", "state": "trainable"}
        roles = {role for info in inventory.tensors for role in info.roles}
        self.final_norm = ["@final_norm"] if "final_norm" in roles else []
        self.pooler = self._frozen("pooler", "@pooler") if "pooler" in roles else []
        self.embeddings = self._frozen("embeddings", "@embeddings")[0] if "embeddings" in roles else None
        tied = any(info.alias_of and info.name.startswith("heads.") for info in inventory.params)
        if self.embeddings and tied:  # One tensor is either frozen or not.
            self.embeddings["match"] = ["@embeddings", "heads"]
        heads = not own_head and any(info.name.startswith("heads.") for info in inventory.tensors)
        rule = {"name": "heads", "match": "heads", "state": "trainable", "lr": rates.heads}
        self.heads: list[dict[str, Any]] = [rule] if heads else []

    @staticmethod
    def _frozen(name: str, match: str) -> list[dict[str, Any]]:
        return [{"name": name, "match": match, "state": "frozen"}]

    def top(self, count: int) -> dict[str, Any]:
        """Return the rule that trains the top layers, and the norm behind them."""
        return {"name": "top", "match": [f"{self.layers}[-{count}:]", *self.final_norm], "state": "trainable"}


def _gradual(parts: _Parts, stack: Stack, epochs: int) -> Strategy:
    """Return gradual unfreezing that has thawed all layers in the last epoch."""
    steps = epochs - 1 if parts.heads else epochs
    table = {"over": parts.layers, "per_phase": -(-stack.length // steps), "epochs": 1}
    table |= {} if parts.heads else {"start": False}
    words = "the layers thaw from the top, some more each epoch"
    return Strategy(GRADUAL, words, (parts.frozen, *parts.heads), gradual=table)


def candidate_text(
    spec: Spec,
    strategy: Strategy,
    rates: StrategyRates,
    epochs: int,
    folder: Path,
    source: str | None,
    seed: int,
) -> str:
    """Return a whole spec as TOML, for a file in ``folder``: the given one with a strategy's rules in place of its own.

    ``source`` is where its model comes from, None for the spec's own; ``seed`` that of the run. Test data are left out.
    """
    values = tomllib.loads(spec_text(spec, folder))
    for key in ("rule", "phase", "gradual", "requires", "extends"):
        values.pop(key, None)
    optimizer = {key: value for key, value in values.get("optimizer", {}).items() if key in PLAIN_OPTIMIZER}
    train = {key: value for key, value in values.get("train", {}).items() if key not in NOT_OURS}
    values["optimizer"] = optimizer | {"lr": strategy.lr or rates.backbone}
    values.setdefault("schedule", {"name": "linear", "warmup": WARMUP})
    values["train"] = train | {"seed": seed, "keep_last": 1}
    if strategy.name in (FEATURES, HEADS):  # Nothing that tasks share trains, so there is nothing to balance.
        values["train"].pop("balancing", None)
    if strategy.gradual is None:
        values["train"]["epochs"] = epochs
    for task in values["task"]:
        task["data"].pop("test", None)
    if source is not None:
        values["model"] = from_run(values["model"], source)
    values["rule"] = [dict(rule) for rule in strategy.rules]
    if strategy.gradual is not None:
        values["gradual"] = dict(strategy.gradual)
    return tomli_w.dumps(_in_order(values))


def from_run(model: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return ``[model]`` with a run's folder as its source."""
    gone = ("source", "architecture", "config", "revision")
    return {"source": source} | {key: value for key, value in model.items() if key not in gone}


ORDER: Sequence[str] = ("version", "model", "optimizer", "schedule", "rule", "gradual", "task", "train")


def _in_order(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in ORDER if key in values}
