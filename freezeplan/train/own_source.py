"""A run's own folder as the source of its model: what it goes on from, wherever its first source has gone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from freezeplan.diagnostics import DiagnosticError, diagnostic
from freezeplan.models.run_record import file_of, read_run
from freezeplan.models.sealed import fault_of
from freezeplan.spec.tables import Spec

SPEC = "spec.toml"
CHANGING = (SPEC, "plan.json", "metrics.jsonl", "evidence.json")
WEIGHTS = ".safetensors"


def own_spec(spec: Spec, folder: Path) -> Spec:
    """Return a run's spec with its own folder as the model's source: config, tokenizer or image processor.

    A model that runs code of its own stays where it is: a run's folder does not hold that code.
    """
    if spec.model.trust_remote_code:
        return spec
    gone = {"architecture": None, "config": None, "revision": None}
    table = spec.model.model_copy(update={**gone, "source": str(folder.resolve())})
    length = {"max_length": spec.train.max_length or _length_of(folder)}
    return spec.model_copy(update={"model": table, "train": spec.train.model_copy(update=length)})


def _length_of(folder: Path) -> int | None:
    """Return the most tokens of a text in a run whose spec leaves it to the source, as ``run.json`` says."""
    try:
        run = read_run(folder)
    except (OSError, ValueError):
        return None
    found = run.everything.get("max_length") if run is not None else None
    return found if isinstance(found, int) else None


def check_own(folder: Path) -> None:
    """Check config and encoder in a run's folder against the hashes in ``run.json``.

    Raises ``DiagnosticError`` (FP521) for one that is missing or not the file that was written.
    """
    advice = "copy the file again, from a copy of the run or from the source that it began with"
    _check(folder, dict(_unchanging(_recorded(folder))), advice)


def check_spec(folder: Path) -> None:
    """Check a run's own spec against its hash; raises ``DiagnosticError`` (FP521) when it was changed."""
    advice = (
        "name the changed spec on the command line, `freezeplan train SPEC --resume …`, or put this one back"
    )
    _check(folder, {name: digest for name, digest in _recorded(folder).items() if name == SPEC}, advice)


def _check(folder: Path, expected: dict[str, str], advice: str) -> None:
    for name, digest in expected.items():
        reason = fault_of(file_of(folder, name), name, digest)
        if reason is not None:
            message = f"the run `{folder}` cannot be used: {reason}"
            raise DiagnosticError([diagnostic("FP521", message, help=advice)])


def copy_own(folder: Path, place: Path) -> None:
    """Copy config and encoder of a run's folder as they are."""
    for name in dict(_unchanging(_recorded(folder))):
        shutil.copyfile(folder / name, place / name)


def _recorded(folder: Path) -> dict[str, str]:
    """Return the hashes of the files in a run's folder; none where ``run.json`` cannot be used."""
    try:
        run = read_run(folder)
    except (OSError, ValueError):
        return {}
    return dict(run.files) if run is not None else {}


def _unchanging(files: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, digest in files.items():
        if "/" not in name and name not in CHANGING and not name.endswith(WEIGHTS):
            yield name, digest
