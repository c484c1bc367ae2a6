"""Slips that people make, and the advice that each must get: it names what they should have written."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.inventory.records import Inventory
from freezeplan.models.sources import inventory_for
from freezeplan.plan import compile_plan
from freezeplan.spec.reading import load_spec, load_text

TASK = {"name": "topic", "labels": ["a", "b"]}
CONFIG = {
    "model_type": "distilbert",
    "dim": 8,
    "hidden_dim": 16,
    "n_heads": 2,
    "n_layers": 6,
    "vocab_size": 32,
}
RULE = '[[rule]]\nmatch = "**"\nstate = "frozen"\n'

WRITTEN = {
    "lr = .5": "write `0.5`",
    "lr = -.5e-3": "write `-0.5`",
    "lr = 5.": "write `5.0`",
    "lr = 1e\N{MINUS SIGN}5": "write `-`",
    "lr = 1e-5,": "remove the `,`",
    "lr = 1e-5;  # fast": "remove the `;`",
    "lr = 5%": "a fraction in place of percent",
    "lr = 01": "write `1`",
    "lr = 2*1e-5": "write the number itself",
    "lr = 10^-5": "write the number itself",
    "lr == 5": "write one `=`",
    "lr: 5": "`key = value`",
    "lr = none": "leave the key out",
    "name = 'it's'": "an apostrophe in double quotes",
    'name = "C:\\users"': "in single quotes",
    "name = \N{LEFT DOUBLE QUOTATION MARK}top\N{RIGHT DOUBLE QUOTATION MARK}": "write straight ones",
    "name = \N{LEFT SINGLE QUOTATION MARK}top\N{RIGHT SINGLE QUOTATION MARK}": "write straight ones",
    "name = top": '"top"',
    "expect = { tensors = 4,\nparameters = 3 }": "on one line",
    "expect = 4": "write `expect = { tensors = 4 }`",
    "layer_decay = 0.9": '`layer_decay = { formula = "beit", rate = 0.9 }`',
    'layer_decay = "beit"': '`layer_decay = { formula = "beit", rate = 0.8 }`',
    "layer_decay = { rate = 0.9 }": '`formula = "beit"`',
    '[[task]]\nname = "a"\n[task]\nname = "b"': "write `[[task]]`, with two brackets",
    '[[phase]]\nepochs = 1\n[phase.rule]\nmatch = "**"': "write `[[rule]]`, with two brackets",
}
STATES = {
    "unfrozen": "trainable", "Unfreeze": "trainable", "thawed": "trainable", "not frozen": "trainable",
    "train": "trainable", "tunable": "trainable", "trainabel": "trainable", "freeze": "frozen", "untrainable": "frozen",
    "non-trainable": "frozen",
    "locked": "frozen", "FROZEN": "frozen",
}  # fmt: skip
PATTERNS = {
    ".*bias": "`re:` in front",
    r"layer\.\d+\.attention": "`re:` in front",
    "^heads.*$": "`re:` in front",
    "transformer.layer.(4|5)": "`re:` in front",
    "transformer.layer.[45]": "`{4,5}`",
    "transformer.layer.[4,5]": "`{4,5}`",
    "transformer.layer.[4:5]": "`{4..5}`",
    "transformer.layer.[4]": "`4`",
    "transformer.layer.{4-5}": "`{4..5}`",
    "transformer.layer.{4:5}": "`{4..5}`",
    "transformer.layer.{4...5}": "`{4..5}`",
    "transformer.layer.{5..4}": "`{4..5}`",
    "transformer.layer.4-5": "`{4..5}`",
    "@bias, @norm": '["@bias", "@norm"]',
    "@bias,@norm": '["@bias", "@norm"]',
    "@layers[:2] heads": '["@layers[:2]", "heads"]',
    "distilbert.transformer.layer.4": "leave `distilbert` out",
    "module.backbone.transformer": "leave `module` out: there is a `backbone.transformer`",
    "backbone.distilbert.transformer": "leave `distilbert` out",
    "classifier": "`@heads`",
    "lm_head.weight": "`@heads`",
    '"@heads"': "take the quotes inside the quotes out",
    "transfomer.layer.4": "did you mean `transformer`?",
    "transformer.layers": "did you mean `layer`?",
}


def refused(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(DiagnosticError) as caught:
        load_text(text, Path("spec.toml"))
    return caught.value.diagnostics


@pytest.mark.parametrize("line", WRITTEN)
def test_what_is_no_spec_gets_the_advice_that_mends_it(line: str) -> None:
    assert WRITTEN[line] in (refused(f"{RULE}{line}\n")[0].help or "")


@pytest.mark.parametrize("word", STATES)
def test_a_state_by_another_word_is_never_taken_for_its_opposite(word: str) -> None:
    (found,) = refused(RULE.replace("frozen", word))
    assert (found.help or "").startswith(f'did you mean "{STATES[word]}"?')


@lru_cache(maxsize=1)
def model() -> Inventory:
    return inventory_for(load_spec({"model": {"config": CONFIG}, "task": [TASK]}))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_in_another_language_gets_the_advice_that_mends_it(pattern: str) -> None:
    rules = [{"match": "**", "state": "frozen"}, {"match": pattern, "state": "trainable"}]
    with pytest.raises(DiagnosticError) as caught:
        compile_plan(model(), load_spec({"task": [TASK], "rule": rules}))
    assert PATTERNS[pattern] in (caught.value.diagnostics[0].help or "")


def test_the_advice_of_a_pattern_can_be_followed() -> None:
    for pattern in (
        "transformer.layer.{4..5}",
        "transformer.layer.{4,5}",
        "backbone.transformer",
        "@heads",
        "heads",
    ):
        rules = [{"match": "**", "state": "frozen"}, {"match": pattern, "state": "trainable"}]
        assert compile_plan(model(), load_spec({"task": [TASK], "rule": rules})).ever_trained
