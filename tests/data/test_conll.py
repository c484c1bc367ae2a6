"""CoNLL files give the rows that JSONL gives; what is ragged, moved or unfinished is named by its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freezeplan.data.row_blocks import columns_in
from freezeplan.data.task_rows import load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.spec.tables import Spec

ROWS = [(["Ann", "in", "New", "York"], ["B-per", "O", "B-loc", "I-loc"]), (["Home"], ["O"])]
UPOS = [(["do", "n't", "sleep"], ["AUX", "PART", "VERB"]), (["10 000", "fish"], ["NUM", "NOUN"])]
PLAIN = "Ann NNP B-per\nin IN O\nNew NNP B-loc\nYork NNP I-loc\n\nHome NN O\n"
TREEBANK = """# sent_id = 1
# text = don't sleep
1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tdo\tdo\tAUX\tVB\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\tPolarity=Neg\t3\tadvmod\t_\t_
3\tsleep\tsleep\tVERB\tVB\t_\t0\troot\t_\t_
3.1\tdreams\tdream\tNOUN\t_\t_\t_\t_\t3:obj\t_

1\t10 000\t10 000\tNUM\t_\t_\t2\tnummod\t_\t_
2\tfish\tfish\tNOUN\t_\t_\t0\troot\t_\t_

"""


def spec_of(file: Path, **data: Any) -> Spec:
    given = {"train": str(file), "tokens": "tokens", "tags": "tags"} | data
    return Spec.model_validate({"task": [{"name": "t", "kind": "token_classification", "data": given}]})


def write(folder: Path, text: str, name: str = "rows.conll") -> Path:
    file = folder / name
    data = text.encode("utf-8")
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return file


def read(file: Path, **data: Any) -> list[tuple[list[str], list[str]]]:
    tasks, _ = load_task_data(spec_of(file, **data))
    split = tasks[0].splits["train"]
    tags, ends = split.targets[0], [0, *split.targets[0].ends]
    names = [tags.names[code] for code in tags.codes]
    return [(words, names[ends[row] : ends[row + 1]]) for row, words in enumerate(split.inputs)]


def refusal(file: Path, **data: Any) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(spec_of(file, **data))
    return caught.value.diagnostics[0]


@pytest.mark.parametrize("name", ["rows.conll", "rows.bio", "rows.iob", "rows.iob2", "rows.conll.gz"])
@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace(" ", "\t"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(" ", "   ").replace("\n", " \n"),
        "\ufeff" + PLAIN.rstrip("\n"),
        "-DOCSTART- -X- O\n\n" + PLAIN.replace("\n\n", "\n-DOCSTART-\n"),
        PLAIN.replace("\n\n", "\n \n\t\n\n") + "\n\n",
        "# id 7 a=b\n# free words of any number here\n" + PLAIN.replace("\n\n", "\n\n# text = Home .\n"),
        "#begin document (a); part 000\n" + PLAIN + "\n#end document\n",
    ],
)
def test_columns_are_read_however_they_are_laid_out(tmp_path: Path, text: str, name: str) -> None:
    assert read(write(tmp_path, text, name)) == ROWS


def test_columns_are_named_by_their_number(tmp_path: Path) -> None:
    file = write(tmp_path, PLAIN)
    assert read(file, tags="2")[0][1] == ["NNP", "IN", "NNP", "NNP"]
    assert read(file, tokens="1", tags="3") == ROWS
    lack = refusal(file, tags="4")
    assert (lack.code, lack.message) == ("FP456", "`rows.conll` has no column `4`")
    assert lack.help == "the columns are `1`, `2`, `3`, `tokens`, `tags`"


def test_words_that_look_like_comments_stay_words(tmp_path: Path) -> None:
    text = "# O\nfreezing B-x\n\n#win B-x\n# O\n# B-x\n"
    assert read(write(tmp_path, text)) == [
        (["#", "freezing"], ["O", "B-x"]),
        (["#win", "#", "#"], ["B-x", "O", "B-x"]),
    ]


def test_only_tabs_and_blanks_separate(tmp_path: Path) -> None:
    assert read(write(tmp_path, "10\u00a0000 B-n\na\u2028b O\n")) == [
        (["10\u00a0000", "a\u2028b"], ["B-n", "O"])
    ]
    assert read(write(tmp_path, "New York\tB-loc\nin\tO\n")) == [(["New York", "in"], ["B-loc", "O"])]


def test_a_treebank_gives_its_syntactic_words(tmp_path: Path) -> None:
    file = write(tmp_path, TREEBANK, "rows.conllu")
    assert read(file) == UPOS
    assert read(file, tokens="FORM", tags="UPOS") == UPOS
    assert read(file, tokens="form", tags="deprel")[0][1] == ["aux", "advmod", "root"]
    assert read(file, tags="FEATS")[0][1] == ["_", "Polarity=Neg", "_"]
    lacking = refusal(file, tags="XPOS")
    message = "column `XPOS` of `rows.conllu` holds null (no list) in line 9"
    assert (lacking.code, lacking.message) == ("FP458", message)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test.conllu", TREEBANK.replace("VERB", "_").replace("NOUN", "_").replace("AUX", "_")),
        ("test.conll", "do\nn't\n\nfish\n"),
    ],
)
def test_tags_that_are_not_given_for_any_word_are_none(tmp_path: Path, name: str, text: str) -> None:
    test = write(tmp_path, text.replace("PART", "_").replace("NUM", "_"), name)
    tasks, notes = load_task_data(spec_of(write(tmp_path, TREEBANK, "rows.conllu"), test=str(test)))
    assert len(tasks[0].unlabelled["test"]) == 2 and "FP487" in {item.code for item in notes}
    write(tmp_path, TREEBANK.replace("VERB", "_"), "some.conllu")
    found = refusal(tmp_path / "rows.conllu", test=str(tmp_path / "some.conllu"))
    assert found.message == "column `tags` of `some.conllu` holds a list with null (no label) in line 4"


def test_columns_that_a_file_names_itself_are_read_by_their_names(tmp_path: Path) -> None:
    text = "# global.columns = ID FORM UPOS PARSEME:NE\n1\tAnn\tPROPN\tB-per\n2\tlives\tVERB\tO\n"
    file = write(tmp_path, text, "rows.conllup")
    assert read(file, tags="PARSEME:NE") == [(["Ann", "lives"], ["B-per", "O"])]
    assert read(file)[0][1] == ["PROPN", "VERB"]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.conll", "a X O\nb O\n", "line 2 has 2 columns between blanks, line 1 3"),
        ("a.conll", "a\tX\tO\nb X O\n", "line 2 has 1 column between tabs, line 1 3"),
        ("a.conll", "a O\n\nb O\nc", "line 4 has 1 column between blanks, line 1 2"),
        ("a.conll", "a\tO\n\tO\n", "column 1 is empty in line 2"),
        ("a.conll", "a O\n# half a comment here\n", "line 2 has 5 columns between blanks, line 1 2"),
        (
            "a.conllu",
            TREEBANK.replace("\t_\n2\tfish", "\n2\tfish"),
            "line 9 has 9 columns between tabs, not 10",
        ),
        ("a.conllu", TREEBANK.replace("\t", " "), "line 3 has 1 column between tabs, not 10"),
        ("a.conllu", TREEBANK.rstrip("\n"), "it ends within line 10"),
        (
            "a.conllu",
            TREEBANK.replace("3\tsleep", "4\tsleep"),
            "line 6 has the ID `4` where word 3 comes next",
        ),
        (
            "a.conllu",
            TREEBANK.replace("\n\n1\t10", "\n1\t10"),
            "line 8 has the ID `1` where word 4 comes next",
        ),
        ("a.conllu", TREEBANK.replace("PART", ""), "UPOS is empty in line 5"),
        ("a.conllup", "# global.columns = ID WORD\n1\ta\n", "line 1 names no column FORM"),
    ],
)
def test_what_is_broken_is_named_by_its_line(tmp_path: Path, name: str, text: str, reason: str) -> None:
    found = refusal(write(tmp_path, text, name))
    assert (found.code, found.message) == ("FP455", f"`{name}` cannot be read: {reason}")
    assert found.help


def test_a_file_of_words_alone_has_no_tags(tmp_path: Path) -> None:
    file = write(tmp_path, "Ann\nlives\n\nHere\n")
    assert refusal(file).message == "`rows.conll` has no column `tags`"
    words = [words for (words,) in columns_in(file, {"tokens": "--column"}, "tokens")]
    assert words == [["Ann", "lives"], ["Here"]]


def narrow(tmp_path: Path, split: str, text: str) -> Spec:
    """Return a spec whose training rows have three columns, and those of another split fewer."""
    other = write(tmp_path, text, "other.conll")
    return spec_of(write(tmp_path, PLAIN), **{split: str(other)})


@pytest.mark.parametrize("text", ["Bob NNP\n", "Bob O\nsang O\n", "Bob\n"])
def test_test_rows_with_fewer_columns_have_no_tags(tmp_path: Path, text: str) -> None:
    (task,), notes = load_task_data(narrow(tmp_path, "test", text))
    assert [item.code for item in notes] == ["FP487"]
    assert "test" not in task.splits and len(task.unlabelled["test"]) == 1


def test_validation_rows_with_fewer_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(narrow(tmp_path, "validation", "Bob O\n"))
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == ("FP456", "`other.conll` has no column `tags`")
    assert "tags" not in (found.help or "").replace("`tags = ", "")


def test_test_rows_with_as_many_columns_have_tags(tmp_path: Path) -> None:
    (task,), notes = load_task_data(narrow(tmp_path, "test", "Bob NNP B-per\n"))
    assert not notes and len(task.splits["test"]) == 1


def test_sentences_are_named_by_the_line_of_their_first_word(tmp_path: Path) -> None:
    file = write(tmp_path, "# id 1\na O\n\n\n# id 2\nb O\nc \u00a0\n")
    assert "holds a list with no label (blank) in line 6" in refusal(file).message


WORDS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1).filter(
    lambda word: not word.startswith(("#", "-DOCSTART-"))
)
SENTENCES = st.lists(
    st.lists(st.tuples(WORDS, st.sampled_from(["O", "B-x", "I-x"])), min_size=1), min_size=2, max_size=6
)


@settings(max_examples=40, deadline=None)
@given(sentences=SENTENCES, blank=st.sampled_from(["\t", " "]))
def test_what_is_written_in_columns_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[tuple[str, str]]], blank: str
) -> None:
    sentences = [*sentences, [("end", "O"), ("all", "B-x")]]
    text = "\n".join("".join(f"{word}{blank}{tag}\n" for word, tag in words) for words in sentences)
    expected = [([word for word, _ in words], [tag for _, tag in words]) for words in sentences]
    assert read(write(tmp_path_factory.mktemp("rows"), text)) == expected


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_real_set_gives_the_rows_of_its_json_form(shared: Path, tmp_path: Path, split: str) -> None:
    source = shared / "data" / "wikigold" / f"{split}.jsonl"
    rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    pairs = [list(zip(row["tokens"], row["tags"], strict=True)) for row in rows]
    text = "-DOCSTART- O\n\n" + "\n".join("".join(f"{word} {tag}\n" for word, tag in row) for row in pairs)
    assert read(write(tmp_path, text)) == read(source)
