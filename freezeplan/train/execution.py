"""How the frozen part of each phase runs: from a store, in eval mode, or as it is; decided once, and said."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from freezeplan.apply.tensors import parameters_by_name
from freezeplan.cost.store_rows import store_rows
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.diagnostics.wording import format_bytes
from freezeplan.plan.learning import tasks_that_ever_learn
from freezeplan.plan.storing import OFF, Pass, StoreRows, StoreUse, pass_for, rows_run
from freezeplan.prefix import Cut, PrefixStore, Prepared, Reason, Refused, StoreSettings, find_cut
from freezeplan.prefix.examples import rows_at_once
from freezeplan.prefix.spread import Share
from freezeplan.runs.events import ExecutionChosen, Observer, StoreProgress
from freezeplan.runs.run_folder import RunFolder
from freezeplan.spec.amounts import parse_bytes
from freezeplan.train.forward import EncodedSplit, Forward
from freezeplan.train.setup import Setup
from freezeplan.train.sharing import SHARED

STORE = "store"
STORED = "stored "
"""How every statement begins of a phase that runs from the store."""
PROBED_ROWS = 4
# What the tensors of an accelerator leave free is needed for activations: a store takes this share at most.
SHARE_OF_DEVICE = 4
Found = Cut | Refused


class Execution:
    """Choose how the frozen part of each phase runs, and hold the store of the run.

    ``forward`` is told of each choice. Files of the store lie in the folder of the run, under ``name``, as long as
    the run has not finished.
    """

    def __init__(self, setup: Setup, forward: Forward, run: RunFolder, name: str, observer: Observer) -> None:
        self.setup = setup
        self.forward = forward
        self.run = run
        self.name = name
        self.observer = observer
        self.share = 1.0

    @property
    def folder(self) -> Path:
        """Where files of the store lie."""
        return self.run.path / self.name

    def leave_phase(self) -> None:
        """Let forwards run as the model has them, until a phase is entered."""
        self.forward.cut = self.forward.store = None

    def enter_phase(self, phase: int, begin_folder: Callable[[], None], share: float = 1.0) -> str:
        """Find the cut of a phase that model and optimizer have entered, fill the store, and set the forward.

        ``share`` says how much of its greatest length the phase still can have.
        ``begin_folder`` is called before a file is written, if the run has no folder yet. Returns what was chosen,
        in words. Leaves no trace in the model, random state included. Raises ``DiagnosticError`` (FP485) where the
        spec requires a store and there can be none.
        """
        self.leave_phase()
        self.share = share
        if self.setup.phases[phase].course is None:
            return ""
        found = self._find(phase, None)
        if isinstance(found, Cut):
            self.forward.cut = found
        statement, prepared = self._fill(phase, found, begin_folder)
        name = self.setup.phases[phase].phase.name
        self.observer(ExecutionChosen(name, statement, dict(prepared.rebuilt) if prepared else {}))
        return statement

    def close(self) -> None:
        """Let go of the store and delete its files."""
        self.leave_phase()
        self.__dict__.pop("store", None)
        if self.run.started:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _fill(
        self, phase: int, found: Found, begin_folder: Callable[[], None]
    ) -> tuple[str, Prepared | None]:
        """Fill the store for a phase where that can be done and pays; returns what was chosen."""
        mode = self.setup.spec.train.store
        if self.setup.streams.tasks and not isinstance(found, Refused):
            return Refused(Reason.STREAMED).statement, None
        if mode == "off":
            return found.statement if isinstance(found, Refused) else f"no store: {OFF}", None
        cuts = {**self._others, phase: found}
        if mode == "require":
            self._check_required(cuts)
        try:
            wanted = self._share.agreed(lambda: self._wanted(phase, cuts), self.forward.device)
            prepared = self._prepare(wanted, begin_folder)
        except Refused as refusal:
            self._drop_all()
            if mode == "require" and isinstance(found, Cut):
                raise DiagnosticError([self._required(phase, refusal)]) from refusal
            return refusal.statement, None
        self.forward.store = self.store
        return self._stored(found), prepared

    def _wanted(self, phase: int, cuts: Mapping[int, Found]) -> list[Cut]:
        """Return a phase's cut and those of later phases that one pass serves; raises :class:`Refused`."""
        found = cuts[phase]
        if isinstance(found, Refused):
            raise found
        shared = self._pass_for(phase, cuts)
        if self.setup.spec.train.store == "auto" and not shared.pays:
            raise Refused(Reason.TOO_FEW, shared.shortage)
        return [found, *(cuts[index] for index in shared.phases if index > phase)]

    def _prepare(self, wanted: Sequence[Cut], begin_folder: Callable[[], None]) -> Prepared:
        sizes = {cut.boundary: self.store.layout(cut).nbytes for cut in wanted}
        together = self.setup.ranks.together
        if sum(sizes.values()) > self.store.settings.budget and not self.run.started and not together:
            begin_folder()
        # Another run's folder that stands in the way until this one begins holds no files of this one. Ranks that run
        # the model together have none: a disk that refuses one of them would leave the others waiting.
        folder = self.folder if self.run.started and not together else None
        self.store.settings = replace(self.store.settings, folder=folder)
        size = rows_at_once(self.forward.device.type, self.setup.spec.train.eval_batch_size)
        shared = SHARED.get()
        if shared is not None and not self.store.held:
            self.store.held.update(shared.held)
        told = self.store.prepare(wanted, size, lambda done, of: self.observer(StoreProgress(done, of)))
        if shared is not None:
            shared.keep(self.store.held)
        return told

    def _stored(self, cut: Cut) -> str:
        entries = self.store.held[cut.boundary].entries
        where = "in memory" if entries.path is None else f"in `{self.name}/`"
        share = self.store.settings.share
        where += (
            f", shared out among {share.count} processes" if share.count > 1 and not share.everywhere else ""
        )
        kind = str(entries.layout.dtype).removeprefix("torch.")
        narrow = f" of {kind}" if entries.layout.dtype != cut.dtype else ""
        return f"{cut.prefix.statement}, {format_bytes(entries.layout.nbytes)}{narrow} {where}"

    def _drop_all(self) -> None:
        """Free what no coming phase can use: after a phase without a store its weights are others."""
        store = self.__dict__.get("store")
        for boundary in list(store.held) if store else ():
            store.drop(boundary)

    def _pass_for(self, phase: int, cuts: Mapping[int, Found]) -> Pass:
        setup, rows = self.setup, self._rows
        uses = []
        for index in range(len(setup.phases)):
            found = cuts.get(index)
            prefix = found.prefix if isinstance(found, Cut) else None
            share = self.share if index == phase else 1.0
            uses.append(StoreUse(prefix, share * rows_run(setup.spec, setup.plan, index, rows)))
        return pass_for(phase, uses, rows.different)

    @cached_property
    def _rows(self) -> StoreRows:
        data = self.setup.data
        sizes = {split: {task: len(rows) for task, rows in found.items()} for split, found in data.items()}
        return store_rows(self.setup.spec, self.setup.plan, sizes)

    @cached_property
    def store(self) -> PrefixStore:
        """The store of the run; nothing is computed by asking for it."""
        train = self.setup.spec.train
        settings = StoreSettings(
            dtype=getattr(torch, train.store_dtype),
            budget=parse_bytes(train.store_budget),
            device=self._place(),
            share=self._share,
        )
        sources = {name: split.inputs for name, split in self._splits.items()}
        over_words = [name for name, split in self._splits.items() if split.kind.reads_words]
        return PrefixStore(self.setup.model, sources, self._batch, settings, over_words)

    @property
    def _share(self) -> Share:
        ranks = self.setup.ranks
        return Share(ranks.number, ranks.count, everywhere=not ranks.together)

    def _place(self) -> torch.device:
        """Return where entries in memory lie: on an accelerator that can spare the whole budget."""
        device = self.forward.device
        if device.type != "cuda":
            return torch.device("cpu")
        free, _ = torch.cuda.mem_get_info(device)
        spared = parse_bytes(self.setup.spec.train.store_budget) <= free // SHARE_OF_DEVICE
        return device if spared else torch.device("cpu")

    @cached_property
    def _splits(self) -> dict[str, EncodedSplit]:
        """The sets whose rows run again and again, by name."""
        setup = self.setup
        learning = tasks_that_ever_learn(setup.spec, setup.plan)
        trained = [split for task, split in setup.data["train"].items() if task in learning]
        return {split.name: split for split in (*trained, *setup.data["validation"].values())}

    def _batch(self, source: str, rows: Sequence[int]) -> Mapping[str, torch.Tensor]:
        return self.forward.encoder.batch(self._splits[source].inputs, rows, self.forward.device)

    @cached_property
    def _others(self) -> dict[int, Found]:
        """The cuts of all phases that train, as far as they can be told before the phase is entered."""
        training = [item.index for item in self.setup.phases if item.course is not None]
        # What settles has trained until then: no pass serves two phases, unless all of them must have a store.
        alone = self.setup.plan.freeze_when is not None and self.setup.spec.train.store != "require"
        if alone or len(training) == 1:
            return {}
        return {index: self._find(index, self._trained[index]) for index in training}

    @cached_property
    def _trained(self) -> tuple[frozenset[str], ...]:
        """The tensors that each phase trains, under the names that the live model has for them."""
        names = {id(tensor): name for name, tensor in self.setup.model.named_parameters()}
        planned = parameters_by_name(self.setup.model)
        phases = range(len(self.setup.plan.phases))
        return tuple(
            frozenset(names[id(planned[name])] for name in self.setup.plan.names(phase, trainable=True))
            for phase in phases
        )

    def _find(self, phase: int, trainable: frozenset[str] | None) -> Found:
        kept = self.setup.phases[phase].phase.kept_in_train_mode
        try:
            return find_cut(self.setup.model, self.setup.stacks, self._probe, trainable=trainable, kept=kept)
        except Refused as refusal:
            return refusal
        except (DiagnosticError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever the model's own code makes of being watched
            first = str(error).strip().partition("\n")[0]
            return Refused(Reason.UNWATCHED, f"{type(error).__name__}: {first}")

    @cached_property
    def _probe(self) -> Mapping[str, torch.Tensor]:
        """A few rows of different lengths, none of the longest: they are run several times."""
        split = next(iter((*self._splits.values(), *self.setup.streams.samples.values())))
        rows = split.longest_first[len(split) // 2 :]
        step = max(1, len(rows) // PROBED_ROWS)
        return self.forward.encoder.batch(split.inputs, rows[::step][:PROBED_ROWS], self.forward.device)

    def _check_required(self, cuts: Mapping[int, Found]) -> None:
        """Refuse a run that must have a store where a phase cannot; phases without a frozen part need none."""
        refused = {phase: found for phase, found in cuts.items() if isinstance(found, Refused)}
        if len(refused) < len(cuts):
            refused = {
                phase: found for phase, found in refused.items() if found.reason != Reason.NOTHING_FROZEN
            }
        if refused:
            raise DiagnosticError([self._required(phase, found) for phase, found in refused.items()])

    def _required(self, phase: int, refusal: Refused) -> Diagnostic:
        several = len(self.setup.phases) > 1
        where = f" in phase `{self.setup.phases[phase].phase.name}`" if several else ""
        advice = 'store = "auto" trains without one where there can be none'
        message = f'store = "require", and there is no store{where}: {refusal}'
        return self.setup.spec.locations.report(("train", "store"), "FP485", message, help=advice)
