"""Read a spec: text or mapping in, a validated :class:`Spec` that knows where it was written out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.outside.given_path import NoPath, given_path
from freezeplan.spec.checks import check_all, check_values
from freezeplan.spec.document import Document
from freezeplan.spec.extends import merge_bases
from freezeplan.spec.locations import NOWHERE, Locations
from freezeplan.spec.parsing import parse
from freezeplan.spec.patterns import pattern_problems
from freezeplan.spec.phase_checks import check_phases
from freezeplan.spec.problems import as_diagnostic
from freezeplan.spec.sources import SourceText, UnreadableSpec, read_file, shown
from freezeplan.spec.tables import Spec
from freezeplan.spec.tree import SpecNode, flatten, from_mapping


def load_spec(source: str | Path | Mapping[str, Any] | Spec) -> Spec:
    """Read a spec from a TOML file or a mapping, merge what it extends, and check all of it.

    A ``str`` is a path, never TOML text. A mapping takes the keys a file would (``except``, ``class``);
    its relative paths start from the working folder. A ``Spec`` that was read before is returned as it is,
    one built in Python is checked first. The result's ``extends`` is None: the bases are merged into it.

    Returns the spec; ``spec.locations`` knows the place of every key and value.

    Raises ``DiagnosticError`` with all problems in file order (codes FP001-FP009 and FP101-FP145). Problems
    of a file's own text or of its bases come alone, since nothing after them could be trusted.

    >>> load_spec({"rule": [{"match": "**", "state": "frozen"}]}).rule[0].state
    'frozen'
    """
    if isinstance(source, Spec):
        if source.locations is not NOWHERE:
            return source
        source = source.model_dump(by_alias=True, exclude_unset=True)
    if isinstance(source, Mapping):
        return _validated(merge_bases(from_mapping(source), None), None)
    path = _path(source)
    return _validated(merge_bases(_read(path), path), path.parent)


def _path(source: object) -> Path:
    try:
        return given_path(source)
    except NoPath as problem:
        message = f"a spec is a path, a mapping or a Spec, not a {type(source).__name__}"
        if isinstance(source, str):
            message = f"no spec is named: {problem}"
        raise DiagnosticError(
            [diagnostic("FP009", message, help="give the path of a TOML file, or a dict")]
        ) from None


def load_text(text: str, path: Path) -> Spec:
    """Read the text of a spec as if it stood in the file at ``path``, which need not exist.

    Returns and raises what :func:`load_spec` does.
    """
    root = parse(SourceText(shown(path), text, path.parent))
    return _validated(merge_bases(root, path), path.parent)


def _read(path: Path) -> SpecNode:
    try:
        return parse(read_file(path))
    except UnreadableSpec as problem:
        raise DiagnosticError([problem.as_diagnostic()]) from None


def _validated(root: SpecNode, directory: Path | None) -> Spec:
    data, places = flatten(root)
    locations = Locations(places, directory)
    document = Document(data, locations)
    _raise_any(locations, check_values(document))
    problems = [*check_all(document), *check_phases(document), *pattern_problems(data)]
    try:
        spec = Spec.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += [as_diagnostic(document, dict(item)) for item in error.errors(include_url=False)]
    _raise_any(locations, problems)
    return spec.with_locations(locations)


def _raise_any(locations: Locations, problems: Iterable[Diagnostic]) -> None:
    found = locations.attach(problems)
    if found:
        raise DiagnosticError(found)
