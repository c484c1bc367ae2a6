"""The options of a command line, in a shell script or a file of arguments, as plain data with places."""

from __future__ import annotations

import re
import shlex
from typing import Any

from freezeplan.diagnostics import Span
from freezeplan.importing.config_file import Unknown
from freezeplan.importing.yaml_file import Places
from freezeplan.spec.sources import SourceText

WORD = re.compile(r"""(?:[^\s"'\\#;&|]|\\.|"(?:[^"\\]|\\.)*"|'[^']*'|(?<=\S)\#)+|[;&|#]""", re.DOTALL)
VARIABLE = re.compile(r"\$[\w({]|`")
OPTION = re.compile(r"--([A-Za-z][\w-]*)(?:=(.*))?", re.DOTALL)


def from_command_line(source: SourceText) -> tuple[dict[Any, Any], Places]:
    """Return the options of all commands in a text under their names, with ``_`` for ``-``.

    An option without a value is True, one with several a list; one that the shell fills in is :class:`Unknown`.
    """
    data: dict[Any, Any] = {}
    places: Places = {}
    name: str | None = None
    for word, span in _words(source):
        if word in (";", "&", "|"):
            name = None
        elif option := OPTION.fullmatch(word):
            name = option[1].replace("-", "_")
            data[name] = True if option[2] is None else _plain(option[2])
            places[(name,)] = span
        elif name is not None:
            value = _plain(word)
            data[name] = value if data[name] is True else [*_as_list(data[name]), value]
            places[(name,)] = span if data[name] == value else places[(name,)]
    if data:
        places[()] = source.first
    return data, places


def _words(source: SourceText) -> list[tuple[str, Span]]:
    found = []
    for number, line in enumerate(source.lines, 1):
        going_on = line.rstrip().endswith("\\")
        for match in WORD.finditer(line):
            if match.group() == "#":
                break
            if match.group() != "\\":
                place = Span(source.name, number, match.start() + 1, len(match.group()), line)
                found.append((match.group(), place))
        if not going_on:
            found.append((";", source.span_at(number, 1)))
    return found


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _plain(word: str) -> str | bool | Unknown:
    """Return a word without its quotes, as a shell would; what a shell fills in is not known."""
    if VARIABLE.search(re.sub(r"'[^']*'", "", word)):
        return Unknown(word)
    try:
        text = "".join(shlex.split(word))
    except ValueError:  # a quote that is closed on another line
        return Unknown(word)
    return {"true": True, "false": False}.get(text.lower(), text)
