"""The locator's two laws: its paths are the parsed paths, and each value's span parses to that value."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings

from freezeplan.spec.lexical import MAX_DEPTH, find_excess
from freezeplan.spec.locator import NotLocated, Scan, locate
from tests.spec.strategies import paths_of, toml_texts

NASTY = {
    "empty": "",
    "only a comment": "# nothing",
    "no last line break": "a = 1",
    "carriage returns": "a = 1\r\nb = [\r\n  1, # c\r\n  2,\r\n]\r\n",
    "dotted keys share a table": "a.b = 1\na.c.d = 2\n",
    "spaces around dots": "a . \"b\" . 'c' = 1\n",
    "a key with a dot": '"a.b" = 1\n[ "c.d" . e ]\nx = 1\n',
    "empty key": '"" = 1\n["a".""]\n',
    "escaped key": '"\\u0061\\"" = 1\n',
    "number for a key": "1.2 = 3\n",
    "table after its child": "[a.b]\nx = 1\n[a]\ny = 2\n",
    "array of tables": "[[r]]\nx = 1\n[[r]]\n[r.s]\ny = 2\n[[r.t]]\n[[r.t]]\nz = 3\n[[r]]\n",
    "tables in arrays of tables": "[[a]]\n[[a.b]]\n[[a.b.c]]\nx = 1\n[[a]]\n[a.b]\ny = 1\n",
    "dotted header over an array": "[[a.b]]\nc.d = 1\n[a.b.e.f]\ng = 1\n",
    "inline": "a = { b = { c = [ { d = 1 }, {} ] }, e.f = 'x' }\n",
    "inline in array": "rule = [ { match = 'a' }, { match = ['b', 'c'] }, ]\n",
    "nested arrays": 'a = [[1, 2], [], [["x"]]]\n',
    "brackets in strings": "a = ['[', \"]\", '''}''', \"{\", '#']\n",
    "brackets in comments": "a = [ # ]\n 1, # [\n # {\n 2 ]\n",
    "equals and hashes in strings": 'a = "x = 1 # no" # yes\n',
    "escapes": 'a = "\\"]\\\\"\nb = 1\n',
    "quotes at the end": "a = \"\"\"x\"\"\"\"\"\nb = '''y'''''\nc = 1\n",
    "only quotes": 'a = """"""\nb = \'\'\'\'\'\'\nc = """"a"""\n',
    "escaped quotes in many lines": 'a = """\\""" + \\\\"""\nb = 1\n',
    "folded": 'a = """\\\n   x\\\n\n   y"""\nb = 1\n',
    "dates with a space": "a = [1979-05-27 07:32:00, 1979-05-27]\nb = 1979-05-27 # 07:32\n",
    "line separators": "a = 'x\u2028y\u0085z'\nb = 1\n",
    "beyond the basic plane": "'😀' = '😀'\nb = [ '😀', 1 ]\n",
    "no space": "a=1\nb=[1,2]\nc={d=1,e='f'}\n",
    "tabs": "\ta\t=\t1\t# x\n\t[\tb\t]\t\n",
}


def assert_laws(text: str) -> None:
    data = tomllib.loads(text)
    located, parsed = locate(text), paths_of(data)
    assert set(located) == set(parsed)
    for path, (_, value) in located.items():
        if value is not None:
            start, end = value
            assert repr(tomllib.loads(f"x = {text[start:end]}")["x"]) == repr(parsed[path])


def assert_keys_name_their_paths(text: str) -> None:
    for path, (key, _) in locate(text).items():
        if key is None:
            assert isinstance(path[-1], int)
            continue
        raw = text[slice(*key)]
        body = raw.strip("[]") if raw.startswith("[") else raw
        written = max(paths_of(tomllib.loads(f"{body} = 1")), key=len)
        assert written[-1] == [part for part in path if isinstance(part, str)][-1]


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_the_laws_hold_for_hand_written_texts(text: str) -> None:
    assert_laws(text)


@settings(max_examples=300, deadline=None)
@given(toml_texts())
def test_the_laws_hold_for_any_text(text: str) -> None:
    assert_laws(text)


@settings(max_examples=150, deadline=None)
@given(toml_texts())
def test_each_key_names_the_end_of_its_path(text: str) -> None:
    assert_keys_name_their_paths(text)


@settings(max_examples=150, deadline=None)
@given(toml_texts())
def test_only_tables_with_headers_or_dots_have_no_value(text: str) -> None:
    parsed = paths_of(tomllib.loads(text))
    for path, (key, value) in locate(text).items():
        assert key is not None or value is not None
        if value is None:
            assert isinstance(parsed[path], (dict, list))


@settings(max_examples=150, deadline=None)
@given(toml_texts())
def test_parents_come_before_their_children(text: str) -> None:
    seen: set[tuple] = {()}
    for path in locate(text):
        assert path[:-1] in seen
        seen.add(path)


@settings(max_examples=150, deadline=None)
@given(toml_texts())
def test_any_text_cut_short_is_located_or_refused(text: str) -> None:
    for end in range(0, len(text), 3):
        try:
            located = locate(text[:end])
        except NotLocated:
            continue
        for spans in located.values():
            assert all(0 <= span[0] < span[1] <= end for span in spans if span)


def test_keys_and_headers_stand_where_they_are_written() -> None:
    text = 'x.y = 1\n[[rule]]\nmatch = ["a", "b"]\n[ t . "u" ]\nv = { w = 2 }\n'
    found = {
        path: tuple(span and text[slice(*span)] for span in spans) for path, spans in locate(text).items()
    }
    assert found == {
        ("x",): ("x", None),
        ("x", "y"): ("y", "1"),
        ("rule",): ("[[rule]]", None),
        ("rule", 0): ("[[rule]]", None),
        ("rule", 0, "match"): ("match", '["a", "b"]'),
        ("rule", 0, "match", 0): (None, '"a"'),
        ("rule", 0, "match", 1): (None, '"b"'),
        ("t",): ("t", None),
        ("t", "u"): ('[ t . "u" ]', None),
        ("t", "u", "v"): ("v", "{ w = 2 }"),
        ("t", "u", "v", "w"): ("w", "2"),
    }


def test_a_later_header_is_the_place_of_a_table_that_a_child_began() -> None:
    text = "[a.b]\n[a]\n"
    assert locate(text)[("a",)] == ((6, 9), None)


def test_each_entry_of_an_array_of_tables_has_its_own_header() -> None:
    text = "[[r]]\n[[r]]\n"
    assert [locate(text)[("r", index)][0] for index in (0, 1)] == [(0, 5), (6, 11)]


@pytest.mark.parametrize(
    "text", ["a", "a =", "a = [1", "a = {b = 1", '"a', "[a", "[[a]", "a = 'x", "= 1", "a = ]"]
)
def test_half_a_text_is_refused(text: str) -> None:
    with pytest.raises(NotLocated):
        locate(text)


@pytest.mark.parametrize(
    "piece",
    ["x{} = 1\n", "[t{}]\na.b = 'c'\n", "[[r]] # {}\n", "x{} = [1, {{a = 2}}]\n", 'x{} = """a\\"b"""\n'],
)
def test_twice_the_text_takes_twice_the_work(piece: str) -> None:
    # Calls of the scanner's one matching step stand for time: they are the same on every machine.
    def steps(count: int) -> int:
        calls = 0

        class Counting(Scan):
            def _match(self, pattern):
                nonlocal calls
                calls += 1
                return super()._match(pattern)

        Counting("".join(piece.format(index) for index in range(count))).read_document()
        return calls

    assert steps(400) <= 2 * steps(200) + 2


def test_depth_counts_brackets_and_dots() -> None:
    assert find_excess("x = " + "[" * MAX_DEPTH + "]" * MAX_DEPTH) is None
    assert find_excess("x = " + "[" * (MAX_DEPTH + 1)).what == "depth"
    assert find_excess(".".join("a" * (MAX_DEPTH + 1)) + " = 1") is None
    assert find_excess(".".join("a" * (MAX_DEPTH + 2)) + " = 1").what == "depth"
    assert find_excess("x = " + "{a.b = " * 32 + "1" + "}" * 32) is None
    assert find_excess("x = " + "{a.b = " * 33).what == "depth"


def test_depth_is_not_counted_in_strings_comments_or_siblings() -> None:
    many = "[" * 100
    assert (
        find_excess(
            f"a = '{many}' # {many}\nb = \"{many}\"\nc = '''\n{many}\n'''\nd = \"\"\"\n{many}\n\"\"\""
        )
        is None
    )
    assert find_excess("x = [" + "[1.5, 2.5], " * 100 + "]\n" + "[t.u]\na.b = 1\n" * 100) is None


def test_long_numbers_are_found_where_they_stand() -> None:
    text = "a = '" + "9" * 500 + "'\nb = -" + "9" * 500
    found = find_excess(text)
    assert (found.what, text[found.start :]) == ("digits", "-" + "9" * 500)


@settings(max_examples=150, deadline=None)
@given(toml_texts())
def test_ordinary_texts_are_neither_deep_nor_long(text: str) -> None:
    assert find_excess(text) is None
