"""Follow ``extends``: read the chain of specs that one builds on, and merge it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from freezeplan.diagnostics import Diagnostic, DiagnosticError, Span, diagnostic
from freezeplan.diagnostics.wording import closest, quoted
from freezeplan.spec.merging import merge
from freezeplan.spec.parsing import parse
from freezeplan.spec.sources import SourceText, UnreadableSpec, read_file, shown
from freezeplan.spec.tree import SpecNode

MAX_CHAIN = 8
PRESET = "preset:"


def preset_names() -> tuple[str, ...]:
    """Return the names of the specs that travel with the package, sorted.

    >>> "linear_probe" in preset_names()
    True
    """
    names = (item.name for item in (files("freezeplan") / "presets").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def merge_bases(root: SpecNode, path: Path | None) -> SpecNode:
    """Return a spec's tree merged over the specs it extends, ``extends`` itself taken out.

    ``path`` is the file the tree was read from; None starts relative paths at the working folder.

    Raises ``DiagnosticError`` at the ``extends`` value: FP120 (no such base, or unreadable), FP121
    (unknown preset), FP122 (a spec that extends itself), FP123 (more than 8 bases in a row); or with what is
    wrong in the base's own text.
    """
    chain = [_identity(path) if path else "a mapping"]
    folder = path.parent if path else Path()
    return _merge_bases(root, folder, chain, (_tree_of(Path(_identity(folder))), _identity(Path())))


def _tree_of(folder: Path) -> str:
    """Return the repository that a folder is in, else the folder itself."""
    return str(next((above for above in (folder, *folder.parents) if (above / ".git").exists()), folder))


def _merge_bases(root: SpecNode, folder: Path, chain: Sequence[str], trees: Sequence[str]) -> SpecNode:
    own = SpecNode({key: node for key, node in root.value.items() if key != "extends"}, root.place)
    extends = root.value.get("extends")
    if extends is None or not isinstance(extends.value, str):
        # A value of another type stays, for the validation to report.
        return root
    target = extends.value
    is_preset = target.startswith(PRESET)
    path = None if is_preset else folder / target
    identity = target if path is None else _identity(path)
    _refuse_endless(extends, identity, target, chain)
    if path is None:
        source = _preset(extends)
    else:
        # No line is shown of a file that is somewhere else, such as a secret of the machine that checks.
        source = replace(_file(extends, path), quoted=any(_is_below(identity, tree) for tree in trees))
    base = _parsed(source, extends)
    base_folder = folder if path is None else path.parent
    return merge(_merge_bases(base, base_folder, [*chain, identity], trees), own)


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _refuse_endless(extends: SpecNode, identity: str, target: str, chain: Sequence[str]) -> None:
    if identity in chain:
        ring = " extends ".join(f"`{_short(item)}`" for item in [*chain[chain.index(identity) :], identity])
        raise _error(
            extends, "FP122", f"`{shown(target)}` leads back to itself: {ring}", "take one `extends` out"
        )
    if len(chain) > MAX_CHAIN:
        raise _error(
            extends, "FP123", f"more than {MAX_CHAIN} specs extend one another", "write fewer, larger steps"
        )


def _file(extends: SpecNode, path: Path) -> SourceText:
    try:
        return read_file(path)
    except UnreadableSpec as problem:
        notes = [f"the path starts from the folder `{shown(path.parent)}`"] if problem.code == "FP001" else []
        raise _error(extends, "FP120", problem.message, problem.help, notes) from None


def _preset(extends: SpecNode) -> SourceText:
    name = extends.value.removeprefix(PRESET)
    names = preset_names()
    if name not in names:
        guess = closest(name, names, shape=f"`{PRESET}{{}}`")
        advice = f"{guess} presets" if guess else "presets"
        raise _error(extends, "FP121", f"there is no preset `{shown(name)}`", f"{advice}: {quoted(names)}")
    text = (files("freezeplan") / "presets" / f"{name}.toml").read_text("utf-8")
    return SourceText(extends.value, text, None)


def _parsed(source: SourceText, extends: SpecNode) -> SpecNode:
    try:
        return parse(source)
    except DiagnosticError as error:
        if not source.quoted:
            lines = [item.span.line for item in error.diagnostics if item.span]
            where = f" (line {lines[0]})" if lines else ""
            message = f"`{source.name}` is no spec: it is not valid TOML{where}"
            advice = (
                "its lines are not shown: it is outside the spec's repository, and outside the working folder"
            )
            raise _error(extends, "FP120", message, advice) from None
        note = f"`{source.name}` is extended by {extends.place.value or 'the spec given'}"
        raise DiagnosticError(_with_note(item, note) for item in error.diagnostics) from None


def _with_note(item: Diagnostic, note: str) -> Diagnostic:
    return diagnostic(
        item.code, item.message, span=item.span, where=item.where, help=item.help, notes=[*item.notes, note]
    )


def _error(
    extends: SpecNode, code: str, message: str, advice: str | None, notes: Sequence[str] = ()
) -> DiagnosticError:
    span: Span | None = extends.place.value
    where = None if span else "extends"
    return DiagnosticError([diagnostic(code, message, span=span, where=where, help=advice, notes=notes)])


def _identity(path: Path) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return str(path)


def _short(identity: str) -> str:
    return identity if identity.startswith(PRESET) else shown(Path(identity).name)
