"""YAML and JSON as plain data with places; keys that are written twice are an error."""

from __future__ import annotations

import re
from typing import Any

import yaml

from freezeplan.diagnostics import DiagnosticError, Span, diagnostic
from freezeplan.spec.locations import KeyPath
from freezeplan.spec.sources import SourceText

MOST_VALUES = 100_000
COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)
Places = dict[KeyPath, Span]


def from_yaml(source: SourceText) -> tuple[dict[Any, Any], Places]:
    """Return the table that a text holds, and the place of every value.

    A comment of `//` on a line of its own, and tabs between values, are taken as blanks: JSON has them.
    """
    text = COMMENT.sub(lambda found: " " * len(found.group()), source.text).replace("\t", " ")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        places = _places(node, source) if node is not None else {}
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        raise _broken(source, error.problem or "it cannot be read", error.problem_mark) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _broken(source, str(error) or "it is nested too deep", None) from None
    if not isinstance(data, dict):
        raise _broken(source, "it holds no keys", None)
    return data, places


def _places(root: yaml.Node, source: SourceText) -> Places:
    found: Places = {}
    todo: list[tuple[yaml.Node, KeyPath]] = [(root, ())]
    while todo:
        node, path = todo.pop()
        found[path] = _span(source, node)
        if len(found) > MOST_VALUES:
            raise ValueError(f"it holds more than {MOST_VALUES:,} values")
        if isinstance(node, yaml.SequenceNode):
            todo += [(entry, (*path, index)) for index, entry in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            todo += _pairs(node, path, source)
    return found


def _pairs(node: yaml.MappingNode, path: KeyPath, source: SourceText) -> list[tuple[yaml.Node, KeyPath]]:
    pairs, keys = [], set()
    for key, value in node.value:
        name = _key(key)
        if name in keys:
            raise _broken(source, f"`{name}` is written twice", key.start_mark)
        keys.add(name)
        pairs.append((value, (*path, name)))
    return pairs


def _key(node: yaml.Node) -> str | int:
    text = str(node.value)
    return int(text) if node.tag.endswith(":int") and text.isdecimal() else text


def _span(source: SourceText, node: yaml.Node) -> Span:
    start, end = node.start_mark, node.end_mark
    line = source.lines[min(start.line, len(source.lines) - 1)]
    length = end.column - start.column if end.line == start.line else len(line) - start.column
    return Span(source.name, start.line + 1, start.column + 1, max(length, 1), line)


def _broken(source: SourceText, problem: str, mark: Any) -> DiagnosticError:
    span = (
        source.first
        if mark is None
        else source.span_at(min(mark.line + 1, len(source.lines)), mark.column + 1)
    )
    advice = (
        "YAML, JSON, a Python config (.py) and a command line (.sh) can be read; render jsonnet to JSON first"
    )
    return DiagnosticError(
        [diagnostic("FP190", f"the config cannot be read: {problem}", span=span, help=advice)]
    )
