"""From another tool's config to a spec that does the same on a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import format_rate, quoted
from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers import PEERS
from freezeplan.importing.proof import differences, wanted
from freezeplan.importing.reading import Reading
from freezeplan.importing.unread import not_taken_over, refuse_unread
from freezeplan.importing.writing import Origin, SpecWriter
from freezeplan.plan import compile_plan
from freezeplan.plan.records import Plan
from freezeplan.spec.reading import load_text

READINGS = {False: "literally", True: "as it is meant"}


@dataclass(frozen=True)
class Imported:
    """A spec that does what a config does, its plan, and what was found on the way."""

    text: str
    plan: Plan
    title: str
    findings: tuple[Diagnostic, ...]


def peer_of(config: ConfigFile, name: str | None = None) -> ModuleType:
    """Return the reader of the tool that a config is of: the one named, or the first that knows it by its keys.

    Raises ``DiagnosticError`` (FP191) where none does.
    """
    if name is not None:
        return PEERS[name]
    found = next((peer for peer in PEERS.values() if config.data and peer.recognises(config)), None)
    if found is None:
        message = "the config has no key by which its tool is known, or says nothing of what trains"
        raise config.error((), "FP191", message, f"name the tool by --from: {quoted(PEERS)}")
    return found


def translate(
    config: ConfigFile,
    peer: ModuleType,
    model: ModelNames,
    table: Mapping[str, Any],
    path: Path,
    *,
    meant: bool | None = None,
    lr: float | None = None,
) -> Imported:
    """Return the spec for a config, compiled and proved to do the same, tensor by tensor.

    ``table`` is what the spec's ``[model]`` holds, ``path`` where the spec will stand, ``lr`` a base rate that the
    config does not have. ``meant`` chooses between what the config does and what it evidently should do. Settings that
    are not read are named at the top of the spec; one that may change what trains is refused.
    Raises ``DiagnosticError``: FP192 where these two differ and none is chosen, FP193 for what cannot be said, FP194
    for what is an error there.
    """
    config.read.clear()
    chosen = _with_rate(peer.read(config, model, bool(meant)), lr)
    refuse_unread(config)
    if meant is None and _differs(chosen, _with_rate(peer.read(config, model, True), lr)):
        raise DiagnosticError([*chosen.findings, _undecided(config)])
    file, left = Path(config.source.name).name, tuple(not_taken_over(config))
    origin = Origin(file, peer.TITLE, READINGS[bool(meant)], model.inventory.label, left)
    text = SpecWriter(model, chosen, table, origin).text()
    plan = compile_plan(model.inventory, load_text(text, path))
    found = next(differences(plan, wanted(chosen, model, plan.optimizers[0].lr)), None)
    if found is not None:
        raise config.error((), "FP193", f"the config cannot be said as a spec: {found}")
    return Imported(text, plan, peer.TITLE, (*chosen.findings, *_not_given(config, chosen, plan)))


def _not_given(config: ConfigFile, reading: Reading, plan: Plan) -> Iterator[Diagnostic]:
    """Note the base values that the config leaves to code of its tool's user."""
    if reading.lr is None:
        message = f"the base rate is not in the config: {format_rate(plan.optimizers[0].lr)} is freezeplan's default"
        yield config.finding((), "FP196", message, "give it by --lr")
    if reading.weight_decay is None:
        yield config.finding((), "FP196", "the weight decay is not in the config: it is 0 in the spec")


def _with_rate(reading: Reading, lr: float | None) -> Reading:
    """Return a reading with the rate that is given; raises what it says of having none."""
    if reading.lr is None and lr is None and reading.without_rate is not None:
        raise reading.without_rate
    return replace(reading, lr=reading.lr if lr is None else lr)


def _differs(one: Reading, other: Reading) -> bool:
    def numbers(reading: Reading) -> list[dict[str, Any]]:
        return [{name: what for name, (what, _) in phase.outcome.items()} for phase in reading.phases]

    return numbers(one) != numbers(other)


def _undecided(config: ConfigFile) -> Diagnostic:
    message = "what this config does and what it evidently should do are two different things"
    advice = "choose: --literal for what it does, --intended for what it should do"
    return diagnostic("FP192", message, span=config.source.first, help=advice)
