"""Random TOML texts, valid by construction, in every style that TOML allows."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import strategies as st

NAMES = ["a", "b", "c", "rule", "lr", "0", "-", "a b", "a.b", "ü", '"', "'", "", "#", "[x]", "\\", "😀"]
PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
LINES = st.text(st.sampled_from("ab \n\t#=[]{},.'\"\\é😀\u2028"), max_size=12)
SPACES = st.sampled_from(["", " ", "  ", "\t"])
COMMENTS = st.sampled_from(["", "", "# note", "# [x] = 'y' \"z", "#", "# 😀"])


def escaped(text: str, keep: str = "") -> str:
    """Write the inside of a basic string."""
    out = []
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif char not in keep and (ord(char) < 32 or ord(char) == 127):
            out.append(f"\\u{ord(char):04x}")
        else:
            out.append(char)
    return "".join(out)


@st.composite
def keys(draw: st.DrawFn) -> str:
    """Draw one part of a key: bare, literal or basic."""
    name = draw(st.sampled_from(NAMES))
    styles = [f'"{escaped(name)}"', '"' + "".join(f"\\U{ord(char):08X}" for char in name) + '"']
    if "'" not in name:
        styles.append(f"'{name}'")
    if name.isascii() and name.replace("-", "a").isalnum():
        styles += [name] * 4
    return draw(st.sampled_from(styles))


@st.composite
def dotted_keys(draw: st.DrawFn) -> str:
    """Draw a key of one to three parts, with space around the dots."""
    parts = draw(st.lists(keys(), min_size=1, max_size=3))
    return (draw(SPACES) + "." + draw(SPACES)).join(parts)


@st.composite
def strings(draw: st.DrawFn, newline: str) -> str:
    """Draw a string of one of the four kinds."""
    kind = draw(st.sampled_from(["basic", "literal", "basic lines", "literal lines"]))
    if kind == "basic":
        return f'"{escaped(draw(PLAIN | LINES))}"'
    if kind == "literal":
        return "'" + draw(PLAIN).replace("'", "") + "'"
    text = draw(LINES)
    if kind == "literal lines":
        quotes = draw(st.sampled_from(["", "'", "''"]))
        return ("'''" + text.replace("'''", "'").rstrip("'") + quotes + "'''").replace("\n", newline)
    quotes = draw(st.sampled_from(["", '"', '""']))
    folded = draw(st.sampled_from(["", "\\\n  "]))
    return ('"""' + escaped(text, keep="\n\t") + folded + quotes + '"""').replace("\n", newline)


SCALARS = st.sampled_from(
    [
        "1",
        "+1",
        "-17",
        "1_000",
        "0xdead_BEEF",
        "0o17",
        "0b101",
        "1.5",
        "-0.0",
        "6.02e23",
        "1e-3",
        "inf",
        "-inf",
    ]
    + ["nan", "true", "false", "1979-05-27", "07:32:00", "07:32:00.999", "1979-05-27T07:32:00Z"]
    + ["1979-05-27T00:32:00.5-07:00", "1979-05-27 07:32:00", "1979-05-27 07:32:00+01:00"]
)


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[str], newline: str) -> str:
    """Draw an array, with line breaks and comments between its entries."""
    blank = st.sampled_from(["", " ", newline, f" # ], {newline}", f"{newline}\t"])
    items = draw(st.lists(inner, max_size=4))
    text = ",".join(draw(blank) + item + draw(blank) for item in items)
    trailing = "," + draw(blank) if items and draw(st.booleans()) else draw(blank)
    return f"[{text}{trailing}]"


@st.composite
def inline_tables(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """Draw an inline table; its keys may repeat, then the statement is refused."""
    pairs = draw(st.lists(st.tuples(dotted_keys(), inner), max_size=3))
    return (
        "{"
        + draw(SPACES)
        + ", ".join(f"{key}{draw(SPACES)}={draw(SPACES)}{value} " for key, value in pairs)
        + "}"
    )


def values(newline: str) -> st.SearchStrategy[str]:
    """Draw the text of a value."""
    return st.recursive(
        SCALARS | strings(newline),
        lambda inner: arrays(inner, newline) | inline_tables(inner),
        max_leaves=6,
    )


@st.composite
def statements(draw: st.DrawFn, newline: str) -> str:
    """Draw one statement with what may stand before and after it on its lines."""
    kind = draw(st.sampled_from(["pair", "pair", "pair", "table", "array", "blank"]))
    key = draw(dotted_keys())
    text = {
        "pair": lambda: f"{key}{draw(SPACES)}={draw(SPACES)}{draw(values(newline))}",
        "table": lambda: f"[{draw(SPACES)}{key}{draw(SPACES)}]",
        "array": lambda: f"[[{draw(SPACES)}{key}{draw(SPACES)}]]",
        "blank": lambda: "",
    }[kind]()
    return draw(SPACES) + text + draw(SPACES) + draw(COMMENTS)


def parsed(text: str) -> dict[str, Any] | None:
    """Return what ``tomllib`` makes of a text, None where it refuses."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


@st.composite
def toml_texts(draw: st.DrawFn) -> str:
    """Draw a valid TOML text: statement by statement, leaving out what does not fit those before."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    text = ""
    for statement in draw(st.lists(statements(newline), max_size=10)):
        longer = text + statement + newline
        text = longer if parsed(longer) is not None else text
    return text.removesuffix(newline) if draw(st.booleans()) else text


def paths_of(value: Any, path: tuple = ()) -> dict[tuple, Any]:
    """Return every path of parsed data with what stands there, the root left out."""
    found = {path: value} if path else {}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found |= paths_of(item, (*path, key))
    return found
