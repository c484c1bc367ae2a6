"""The lock beside a spec: where it lies, what it says, and whether the spec still does that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic

if TYPE_CHECKING:
    from freezeplan.cli.compiling import Compiled
    from freezeplan.plan.lock_reading import Lock

LIBRARIES = ("torch", "transformers")
# What a library writes into a config whatever the model.
UNCOUNTED = ("transformers_version", "_name_or_path")
SHOWN = 20


def lock_path(spec: Path) -> Path:
    """Return where the lock of a spec lies: ``topic.lock`` beside ``topic.toml``."""
    return spec.with_suffix(".lock")


def lock_of(work: Compiled, spec: Path) -> str:
    """Return the text of the lock of a compiled spec."""
    from freezeplan.plan.comparable import comparable
    from freezeplan.plan.document import to_record
    from freezeplan.plan.lock import lock_text

    return lock_text(comparable(to_record(work.plan)), head_of(work, spec), spec.name)


def head_of(work: Compiled, spec: Path) -> dict[str, Any]:
    """Return what a plan came from: the files of the spec, the libraries, the model and its config."""
    from freezeplan.models.sources import resolve_source
    from freezeplan.spec.digests import digest_of, digests

    plan, config = work.plan, resolve_source(work.spec).config
    model: dict[str, Any] = {"label": plan.model, "origin": plan.origin, "base": plan.base}
    if config is not None:
        model["config"] = digest_of({key: config[key] for key in config if key not in UNCOUNTED})
    return {"spec": digests(work.spec, spec.parent), "libraries": _libraries(), "model": model}


def _libraries() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    from freezeplan import __version__

    found = {"freezeplan": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def read_lock_file(path: Path) -> Lock:
    """Return the lock in a file. Raises ``DiagnosticError``: FP581 where there is none, FP582, FP583."""
    from freezeplan.diagnostics.wording import first_line
    from freezeplan.outside.regular import read_regular
    from freezeplan.plan.lock_reading import AGAIN, read_lock

    try:
        text = read_regular(path).decode("utf-8")
    except FileNotFoundError:
        spec = path.with_suffix(".toml")
        written = AGAIN.replace("again", "first").replace("SPEC", str(spec) if spec.is_file() else "SPEC")
        message, advice = f"there is no lock `{path}`", written
        raise DiagnosticError([diagnostic("FP581", message, help=advice)]) from None
    except (OSError, UnicodeDecodeError) as error:
        message = f"the lock `{path}` cannot be read: {first_line(error)}"
        raise DiagnosticError([diagnostic("FP581", message, help=AGAIN)]) from None
    return read_lock(text, str(path))


def check_locked(work: Compiled, spec: Path) -> tuple[Diagnostic, ...]:
    """Return FP580 where a compiled spec does something else than its lock says, with what differs and why.

    Nothing is raised: a lock that is missing or damaged is FP581, FP582 or FP583.
    """
    from freezeplan.diagnostics.wording import counted, first_few
    from freezeplan.plan.changes import compare
    from freezeplan.plan.comparable import comparable
    from freezeplan.plan.document import to_record
    from freezeplan.render.changes import change_lines

    path = lock_path(spec)
    try:
        lock = read_lock_file(path)
    except DiagnosticError as error:
        return error.diagnostics
    found = compare(lock.record, comparable(to_record(work.plan)))
    if not found.count:
        return ()
    causes = list(head_changes(lock.head, head_of(work, spec)))
    notes = [f"changed since it was written: {', '.join(causes)}" if causes else UNCAUSED]
    lines = change_lines(found)
    message = f"the plan is not the one in `{path}`: {counted(len(lines), 'difference')}"
    advice = f"put back what changed, or accept it: `freezeplan lock {spec} --update`, and review what changes in it"
    return (diagnostic("FP580", message, help=advice, notes=[*notes, *first_few(lines, SHOWN)]),)


UNCAUSED = (
    "the spec, the model's config and the versions are those of the lock: it was edited, or a library was "
    "changed in place"
)


def head_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs in what two plans of one spec came from, in words."""
    for name in dict.fromkeys([*before["spec"], *after["spec"]]):
        if before["spec"].get(name) != after["spec"].get(name):
            yield f"`{name}`"
    yield from surroundings(before, after)


def surroundings(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs in libraries and model, in words."""
    for name in dict.fromkeys([*before["libraries"], *after["libraries"]]):
        old, new = (side["libraries"].get(name, "none") for side in (before, after))
        if old != new:
            yield f"{name} {old} -> {new}"
    old, new = before["model"], after["model"]
    if old["label"] != new["label"]:
        yield f"the model: {old['label']} -> {new['label']}"
    if old["origin"] != new["origin"]:
        yield f"where the config comes from: {old['origin']} -> {new['origin']}"
    elif old.get("config") != new.get("config"):
        yield "the model's config"
