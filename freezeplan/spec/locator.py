"""Find where every key and value of a TOML text stands.

The locator runs after ``tomllib`` accepted the text, so it only has to know where things end, not
whether they are right. Its two laws are tested: the located paths are exactly the parsed paths, and
the text of each value's span parses to the same value. One pass, linear in the text.
"""

from __future__ import annotations

import re
import tomllib

from freezeplan.spec.locations import PART, KeyPath

Offsets = tuple[int, int]
Located = tuple[Offsets | None, Offsets | None]

SPACE = re.compile(r"[ \t]*+")
BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
SCALAR = re.compile(
    r'''
      """ (?:[^"\\]++ | \\. | "(?!""))*+ """ "{0,2}
    | \'\'\' (?:[^']++ | '(?!''))*+ \'\'\' '{0,2}
    | " (?:[^"\\\n]++ | \\.)*+ "
    | ' [^'\n]*+ '
    | \d{4}-\d{2}-\d{2}[ ]\d{2}:[^,\]}\s\#]++
    | [^,\]}\s\#"']++
    ''',
    re.VERBOSE | re.DOTALL,
)


class NotLocated(ValueError):
    """Say that the text is not whole TOML; it is raised only for texts that ``tomllib`` refuses."""


def locate(text: str) -> dict[KeyPath, Located]:
    """Map the path of every key, table and array entry to its key's and its value's offsets.

    An offset pair is (first character, one past the last). The key of a table with a header is the
    whole header (``[[rule]]``), of a dotted key's part that part alone; such tables have no value
    offsets. Entries of a written array have no key. Parents come before their children.

    Raises :class:`NotLocated` for text that ends in the middle.

    >>> locate("lr = 1")
    {('lr',): ((0, 2), (5, 6))}
    """
    scan = Scan(text)
    scan.read_document()
    return scan.places


class Scan:
    """Walk over a text once and collect places; ``last`` is the key or header finished most recently.

    ``earlier`` is where the same path was written before, if it was: on a text that ``tomllib`` refused for
    a repeated key, cut where it stopped, these two are the repeated key and its first mention.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.places: dict[KeyPath, Located] = {}
        self.last: Offsets | None = None
        self.earlier: Located | None = None
        self._counts: dict[KeyPath, int] = {}

    def read_document(self) -> None:
        """Read statement after statement until the text ends."""
        table: KeyPath = ()
        while not self._skipped_to_end():
            if self.text[self.pos] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> KeyPath:
        start = self.pos
        brackets = 2 if self.text.startswith("[[", start) else 1
        self.pos += brackets
        parts = self._key()
        path: KeyPath = ()
        for part, span in parts[:-1]:
            path = self._enter((*path, part), span)
        path = (*path, parts[-1][0])
        header = (start, self.pos + brackets)
        self.last, self.earlier = parts[-1][1], self.places.get(path)
        self._require("]" * brackets)
        if brackets == 2:
            self.places.setdefault(path, (header, None))
            self._counts[path] = self._counts.get(path, 0) + 1
            path = (*path, self._counts[path] - 1)
        self.places[path] = (header, None)
        return path

    def _enter(self, path: KeyPath, span: Offsets) -> KeyPath:
        self.places.setdefault(path, (span, None))
        return (*path, self._counts[path] - 1) if path in self._counts else path

    def _pair(self, table: KeyPath) -> None:
        *parents, (name, span) = self._key()
        path = table
        for part, part_span in parents:
            path = (*path, part)
            self.places.setdefault(path, (part_span, None))
        path = (*path, name)
        earlier = self.places.get(path)
        self._require("=")
        self._match(SPACE)
        self.places[path] = (span, None)
        self.places[path] = (span, self._value(path))
        self.last, self.earlier = span, earlier

    def _key(self) -> list[tuple[str, Offsets]]:
        parts: list[tuple[str, Offsets]] = []
        while True:
            self._match(SPACE)
            start = self.pos
            raw = self._match(PART)
            parts.append((_decoded(raw), (start, self.pos)))
            self._match(SPACE)
            if not self.text.startswith(".", self.pos):
                return parts
            self.pos += 1

    def _value(self, path: KeyPath) -> Offsets:
        start = self.pos
        if self.text.startswith("[", start):
            self._array(path)
        elif self.text.startswith("{", start):
            self._inline_table(path)
        else:
            self._match(SCALAR)
        return start, self.pos

    def _array(self, path: KeyPath) -> None:
        self.pos += 1
        index = 0
        while not self._closed_by("]"):
            entry = (*path, index)
            self.places[entry] = (None, None)
            self.places[entry] = (None, self._value(entry))
            index += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.pos += 1
        while not self._closed_by("}"):
            self._pair(path)

    def _closed_by(self, bracket: str) -> bool:
        self._match(BLANK)
        if self.text.startswith(",", self.pos):
            self.pos += 1
            self._match(BLANK)
        closed = self.text.startswith(bracket, self.pos)
        self.pos += closed
        return closed

    def _skipped_to_end(self) -> bool:
        self._match(BLANK)
        return self.pos >= len(self.text)

    def _require(self, token: str) -> None:
        if not self.text.startswith(token, self.pos):
            raise NotLocated(f"no {token!r} at offset {self.pos}")
        self.pos += len(token)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.pos)
        if found is None:
            raise NotLocated(f"nothing to read at offset {self.pos}")
        self.pos = found.end()
        return found.group()


def _decoded(raw: str) -> str:
    if raw[0] == '"' and "\\" in raw:
        return tomllib.loads(f"x = {raw}")["x"]
    return raw[1:-1] if raw[0] in "\"'" else raw
