"""A run's tensors on disk: files named by their content, so that what never changes is written once."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from freezeplan.apply.fingerprints import Fingerprints
from freezeplan.apply.formats import kept_in
from freezeplan.apply.tensors import all_tensors
from freezeplan.models.sealed import file_sha256
from freezeplan.plan.records import Plan
from freezeplan.runs.tensor_files import lend_tensors, write_tensors

FOLDER = "weights"
Phases = frozenset[int]


@dataclass
class WeightFiles:
    """Divide a model's tensors among files: together lie those that the same phases change.

    ``weights`` and ``buffers`` map the files that hold the model as it was written last to their sha256:
    parameters and persistent buffers, and the buffers that no state dict holds. ``known`` maps all files that
    are known to be whole to theirs; one of them is never written again.
    """

    model: torch.nn.Module
    plan: Plan
    weights: dict[str, str] = field(default_factory=dict)
    buffers: dict[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    _phases_of: dict[str, Phases] = field(default_factory=dict, repr=False)

    def still(self, phase: int) -> set[str]:
        """Return the files, of those written last, whose tensors a phase does not change."""
        return {file for file in (*self.weights, *self.buffers) if phase not in self._phases_of[file]}

    def write(
        self,
        folder: Path,
        home: Path | None,
        hashes: Fingerprints,
        announce: Callable[[list[list[str]]], None] = lambda files: None,
    ) -> None:
        """Write into ``folder`` what ``home``, the run's folder, does not hold yet.

        ``hashes`` are those of the model as it is now. ``announce`` is told before which tensors each file will hold:
        processes that hold parts of them lend theirs then (:meth:`lend`).
        """
        live = all_tensors(self.model)
        # Hashes go by the plan's names, files by those of the live model: in the same order.
        digests = dict(zip(live, hashes.everything.values(), strict=True))
        parts = {
            f"{FOLDER}/{_name(phases, kept)}-{_content(names, live, digests)}.safetensors": (
                phases,
                kept,
                names,
            )
            for (phases, kept), names in self._parts(live, hashes).items()
        }
        missing = {
            file: names
            for file, (_, _, names) in parts.items()
            if file not in self.known or home is None or not (home / file).is_file()
        }
        announce(list(missing.values()))
        for file, names in missing.items():
            self.known[file] = _write(folder / file, {name: live[name] for name in names})
        weights, buffers = {}, {}
        for file, (phases, kept, _) in parts.items():
            (weights if kept else buffers)[file] = self.known[file]
            self._phases_of[file] = phases
        self.weights, self.buffers = weights, buffers

    def lend(self, files: Iterable[list[str]]) -> None:
        """Take part in what another process writes, by the names of each file's tensors."""
        live = all_tensors(self.model)
        for names in files:
            lend_tensors({name: live[name] for name in names})

    def _parts(
        self, live: Mapping[str, torch.Tensor], hashes: Fingerprints
    ) -> dict[tuple[Phases, bool], list[str]]:
        """Return the names that share a file, by the phases that change them and whether a state dict has them."""
        kept = set(self.model.state_dict()) | set(dict(self.model.named_parameters()))
        parts: dict[tuple[Phases, bool], list[str]] = {}
        for name, phases in zip(live, self._phases(hashes), strict=True):
            parts.setdefault((phases, name in kept), []).append(name)
        return parts

    def _phases(self, hashes: Fingerprints) -> Iterator[Phases]:
        """Yield the phases that change each tensor: for a buffer, those that leave its module in training mode."""
        count = range(len(self.plan.phases))
        trained = [set(self.plan.names(phase, trainable=True)) for phase in count]
        for name in hashes.parameters:
            yield frozenset(phase for phase in count if name in trained[phase])
        fixed = [set(self.plan.phases[phase].eval_modules) for phase in count]
        for name in hashes.buffers:
            owner = name.rpartition(".")[0]
            yield frozenset(phase for phase in count if owner not in fixed[phase])

    def forget_but(self, kept: Collection[str]) -> None:
        """Forget all files but those in ``kept``: they are deleted."""
        for table in (self.known, self._phases_of):
            for file in [file for file in table if file not in kept]:
                del table[file]


def remove_unused(run: Path, used: Collection[str]) -> None:
    """Delete the files of tensors of a run that nothing refers to."""
    folder = run / FOLDER
    for item in folder.iterdir() if folder.is_dir() else ():
        if f"{FOLDER}/{item.name}" not in used and item.suffix == ".safetensors":
            item.unlink(missing_ok=True)


def _name(phases: Phases, kept: bool) -> str:
    return "buffers" if not kept else "trained" if phases else "frozen"


def _content(names: list[str], live: Mapping[str, torch.Tensor], digests: Mapping[str, str]) -> str:
    rows = [[name, str(kept_in(live[name])), list(live[name].shape), digests[name]] for name in names]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def _write(path: Path, tensors: Mapping[str, torch.Tensor]) -> str:
    path.parent.mkdir(exist_ok=True)
    write_tensors(path, tensors)
    _set_usual_mode(path)
    return file_sha256(path)


def _set_usual_mode(path: Path) -> None:
    """Give a file the permissions of any new file: safetensors makes its own readable by the owner alone."""
    probe = path.with_name("mode")
    probe.touch()
    shutil.copymode(probe, path)
    probe.unlink()
