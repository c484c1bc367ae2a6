"""The store of a run: what is computed once, where it lies, and forwards that start from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from freezeplan.diagnostics.wording import format_bytes
from freezeplan.prefix.build import build_entries
from freezeplan.prefix.entries import Entries, Layout, layout_of
from freezeplan.prefix.examples import Examples
from freezeplan.prefix.files import StoreFile, free_bytes, mapped, state_of
from freezeplan.prefix.keeping import Recording
from freezeplan.prefix.keys import Key, store_key
from freezeplan.prefix.parts import POOLED, STATES, parts_layout
from freezeplan.prefix.refusal import Reason, Refused
from freezeplan.prefix.replay import Cut, replaying
from freezeplan.prefix.spread import UNSHARED, Share
from freezeplan.spec.amounts import DEFAULT_BUDGET, parse_bytes

Batch = Mapping[str, torch.Tensor]
MakeBatch = Callable[[str, Sequence[int]], Batch]


@dataclass(frozen=True)
class StoreSettings:
    """Say how entries are kept: number format, bytes of memory, and the folder for files beyond (or None).

    ``device`` is where entries in memory lie; the device of the model saves a transfer per step. Processes that
    ``share`` the store have the budget each; those that hold their own rows alone have no files.
    """

    dtype: torch.dtype = torch.float32
    budget: int = parse_bytes(DEFAULT_BUDGET)
    folder: Path | None = None
    device: torch.device = torch.device("cpu")
    share: Share = UNSHARED


@dataclass(frozen=True)
class Prepared:
    """Say what :meth:`PrefixStore.prepare` did: boundaries computed, found, and left for their phase to compute.

    ``rebuilt`` tells for boundaries whose file was there but of no use what was wrong with it.
    """

    built: tuple[str, ...]
    found: tuple[str, ...]
    left: tuple[str, ...]
    rebuilt: Mapping[str, str]


@dataclass(frozen=True)
class Held:
    """Hold one boundary's entries and what they were made from."""

    key: Key
    entries: Entries

    def serves(self, key: Key | None) -> bool:
        """Whether the entries are those of a key, and nobody has written to their file."""
        return self.key == key and self.entries.unchanged


class PrefixStore:
    """Compute what lies below a model's cuts once per distinct input, and run forwards from it.

    ``sources`` maps names (a split of a task) to encoded inputs; ``make_batch`` takes such a name and rows and
    returns the model's inputs. ``over_words`` names the sets whose task has a head over words. Nothing is computed
    before :meth:`prepare`.
    """

    def __init__(
        self,
        model: nn.Module,
        sources: Mapping[str, object],
        make_batch: MakeBatch,
        settings: StoreSettings | None = None,
        over_words: Collection[str] = (),
    ) -> None:
        self.model = model
        self.examples = Examples(sources, over_words)
        self.make_batch = make_batch
        self.settings = settings or StoreSettings()
        self.held: dict[str, Held] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of everything that is held."""
        return sum(held.entries.layout.nbytes for held in self.held.values())

    def layout(self, cut: Cut) -> Layout:
        """Return how a cut's entries lie, and hence how many bytes they take."""
        if cut.in_parts:
            return parts_layout(cut, self.examples.wanted, self.settings.dtype)
        return layout_of(cut, len(self.examples), self.examples.lengths, self.settings.dtype)

    def prepare(
        self, cuts: Sequence[Cut], batch_size: int = 32, progress: Callable[[int, int], None] | None = None
    ) -> Prepared:
        """Make sure that entries of the first cut are there, made from the present weights.

        ``cuts`` are those of the present phase and of later ones. Entries of other boundaries, or made from
        other weights, are dropped. What is missing is computed in one pass, ``batch_size`` inputs at a time;
        later boundaries take part while the memory's budget lasts (files: half of what is free). ``progress``
        is called with the inputs that are done and their number. When this fails, or is interrupted, nothing
        half-written is left. Raises :class:`Refused`, with the numbers, when budget or disk do not suffice.
        """
        wanted: dict[str, Cut] = {}
        for cut in cuts:
            wanted.setdefault(cut.boundary, cut)
        known: dict[str, str] = {}
        keys = {name: self._key(cut, known) for name, cut in wanted.items()}
        held = list(self.held.items())
        for name in [name for name, item in held if self._anywhere(not item.serves(keys.get(name)))]:
            self.drop(name)
        rebuilt = self._open_files(wanted, keys)
        found = tuple(name for name in wanted if name in self.held)
        targets = self._targets([cut for name, cut in wanted.items() if name not in found], keys, cuts[0])
        if targets:
            built = build_entries(
                self.model,
                targets,
                self.examples,
                self.make_batch,
                batch_size,
                progress,
                self.settings.share,
            )
            self.held.update({name: Held(keys[name], entries) for name, entries in built.items()})
        left = tuple(name for name in wanted if name not in self.held)
        return Prepared(tuple(target.cut.boundary for target in targets), found, left, rebuilt)

    def replaying(self, cut: Cut, source: str, rows: Sequence[int]) -> AbstractContextManager[None]:
        """Run forwards of some rows within the block from their entries."""
        places, device = self.examples.entries[source], next(self.model.parameters()).device
        entries, chosen = self.held[cut.boundary].entries, places[list(rows)].tolist()
        if cut.in_parts:
            fetch = partial(self._part, entries, chosen, source in self.examples.over_words)
        else:
            fetch = partial(entries.batch, chosen)

        def stored(inputs: Batch) -> torch.Tensor:
            if inputs and len(next(iter(inputs.values()))) != len(chosen):
                raise Refused(Reason.DATA_CHANGED, "a batch has another number of rows than were asked for")
            return fetch(inputs, device, cut.dtype)

        return replaying(self.model, cut, stored)

    def _part(
        self,
        entries: Entries,
        chosen: Sequence[int],
        over_words: bool,
        _: Batch,
        device: torch.device,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Return what the head of a task reads of some entries, laid out as the model's heads take it."""
        layout = entries.layout
        name, places = (
            (STATES, layout.state_places(chosen)) if over_words else (POOLED, layout.pooled_places(chosen))
        )
        return self.model.laid_out({name: entries.at(places, device, dtype)})

    def _key(self, cut: Cut, known: dict[str, str]) -> Key:
        inputs = self.examples.digest + (self.examples.wanted.digest if cut.in_parts else "")
        return store_key(self.model, cut, inputs, self.settings.dtype, known)

    def drop(self, boundary: str) -> None:
        """Forget a boundary's entries and delete their file."""
        held = self.held.pop(boundary, None)
        if held is not None and held.entries.path is not None:
            StoreFile(held.entries.path.parent, boundary).remove()

    def _open_files(self, wanted: Mapping[str, Cut], keys: Mapping[str, Key]) -> dict[str, str]:
        """Hold what an earlier run left in the folder, and say what is wrong with the rest."""
        faults: dict[str, str] = {}
        if self.settings.folder is None:
            return faults
        missing = [name for name in wanted if name not in self.held]
        for name in missing:
            file = StoreFile(self.settings.folder, name)
            fault = file.fault(keys[name])
            if fault is None:
                layout = self.layout(wanted[name])
                values = mapped(file.numbers, layout.shape, layout.dtype)
                entries = Entries(layout, values, file.numbers, state_of(file.numbers))
                self.held[name] = Held(keys[name], entries)
            elif fault != "missing":
                faults[name] = fault
                file.remove()
        for name in missing:
            if self._anywhere(name not in self.held):
                self.held.pop(name, None)
        return faults

    def _anywhere(self, here: bool) -> bool:
        return self.settings.share.any(here, next(self.model.parameters()).device)

    def _targets(self, missing: Sequence[Cut], keys: Mapping[str, Key], first: Cut) -> list[Recording]:
        """Choose where each missing boundary goes, and which later ones must wait."""
        in_memory = sum(
            self._bytes(held.entries.layout) for held in self.held.values() if held.entries.path is None
        )
        on_disk = 0
        targets = []
        for cut in missing:
            layout, now = self.layout(cut), cut.boundary == first.boundary
            if in_memory + self._bytes(layout) <= self.settings.budget:
                in_memory += self._bytes(layout)
                targets.append(Recording(cut, layout, keys[cut.boundary], self.settings.device, None))
            elif self._fits_disk(on_disk + layout.nbytes, now):
                on_disk += layout.nbytes
                file = StoreFile(self.settings.folder, cut.boundary)
                targets.append(Recording(cut, layout, keys[cut.boundary], self.settings.device, file))
            elif now:
                raise Refused(Reason.BUDGET, self._shortage(self._bytes(layout)))
        return targets

    def _bytes(self, layout: Layout) -> int:
        """Return the bytes of a process's share of some entries: the same number in each, so that all decide alike."""
        share = self.settings.share
        return layout.nbytes if share.everywhere else -(-layout.nbytes // share.count)

    def _fits_disk(self, size: int, now: bool) -> bool:
        folder = self.settings.folder
        return folder is not None and not self._anywhere(size > free_bytes(folder) // (1 if now else 2))

    def _shortage(self, size: int) -> str:
        folder = self.settings.folder
        beyond = (
            "there is no folder for a file"
            if folder is None
            else f"`{folder}` has {format_bytes(free_bytes(folder))} free"
        )
        return f"{format_bytes(size)} are needed, {format_bytes(self.settings.budget)} allowed, and {beyond}"
