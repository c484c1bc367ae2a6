"""Of a whole backbone that heads over words read, the states of words are stored, and pooled vectors for the rest."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeplan.models.multitask import MultiTaskModel
from freezeplan.prefix import Cut, PrefixStore, Reason, StoreSettings, find_cut
from freezeplan.prefix.examples import Examples
from freezeplan.prefix.head_inputs import head_inputs_of
from freezeplan.prefix.parts import PartsLayout
from freezeplan.train.tokens import EncodedTexts, encoded_texts
from tests.prefix.stores import encoded, refused
from tests.prefix.toys import HIDDEN, Backbone, stack_of

IDS = [[5, 6, 7, 8, 9], [5, 6], [11, 12, 13], [14, 15, 16, 17, 18, 19, 20]]
# Which word each token begins: of the first row two words, the second of two pieces, between special tokens.
WORDS = [[0, 1, 2, 0, 0], [1, 2], [1, 2, 3], [0, 1, 0, 2, 3, 0, 0]]
COUNT = sum(word > 0 for row in WORDS for word in row)
TEXTS = [*IDS[:2], [30, 31, 32]]


def words(ids: list[list[int]], begins: list[list[int]]) -> EncodedTexts:
    return encoded_texts(
        {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids], "words": begins}
    )


SOURCES = {"tags": words(IDS, WORDS), "topic": encoded(TEXTS)}


def batch(source: str, rows: list[int]) -> dict[str, torch.Tensor]:
    fillers = {"input_ids": 0, "attention_mask": 0}
    return {name: torch.from_numpy(SOURCES[source].padded(name, rows, fillers[name])) for name in fillers}


def model() -> MultiTaskModel:
    """Return a frozen backbone with a head over words and one over pooled vectors."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        heads = {"tags": (3, 0.0), "topic": (2, 0.0)}
        made = MultiTaskModel(Backbone(), HIDDEN, heads, over_words=["tags"])
    for parameter in made.backbone.parameters():
        parameter.requires_grad_(False)
    return made.train()


def stored(settings: StoreSettings | None = None) -> tuple[MultiTaskModel, Cut, PrefixStore]:
    made = model()
    cut = find_cut(made, stack_of(made), batch("tags", range(4)))
    store = PrefixStore(made, SOURCES, batch, settings, over_words=["tags"])
    store.prepare([cut], batch_size=3)
    return made, cut, store


def both(
    made: MultiTaskModel, cut: Cut, store: PrefixStore, task: str, rows: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the outputs of a task from the store, and those of the whole model."""
    made.eval()
    with torch.no_grad():
        with store.replaying(cut, task, rows):
            found = made(task=task)
        return found, made(task=task, **batch(task, rows))


def test_the_store_holds_a_row_for_each_word_and_one_for_each_pooled_vector() -> None:
    _, cut, store = stored()
    assert cut.whole and cut.boundary == "pooled"
    assert store.nbytes == (COUNT + len(TEXTS) + 1) * HIDDEN * 4
    assert len(store.examples) == 5
    assert store.examples.entries["tags"][:2].tolist() == store.examples.entries["topic"][:2].tolist()


@pytest.mark.parametrize("rows", [[0, 1, 2, 3], [1], [3, 0, 3]])
def test_a_head_over_words_reads_the_same_states_at_each_word(rows: list[int]) -> None:
    found, expected = both(*stored(), "tags", rows)
    begins = torch.from_numpy(SOURCES["tags"].padded("words", rows, 0)) > 0
    assert found.shape == expected.shape
    # Batch mates differ from those of the store: up to rounding.
    assert torch.allclose(found[begins], expected[begins], rtol=0, atol=1e-6)


@pytest.mark.parametrize("rows", [[0, 1, 2], [1]])
def test_a_head_over_pooled_vectors_reads_the_same_vectors(rows: list[int]) -> None:
    found, expected = both(*stored(), "topic", rows)
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_files_hold_the_same_and_are_found_again_unless_other_words_are_read(tmp_path: Path) -> None:
    kept = StoreSettings(budget=1, folder=tmp_path)
    made, cut, store = stored(kept)
    in_memory = stored()
    for task, rows in (("tags", [0, 3]), ("topic", [2, 0])):
        assert torch.equal(both(made, cut, store, task, rows)[0], both(*in_memory, task, rows)[0])
    again = PrefixStore(made, SOURCES, batch, kept, over_words=["tags"])
    assert again.prepare([cut]).found == ("pooled",)
    other = {"tags": words(IDS, [[1] * len(row) for row in IDS]), "topic": SOURCES["topic"]}
    rebuilt = PrefixStore(made, other, batch, kept, over_words=["tags"]).prepare([cut])
    assert rebuilt.built == ("pooled",) and "inputs" in rebuilt.rebuilt["pooled"]


def test_a_native_head_keeps_the_backbone_in_one_piece() -> None:
    made = model()
    made.__class__ = type("Native", (MultiTaskModel,), {"splits": False})
    cut = find_cut(made, stack_of(made), batch("tags", range(4)), trainable=["heads.tags.linear.weight"])
    assert not cut.whole


def test_another_number_of_states_than_of_tokens_is_refused() -> None:
    wanted = head_inputs_of(numpy.array([2, 3]), {}, {}, [])
    layout = PartsLayout((HIDDEN,), torch.float32, 2, lengths=(0, 0), wanted=wanted)
    parts = {"last_hidden_state": torch.zeros(2, 2, HIDDEN)}
    assert refused(lambda: layout.packed_parts(parts, [0, 1])).reason == Reason.UNEVEN


def test_the_same_tokens_of_other_words_are_one_input_or_two() -> None:
    sources = {"one": words([[5, 6]], [[1, 0]]), "other": words([[5, 6]], [[1, 2]])}
    assert len(Examples(sources, ["one", "other"])) == 1
    assert Examples(sources, ["one", "other"]).wanted.counts.tolist() == [2]
    assert len(Examples(sources, by_words=True)) == 2


rows_of_words = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=5), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(rows_of_words, rows_of_words, st.data())
def test_what_is_packed_comes_out_where_it_was(
    tagged: list[list[int]], texts: list[list[int]], data: st.DataObject
) -> None:
    sources = {
        "tags": words([[9] * len(row) for row in tagged], tagged),
        "topic": encoded([[9] * len(row) for row in texts]),
    }
    examples = Examples(sources, ["tags"])
    wanted = examples.wanted
    layout = PartsLayout(
        (2,), torch.float32, len(examples), lengths=tuple(wanted.counts.tolist()), wanted=wanted
    )
    widths, entries = wanted.widths, list(range(len(examples)))
    parts = {
        "last_hidden_state": torch.rand(len(entries), widths.max(), 2),
        "pooled": torch.rand(len(entries), 2),
    }
    values = torch.cat([layout.packed_parts(parts, entries), torch.zeros(1, 2)])
    assert len(values) == layout.shape[0]
    asked = data.draw(st.lists(st.sampled_from(range(len(tagged))), min_size=1, max_size=4))
    places = examples.entries["tags"][asked].tolist()
    states = values[layout.state_places(places)]
    for place, row in enumerate(asked):
        for token, begins in enumerate(tagged[row]):
            if begins:
                assert torch.equal(states[place, token], parts["last_hidden_state"][places[place], token])
    pooled = examples.entries["topic"].tolist()
    assert torch.equal(values[layout.pooled_places(pooled)], parts["pooled"][pooled])
