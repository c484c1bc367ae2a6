"""A laid-out text reads the same, holds the same comments, and is laid out the same way again."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given

from freezeplan.spec.formatting import formatted
from freezeplan.spec.lexical import TOKEN
from tests.spec.strategies import toml_texts
from tests.spec.test_locator import NASTY

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    path for folder in ("specs", "examples", "freezeplan/presets") for path in (ROOT / folder).glob("*.toml")
)


def comments(text: str) -> list[str]:
    """Return the comments of a TOML text, in order."""
    tokens = (found.group() for found in TOKEN.finditer(text.replace("\r\n", "\n")))
    return [token.rstrip() for token in tokens if token.startswith("#")]


def check_laws(text: str) -> None:
    after = formatted(text)
    assert repr(tomllib.loads(after)) == repr(tomllib.loads(text))
    assert comments(after) == comments(text)
    assert formatted(after) == after
    assert not re.search(r"\A\s", after) and not after.endswith("\n\n")


@given(toml_texts())
@example("a = [ # first\n 1 # one\n , # after\n 2, 3 # three\n # last\n]\n")
@example("a = [[1, [2,\n3]], {b = [\n4]}]")
@example("# top\n\n\n# of a\n[a]\n\n# of b\nb=1\n# of c\n[[c]]\n[c.d]\n")
def test_the_laws(text: str) -> None:
    check_laws(text)


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_the_laws_for_odd_texts(text: str) -> None:
    check_laws(text)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_shipped_is_laid_out(path: Path) -> None:
    assert formatted(path.read_text("utf-8")) == path.read_text("utf-8")


def test_how_it_is_laid_out() -> None:
    before = """

#:schema x.json
a . b=1# one
  c =  [1,2 , 3,]   # far
d = { x=1,y = "z" , }
[t]

e = [
1, # one
  # above two
[2, 3]]

f = '''
  kept '''
# of r
[[ r ]]
g = {}
[r.s]


h = 1
""".replace(", }", " }")
    assert (
        formatted(before)
        == """#:schema x.json
a.b = 1  # one
c = [1, 2, 3]   # far
d = { x = 1, y = "z" }

[t]
e = [
    1,  # one
    # above two
    [2, 3],
]

f = '''
  kept '''

# of r
[[r]]
g = {}
[r.s]
h = 1
"""
    )


def test_lines_end_as_the_first_one_does() -> None:
    assert formatted("a=1\r\nb=[\n1]\n") == "a = 1\r\nb = [\r\n    1,\r\n]\r\n"


def test_a_form_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to read"):
        formatted("a = { # a comment\n b = 1 }\n")
