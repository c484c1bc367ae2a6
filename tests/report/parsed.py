"""A page as a parser reads it: its elements in order, each with its attributes, its place and its text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})


@dataclass
class Element:
    """Hold one element; ``text`` is all that stands in it."""

    name: str
    attributes: dict[str, str]
    above: Element | None
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, name: str = "") -> Iterator[Element]:
        """Yield the elements in it, of a name."""
        for child in self.children:
            if name in ("", child.name):
                yield child
            yield from child.all(name)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {}, None)
        self.here = self.root

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(found)
        if tag not in VOID:
            self.here = found

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.here.children.append(Element(tag, {name: value or "" for name, value in attrs}, self.here))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.here.name, f"</{tag}> ends <{self.here.name}>"
        assert self.here.above is not None
        self.here = self.here.above

    def handle_data(self, data: str) -> None:
        place: Element | None = self.here
        while place is not None:
            place.text += data
            place = place.above


def parsed(page: str) -> Element:
    """Return the root of a page; every element that is opened must be closed, in order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.here is reader.root
    return reader.root
