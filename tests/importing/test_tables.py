"""What the tools' own code did with configs in public use, and what the imported specs do: the same, or a reason."""

from __future__ import annotations

import pytest

from benchmarks.imports import TRAINER, Compared, compare_cases, imported, public_configs, tables
from freezeplan.diagnostics import DiagnosticError
from freezeplan.importing import PEER_NAMES, translating
from freezeplan.importing.peers import PEERS
from freezeplan.importing.writing import SpecWriter
from freezeplan.spec.formatting import formatted
from freezeplan.spec.reading import load_text

RECORDED = tuple(tables()["versions"])


def test_every_tool_has_a_table() -> None:
    assert {*RECORDED} == {*PEERS} == {*PEER_NAMES}
    assert tuple(PEERS) == PEER_NAMES and set(TRAINER) <= set(PEERS)


@pytest.mark.parametrize("peer", RECORDED)
def test_each_config_does_the_same_or_is_refused_with_a_reason(peer: str) -> None:
    found = list(compare_cases(peer))
    assert [item for item in found if item.verdict == "different"] == []
    assert len({item.case["text"] for item in found if item.verdict == "equal"}) >= 7
    assert len(public_configs(found)) >= 8


def test_a_difference_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in tables()["cases"] if case["peer"] == "axolotl")
    wrong = {**case["results"], "llama": case["results"]["bert"]}
    monkeypatch.setitem(case, "results", {"llama": wrong["llama"]})
    assert [item.verdict for item in compare_cases("axolotl") if item.case is case] == ["different"]


def case_of(peer: str, source: str) -> dict:
    return next(case for case in tables()["cases"] if (case["peer"], case["source"]) == (peer, source))


def test_a_spec_that_does_something_else_is_never_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SpecWriter.text
    monkeypatch.setattr(SpecWriter, "text", lambda self: whole(self).replace('"lm_head', '"model.norm'))
    monkeypatch.setattr(translating, "SpecWriter", SpecWriter)
    with pytest.raises(DiagnosticError, match="cannot be said as a spec: `model.norm.weight`"):
        imported(case_of("axolotl", "layers by number"), "llama")


def accidents(found: list[Compared]) -> list[str]:
    return [accident for item in found if item.model == "llama" for accident in item.accidents]


def test_two_readings_that_differ_want_a_choice() -> None:
    case = case_of("axolotl", "layers by number")
    with pytest.raises(DiagnosticError) as refused:
        imported(case, "llama", meant=None)
    assert [item.code for item in refused.value.diagnostics] == ["FP195", "FP192"]
    literal, meant = (
        set(imported(case, "llama", meant=way).plan.names(trainable=True)) for way in (False, True)
    )
    assert {name.split(".")[2] for name in literal - meant} == {"10", "11"} and meant < literal


def test_without_accidents_that_matter_no_choice_is_wanted() -> None:
    case = case_of("axolotl", "layers by number, with its dot")
    assert imported(case, "llama", meant=None).plan == imported(case, "llama", meant=True).plan


@pytest.mark.parametrize("peer", RECORDED)
def test_the_text_is_laid_out_and_says_where_it_comes_from(peer: str) -> None:
    cases = [case for case in tables()["cases"] if case["peer"] == peer]
    case = next(case for case in cases if any(type(result) is list for result in case["results"].values()))
    model = next(name for name, result in case["results"].items() if isinstance(result, list))
    text = imported(case, model).text
    assert formatted(text) == text
    assert f"# {case['file']} of {PEERS[peer].TITLE}, literally, for " in text
    assert "data, batches, number formats, schedule and epochs\n# are not." in text
    assert load_text(text, translating.Path("s.toml")).rule


def test_what_cannot_be_shown_on_one_line_stays_in_its_comment() -> None:
    text = 'base_model: m\ndatasets: []\nunfrozen_parameters: ["lm_head|\\n[model]\\nx", lm_head]\n'
    done = imported({**case_of("axolotl", "layers by number"), "text": text}, "llama")
    assert done.plan.names(trainable=True) == ("lm_head.weight",)
    assert "# 3: unfrozen_parameters: lm_head" in done.text and "\n[model]\nx" not in done.text


def test_a_tied_tensor_goes_by_all_of_its_names() -> None:
    case = {
        **case_of("axolotl", "layers by number"),
        "text": "base_model: m\ndatasets: []\nunfrozen_parameters: [transformer.wte]\n",
    }
    done = imported(case, "gpt2")
    assert done.plan.names(trainable=True) == ("transformer.wte.weight",)
    assert "lm_head" in done.text
