"""Reading a spec: what is accepted, what is refused and where, and that nothing else escapes."""

from __future__ import annotations

import os
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from freezeplan.diagnostics import DiagnosticError, in_file_order
from freezeplan.spec.checks import NOT_PROPERTIES
from freezeplan.spec.fields import fields_of
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Rule, Spec
from freezeplan.spec.validators import TAKEN_NAMES, TASK_NAME
from tests.spec.strategies import toml_texts

QUICK = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
GOOD = """\
version = 1
[model]
source = "weights"
class = "AutoModel"
[optimizer]
lr = 2e-5
betas = [0.9, 0.98]
[[rule]]
name = "all"
match = "**"
state = "frozen"
[[rule]]
match = ["@layers[-2:]", '@norm']
except = "@bias"
state = "trainable"
lr_mult = 0.5
override = ["all", "no_decay"]
expect = { tensors = 4 }
[train]
epochs = 2
"""


def problems(source: object) -> list:
    """Load what must be refused and return the diagnostics."""
    with pytest.raises(DiagnosticError) as caught:
        load_spec(source)
    return list(caught.value.diagnostics)


def only(source: object) -> object:
    """Load what must be refused for one reason and return it."""
    (item,) = problems(source)
    return item


@pytest.fixture
def spec_file(tmp_path: Path):
    """Write a text or bytes as a spec file and return its path."""

    def write(content: str | bytes, name: str = "spec.toml") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def test_a_file_becomes_a_spec(spec_file) -> None:
    spec = load_spec(spec_file(GOOD))
    assert spec.model.class_ == "AutoModel"
    assert spec.optimizer.betas == [0.9, 0.98]
    assert [rule.match for rule in spec.rule] == [["**"], ["@layers[-2:]", "@norm"]]
    assert spec.rule[1].except_ == ["@bias"]
    assert spec.rule[1].expect.tensors == 4
    assert spec.train.batch_size == 32


def test_a_mapping_gives_the_same_spec_as_the_file(spec_file) -> None:
    mapping = {
        "version": 1,
        "model": {"source": Path("weights"), "class": "AutoModel"},
        "optimizer": MappingProxyType({"lr": 2e-5, "betas": (0.9, 0.98)}),
        "rule": (
            {"name": "all", "match": "**", "state": "frozen"},
            {
                "match": ("@layers[-2:]", "@norm"),
                "except": "@bias",
                "state": "trainable",
                "lr_mult": 0.5,
                "override": ["all", "no_decay"],
                "expect": {"tensors": 4},
            },
        ),
        "train": {"epochs": 2},
    }
    assert load_spec(mapping).model_dump() == load_spec(spec_file(GOOD)).model_dump()


def test_a_path_may_be_a_string(spec_file) -> None:
    path = spec_file(GOOD)
    assert load_spec(str(path)) == load_spec(path)


def test_a_spec_that_was_read_is_returned_as_it_is(spec_file) -> None:
    spec = load_spec(spec_file(GOOD))
    assert load_spec(spec) is spec


def test_a_spec_built_in_python_is_checked() -> None:
    rule = Rule(match=["a"], state="frozen", except_=["a"])
    assert only(Spec(rule=[rule])).code == "FP124"
    assert load_spec(Spec(rule=[Rule(match=["a"], state="frozen")])).rule[0].match == ["a"]


def test_places_point_at_keys_and_values(spec_file) -> None:
    path = spec_file(GOOD)
    where = load_spec(path).locations
    span = where.value(("rule", 1, "match", 1))
    assert (span.file, span.line, span.column, span.length) == (str(path), 13, 26, 7)
    assert span.text == "match = [\"@layers[-2:]\", '@norm']"
    assert (where.key(("rule", 1)).line, where.key(("rule", 1)).column) == (12, 1)
    assert where.within(("rule", 1, "match", 0), 1, 6).column == 12
    assert where.within(("rule", 0, "match", 0), 0, 2).column == 10
    assert where.directory_of(("model", "source")) == path.parent


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_breaks_and_a_byte_order_mark_do_not_move_places(spec_file, newline: str, mark: bytes) -> None:
    item = only(spec_file(mark + f"[train]{newline}# ü{newline}seed = 'ü'{newline}".encode()))
    assert (item.code, item.span.line, item.span.column, item.span.length) == ("FP103", 3, 8, 3)
    assert item.span.text == "seed = 'ü'"


def test_an_empty_file_is_an_empty_spec(spec_file) -> None:
    assert load_spec(spec_file("")).model_dump() == Spec().model_dump()


def test_the_schema_comment_and_ties_of_a_table_do_not_disturb(spec_file) -> None:
    spec = load_spec(spec_file("#:schema freezeplan.schema.json\ntrain.epochs = 1\ntrain.seed = 2\n"))
    assert (spec.train.epochs, spec.train.seed) == (1, 2)


def test_a_missing_file_names_its_neighbour(spec_file) -> None:
    path = spec_file(GOOD, "quickstart.toml")
    item = only(path.with_name("quikstart.toml"))
    assert item.code == "FP001"
    assert item.help == f"did you mean `{path}`?"


def test_a_missing_file_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert only(tmp_path / "no" / "spec.toml").code == "FP001"


def test_a_folder_is_refused_and_its_specs_named(spec_file) -> None:
    item = only(spec_file(GOOD).parent)
    assert item.code == "FP002"
    assert "`spec.toml`" in item.help


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(spec_file) -> None:
    path = spec_file(GOOD)
    path.chmod(0)
    assert only(path).code == "FP002"


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\ud800"])
def test_a_path_the_system_does_not_take_is_refused(name: str) -> None:
    item = only(name)
    assert item.code in ("FP001", "FP002")
    item.message.encode("utf-8")


def test_an_empty_path_names_no_spec() -> None:
    assert only("").code == "FP009"


def test_toml_text_given_for_a_path_is_refused() -> None:
    assert only('[[rule]]\nmatch = "**"\n').code == "FP001"


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "spec.toml"
    link.symlink_to(link)
    assert only(link).code == "FP002"


def test_one_mebibyte_is_read_and_a_byte_more_is_not(spec_file) -> None:
    limit = 1 << 20
    assert load_spec(spec_file("#" * limit)).rule == []
    assert only(spec_file("#" * (limit + 1))).code == "FP003"


def test_text_that_is_not_utf8_is_refused_at_its_byte(spec_file) -> None:
    item = only(spec_file("# ü\nname = 'x\u00e9'".encode() + b"\xe9'\n"))
    assert item.code == "FP004"
    assert item.message.startswith("byte 18 ") and "0xe9" in item.message
    assert (item.span.line, item.span.column) == (2, 12)


def test_utf16_is_named(spec_file) -> None:
    assert "UTF-16" in only(spec_file("version = 1".encode("utf-16"))).help


@pytest.mark.parametrize("source", [None, 5, b"x", ["a"], {1, 2}])
def test_what_is_no_spec_is_refused(source: object) -> None:
    assert only(source).code == "FP009"


@pytest.mark.parametrize(
    ("text", "line", "column", "help_part"),
    [
        ("a = True", 1, 5, "write `true`"),
        ("a = None", 1, 5, "leave the key out"),
        ("a = frozen", 1, 5, '"frozen"'),
        ("a: 1", 1, 2, "key = value"),
        ("a = 'x", 1, 7, "not closed"),
        ('a = "x\nb = 1', 1, 7, "close the string"),
        ('a = "\\d"', 1, 8, "single quotes"),
        ("[[rule]\na = 1", 1, 7, "two brackets"),
        ("[rule\na = 1", 1, 6, "[model]"),
        ("a = 1 b = 2", 1, 7, "line of its own"),
        ("a = [1 2]", 1, 8, "commas"),
        ("a = {b = 1", 1, 11, "commas"),
        ("\n\na = [1,\n\n", 3, 8, "a value is"),
        ("ü = 1", 1, 1, None),
        ("a = 1\n= 2", 2, 1, None),
    ],
)
def test_broken_toml_points_at_the_break(
    spec_file, text: str, line: int, column: int, help_part: str
) -> None:
    item = only(spec_file(text))
    assert (item.code, item.span.line, item.span.column) == ("FP005", line, column)
    assert help_part is None or help_part in item.help


@pytest.mark.parametrize(
    ("text", "line", "column", "name", "first"),
    [
        ("a = 1\nb = 2\na = [\n3]\n", 3, 1, "a", 1),
        ("[a]\nx = 1\n[b]\n[ a ]\n", 4, 3, "a", 1),
        ("[a]\nb.c = 1\n[a.b]\n", 3, 4, "b", 2),
        ("a = {b = 1, c.d = 2, c.d = 3}\n", 1, 24, "d", 1),
        ("a = {b = 1}\na.c = 2\n", 2, 3, "c", None),
        ("a = 1\n[a]\n", 2, 2, "a", 1),
        ("a = 1\n[[a]]\n", 2, 3, "a", 1),
        ("a = {b = {x = 1}}\na = {b = {x = 1}}\n", 2, 1, "a", 1),
    ],
)
def test_a_repeated_key_is_found_with_its_first_mention(spec_file, text, line, column, name, first) -> None:
    item = only(spec_file(text))
    assert (item.code, item.span.line, item.span.column) == ("FP006", line, column)
    assert f"`{name}`" in item.message
    assert item.notes == ((f"`{name}` was first written on line {first}",) if first else ())


def test_depth_does_not_hide_an_earlier_break(spec_file) -> None:
    item = only(spec_file("a = frozen\nx = " + "[" * 5000))
    assert (item.code, item.span.line) == ("FP005", 1)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 200_000,
        "x = " + "{a=" * 200_000,
        ".".join("a" * 300_000) + " = 1",
        "[" + ".".join("a" * 300_000) + "]",
        "[model.config]\nx = " + "[" * 64 + "]" * 64,
    ],
    ids=["brackets", "braces", "dotted key", "header", "just allowed by the text"],
)
def test_bombs_are_diagnostics(spec_file, text: str) -> None:
    assert problems(spec_file(text))[0].code in ("FP007", "FP117")


def test_a_mapping_that_holds_itself_is_refused() -> None:
    mapping: dict = {"model": {}}
    mapping["model"]["config"] = mapping
    assert only(mapping).code == "FP007"


@pytest.mark.parametrize(
    "number", ["0x" + "f" * 30_000, "-" + "9" * 300, "9" * 90_000, "9223372036854775808"]
)
@pytest.mark.parametrize(
    "key", ["train.epochs", "optimizer.lr", "schedule.warmup", "version", "extends", "nothing"]
)
def test_huge_integers_are_diagnostics(spec_file, number: str, key: str) -> None:
    assert problems(spec_file(f"{key} = {number}"))[0].code in ("FP005", "FP008")


def test_the_largest_integer_is_a_number(spec_file) -> None:
    assert load_spec(spec_file("train.seed = 9223372036854775807")).train.seed == 2**63 - 1


@pytest.mark.parametrize(
    ("text", "code", "message", "help_part"),
    [
        (
            "[optimizer]\nlr = '2e-5'",
            "FP103",
            '`lr` must be a number, not the string "2e-5"',
            "without quotes",
        ),
        ("[optimizer]\nlr = 'fast'", "FP103", '`lr` must be a number, not the string "fast"', None),
        ("[optimizer]\nlr = 1979-05-27", "FP103", "`lr` must be a number, not a date or time", None),
        ("[train]\nepochs = 3.0", "FP103", "`epochs` must be a whole number, not 3.0", "write 3"),
        ("[train]\nepochs = true", "FP103", "`epochs` must be a whole number, not true", None),
        ("[model]\ntrust_remote_code = 'True'", "FP103", "true or false", "write true without quotes"),
        ("[model]\nrevision = 5", "FP103", "`revision` must be a string, not 5", 'quotes: "5"'),
        ("[[rule]]\nmatch = 5\nlr = 1", "FP103", "a string or an array of strings", None),
        ("[rule]", "FP103", "`rule` must be an array of tables, not a table", "`[[rule]]`"),
        ("[[model]]", "FP103", "`model` must be a table, not an array", "`[model]`"),
        ("rule = ['**']", "FP103", "entry 1 of `rule` must be a table", None),
        ("[[task]]\nname = 't'\nlabels = 'a'", "FP103", "an array", '`labels = ["a"]`'),
        ("[optimizer]\nlr = -1", "FP104", "`lr` must be greater than 0, not -1", None),
        ("[optimizer]\neps = -1.5", "FP104", "`eps` must be at least 0, not -1.5", None),
        ("[[task]]\nname = 't'\ndropout = 1.0", "FP104", "`dropout` must be less than 1, not 1.0", None),
        (
            "[[task]]\nname = 't'\ndata = { train = 'a', stream = true, steps_per_epoch = 10000001 }",
            "FP104",
            "`steps_per_epoch` must be at most 10000000, not 10000001",
            None,
        ),
        ("[optimizer]\nlr = nan", "FP104", "`lr` must be a finite number, not nan", "default is 2e-05"),
        (
            "[[task]]\nname = 't'\nclass_weights = { lr = 0 }",
            "FP104",
            "`lr` must be greater",
            "leave out its rows",
        ),
        ("[[task]]\nname = 't'\nweight = 0", "FP104", "`weight` must be greater than 0", "remove it"),
        ("[train]\nepochs = 0", "FP104", "`epochs` must be at least 1, not 0", "the default is 3"),
        ("[[rule]]\nmatch = []\nstate = 'frozen'", "FP104", "`match` must not be empty", None),
        ("[train]\nmixing = 'alternat'", "FP105", "`mixing` cannot be", 'mean "alternate"?'),
        ("[train]\nmixing = true", "FP105", "`mixing` cannot be true", '"joint"'),
        ("[[task]]\nname = 'a'\nkind = 'NER'", "FP105", "`kind` cannot be", 'mean "token_classification"?'),
        ("[[task]]\nname = 'a'\nkind = 'sts'", "FP105", "`kind` cannot be", 'mean "similarity"?'),
        ("[[task]]\nname = 'a'\nkind = 'sentiment'", "FP105", "`kind` cannot be", 'mean "classification"?'),
        ("[[task]]\nname = 'a'\nkind = 'multilabel'", "FP105", "`kind` cannot be", 'mean "multi_label"?'),
        ("[[task]]\nname = 'a'\nkind = 'lm'", "FP105", "`kind` cannot be", 'mean "causal_lm"?'),
        ("[train]\nprecision = 'bfloat16'", "FP105", "`precision` cannot be", 'mean "bf16"?'),
        ("[train]\nprecision = 'float16'", "FP105", "`precision` cannot be", 'mean "fp16"?'),
        ("[train]\nprecision = 'fp32'", "FP105", "`precision` cannot be", 'mean "float32"?'),
        ("[optimzer]\nlr = 1", "FP101", "unknown key `optimzer` in the spec", "mean `optimizer`?"),
        ("lr = 1", "FP101", "unknown key `lr` in the spec", "is a key of `[optimizer]` and of `[[rule]]`"),
        ("[train]\nlearning_rate = 1", "FP101", "in `[train]`", "`lr` is a key of"),
        ("[optimizer]\nlearning-rate = 1", "FP101", "in `[optimizer]`", "did you mean `lr`?"),
        (
            "[[rule]]\nmatch='a'\nepochs = 1",
            "FP101",
            "in `[[rule]]`",
            "`epochs` is a key of `[[phase]]` and of `[gradual]` and of `[train]`",
        ),
        ("[[rule]]\nmatch='a'\nexcpt = 'b'", "FP101", "in `[[rule]]`", "mean `except`?"),
        ("[model]\nclas = 'b'", "FP101", "in `[model]`", "mean `class`?"),
        (
            "[[rule]]\nmatch='a'\nexpect = { zzz = 1 }\nlr=1",
            "FP101",
            "in `[rule.expect]`",
            "`parameters`, `tensors`",
        ),
        ("[[task]]", "FP102", "`[[task]]` has no `name`", None),
    ],
)
def test_messages_say_what_was_written_and_what_is_wanted(spec_file, text, code, message, help_part) -> None:
    item = problems(spec_file(text))[0]
    assert item.code == code
    assert message in item.message
    assert help_part is None or help_part in item.help


def test_a_mapping_is_told_where_by_key_path() -> None:
    items = problems(
        {"rule": [{"match": "a", "state": "frozen"}, {"match": ["b", 5], "lr_mul": 1}], "trian": {}}
    )
    assert [(item.code, item.where, item.span) for item in items] == [
        ("FP101", "rule[2].lr_mul", None),
        ("FP103", "rule[2].match[2]", None),
        ("FP101", "trian", None),
    ]


@pytest.mark.parametrize(
    "mapping",
    [
        {1: 2},
        {"model": {"config": {1: 2}}},
        {"rule": {"a": object()}},
        {"model": {"source": "\ud800"}},
        {None: 1},
    ],
    ids=["number", "number inside", "object", "half a surrogate", "none"],
)
def test_odd_mappings_are_refused(mapping: dict) -> None:
    found = problems(mapping)
    assert found
    for item in found:
        assert str(item).encode("utf-8")


def test_a_misspelt_property_is_one_problem_not_two() -> None:
    assert [item.code for item in problems({"rule": [{"match": "a", "lr_mul": 2.0}]})] == ["FP101"]


def test_a_rule_without_a_name_goes_by_its_patterns() -> None:
    rules = [
        {"match": ["a", "b"], "state": "frozen"},
        {"match": "c", "state": "trainable", "override": "a, b"},
    ]
    assert load_spec({"rule": rules}).rule[1].override == ["a, b"]
    assert only({"rule": rules[::-1]}).code == "FP112"


def test_eval_mode_may_refine_an_earlier_freeze() -> None:
    rules = [{"match": "**", "state": "frozen"}, {"match": "a", "eval_mode": False}]
    assert load_spec({"rule": rules}).rule[1].eval_mode is False


def test_infinity_is_allowed_inside_a_model_config(spec_file) -> None:
    spec = load_spec(spec_file("[model.config]\nmodel_type = 'mamba2'\ntime_step_limit = [0.0, inf]\n"))
    assert spec.model.config["time_step_limit"][1] == float("inf")


def test_optional_keys_may_be_none_in_a_mapping() -> None:
    spec = load_spec({"rule": [{"match": "a", "lr": None, "lr_mult": 2.0}], "train": {"clip_norm": None}})
    assert spec.train.clip_norm is None


def test_no_head_can_be_called_what_its_container_calls_something_else() -> None:
    torch = pytest.importorskip("torch")
    attributes = {name for name in dir(torch.nn.ModuleDict()) if TASK_NAME.fullmatch(name)}
    assert attributes <= TAKEN_NAMES


def test_what_is_not_a_property_is_still_a_key() -> None:
    assert set(fields_of(Rule)) > NOT_PROPERTIES


def check_refused_or_read(path: Path) -> None:
    """Read a file: a spec, or diagnostics that can be shown and stand in file order."""
    try:
        spec = load_spec(path)
    except DiagnosticError as error:
        assert error.diagnostics
        assert error.diagnostics == in_file_order(error.diagnostics)
        for item in error.diagnostics:
            assert item.message.isprintable()
            assert item.span is None or 1 <= item.span.column <= len(item.span.text) + 1
    else:
        assert isinstance(spec, Spec)


@QUICK
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
@example(b"\r")
@example(b"\x00")
def test_any_bytes_are_read_or_refused(spec_file, content: bytes) -> None:
    check_refused_or_read(spec_file(content))


@QUICK
@given(toml_texts())
def test_any_toml_is_read_or_refused(spec_file, text: str) -> None:
    check_refused_or_read(spec_file(text))


@QUICK
@given(
    st.integers(0, len(GOOD)),
    st.integers(0, 12),
    st.sampled_from(
        ["", "=", "[", "]", "'", '"', "{", "}", "\n", "#", ".", "5", "inf", '"""', "é", "\0", "[[rule]]\n"]
    ),
)
def test_a_good_spec_with_a_scar_is_read_or_refused(spec_file, start: int, length: int, patch: str) -> None:
    check_refused_or_read(spec_file(GOOD[:start] + patch + GOOD[start + length :]))


KEYS = sorted(
    {"rule", "nothing", *fields_of(Spec), *fields_of(Rule), "name", "labels", "data", "config", "epochs"}
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([b"", 1j, ()]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)


@QUICK
@given(st.dictionaries(st.sampled_from(KEYS).filter(lambda key: key != "extends"), VALUES, max_size=5))
@example({"requires": {"alpha": "\x1b", "a\x1b": ">=1"}})
def test_any_mapping_is_read_or_refused(mapping: dict) -> None:
    try:
        spec = load_spec(mapping)
    except DiagnosticError as error:
        assert all(item.span is None for item in error.diagnostics)
        assert all(item.message.isprintable() for item in error.diagnostics)
    else:
        assert load_spec(spec) is spec
