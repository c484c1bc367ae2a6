"""Diagnostics where a review shows them: as annotations of GitHub, and as SARIF for what reads that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from freezeplan.diagnostics import Diagnostic, Severity, Span
from freezeplan.diagnostics.registry import entry

SARIF_VERSION = "2.1.0"
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
"""OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0, 2020,
https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html."""
COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
IN_TEXT = {"%": "%25", "\r": "%0D", "\n": "%0A"}
IN_PROPERTY = {**IN_TEXT, ":": "%3A", ",": "%2C"}


@dataclass(frozen=True)
class Finding:
    """A diagnostic about a spec: where it has no place in a file of its own, it stands at the spec's first line."""

    spec: str
    diagnostic: Diagnostic

    @property
    def span(self) -> Span | None:
        """The place, where it is in a file that a review can show."""
        span = self.diagnostic.span
        return span if span is not None and not span.file.startswith("preset:") else None

    @property
    def file(self) -> str:
        """The file that it stands at, with ``/`` between folders."""
        return Path(self.span.file if self.span else self.spec).as_posix()

    @property
    def text(self) -> str:
        """The message, then the advice and the notes, one a line."""
        item = self.diagnostic
        advice = [f"help: {item.help}"] if item.help else []
        return "\n".join([item.message, *advice, *(f"note: {note}" for note in item.notes)])


def github_lines(findings: Iterable[Finding]) -> list[str]:
    """Return one workflow command of GitHub per finding.

    >>> from freezeplan.diagnostics import diagnostic
    >>> github_lines([Finding("a.toml", diagnostic("FP581", "there is no lock `a.lock`"))])
    ['::error file=a.toml,line=1,title=FP581%3A no lock beside the spec::there is no lock `a.lock`']
    """
    return [_command(item) for item in findings]


def _command(item: Finding) -> str:
    code = item.diagnostic.code
    keys = {"file": item.file, **_place(item.span), "title": f"{code}: {entry(code).title}"}
    listed = ",".join(f"{key}={_escaped(str(value), IN_PROPERTY)}" for key, value in keys.items())
    return f"::{COMMANDS[item.diagnostic.severity]} {listed}::{_escaped(item.text, IN_TEXT)}"


def _place(span: Span | None) -> dict[str, int]:
    if span is None:
        return {"line": 1}
    return {"line": span.line, "col": span.column, "endColumn": span.column + span.length}


def _escaped(text: str, marks: dict[str, str]) -> str:
    return "".join(marks.get(char, char) for char in text)


def sarif_record(findings: Sequence[Finding], version: str) -> dict[str, Any]:
    """Return findings as a SARIF log of one run, as plain JSON types; ``version`` is this program's."""
    codes = sorted({item.diagnostic.code for item in findings})
    driver = {"name": "freezeplan", "version": version, "rules": [_rule(code) for code in codes]}
    results = list(_results(findings, codes))
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SARIF_SCHEMA, "version": SARIF_VERSION, "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    known = entry(code)
    return {
        "id": code,
        "shortDescription": {"text": known.title},
        "fullDescription": {"text": known.what},
        "help": {"text": f"{known.why}\n\n{known.fix}"},
        "defaultConfiguration": {"level": known.severity},
    }


def _results(findings: Iterable[Finding], codes: Sequence[str]) -> Iterator[dict[str, Any]]:
    for item in findings:
        code = item.diagnostic.code
        place = {"artifactLocation": {"uri": quote(item.file)}, "region": _region(item.span)}
        yield {
            "ruleId": code,
            "ruleIndex": codes.index(code),
            "level": str(item.diagnostic.severity),
            "message": {"text": item.text},
            "locations": [{"physicalLocation": place}],
            **_fixes(item),
        }


def _fixes(item: Finding) -> dict[str, Any]:
    """Return the one change that is certain to be meant, where there is one."""
    fix = item.diagnostic.fix
    if fix is None or item.span is None:
        return {}
    replaced = {"deletedRegion": _region(item.span), "insertedContent": {"text": fix.text}}
    change = {"artifactLocation": {"uri": quote(item.file)}, "replacements": [replaced]}
    return {"fixes": [{"description": {"text": f"write {fix.text}"}, "artifactChanges": [change]}]}


def _region(span: Span | None) -> dict[str, int]:
    if span is None:
        return {"startLine": 1}
    return {"startLine": span.line, "startColumn": span.column, "endColumn": span.column + span.length}
