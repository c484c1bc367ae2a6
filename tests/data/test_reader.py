"""One reader: every format gives the same rows, as they are written; what is broken is named by file and line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from freezeplan.data.formats import json_rows, row_source, separated
from freezeplan.data.formats.row_source import Unreadable
from freezeplan.data.labels import labels_of
from freezeplan.data.reader import Reader, Wanted, parts_of
from freezeplan.data.row_counts import rows_of
from freezeplan.data.task_rows import TaskData, load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.spec.tables import Spec

ROWS = [{"text": "good film", "label": "pos"}, {"text": "bad film", "label": "neg"}]
PAIRS = [("good film", "pos"), ("bad film", "neg")]


def spec_of(*files: Path, labels: list[str] | None = None, **data: Any) -> Spec:
    task: dict[str, Any] = {"name": "t", "data": {"train": [str(file) for file in files]} | data}
    return Spec.model_validate({"task": [task | ({"labels": labels} if labels else {})]})


def load(*files: Path, **more: Any) -> tuple[TaskData, tuple[Diagnostic, ...]]:
    tasks, warnings = load_task_data(spec_of(*files, **more))
    return tasks[0], warnings


def pairs(*files: Path, **more: Any) -> list[tuple[Any, str]]:
    """Return the rows that training reads, after making sure that `show` sees their labels and their number."""
    split = load(*files, **more)[0].splits["train"]
    assert labels_of(spec_of(*files, **more))["t"] == load(*files, **more)[0].labels
    assert rows_of(spec_of(*files, **more)).counts == {"t": len(split)}
    return list(zip(split.inputs, split.targets[0], strict=True))


def error(*files: Path, **more: Any) -> Diagnostic:
    """Return the one error of training; `show` must fail with the same words."""
    with pytest.raises(DiagnosticError) as caught:
        load(*files, **more)
    found = caught.value.diagnostics[-1]
    if not more.get("labels") and found.code in ("FP454", "FP455", "FP458"):
        with pytest.raises(DiagnosticError) as shown:
            labels_of(spec_of(*files, **more))
        assert found.message in shown.value.diagnostics[0].message
    return found


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def in_form(folder: Path, suffix: str, rows: list[dict[str, Any]]) -> Path:
    """Write rows in a form, with a column that no task reads."""
    rows = [row | {"other": number} for number, row in enumerate(rows)]
    path, base = folder / f"rows{suffix}", suffix.removesuffix(".gz")
    if base == ".saved":
        datasets.Dataset.from_list(rows).save_to_disk(path)
        return path
    data = io.BytesIO()
    if base == ".parquet":
        datasets.Dataset.from_list(rows).to_parquet(data)
    elif base in (".csv", ".tsv"):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, rows[0], delimiter="\t" if base == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
        data.write(text.getvalue().encode())
    else:
        data.write((json.dumps(rows) if base == ".json" else lines(rows)).encode())
    packed = gzip.compress(data.getvalue()) if suffix.endswith(".gz") else data.getvalue()
    return write(path, packed)


FORMS = [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"]


@pytest.mark.parametrize("suffix", [*FORMS, *(f"{form}.gz" for form in FORMS), ".saved"])
def test_every_form_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    rows = [
        *ROWS,
        {"text": 'two\nlines, a "quote" and a ,', "label": "01"},
        {"text": "2020-01-01", "label": "NA"},
    ]
    expected = [(row["text"], row["label"]) for row in rows]
    assert pairs(in_form(tmp_path, suffix, rows)) == expected


@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\r\n\t\0"), min_size=1).filter(
                str.strip
            ),
            st.sampled_from(["a", "b"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, rows: Any) -> None:
    folder = tmp_path_factory.mktemp("forms")
    written = [{"text": text, "label": label} for text, label in rows]
    for suffix in (".jsonl", ".csv", ".tsv", ".json.gz"):
        path = in_form(folder, suffix, written)
        table = Reader().read(
            parts_of(spec_of(path), 0, "train"), [Wanted("text", "text"), Wanted("label", "label")]
        )
        found = [
            table.columns[wanted].values for wanted in (Wanted("text", "text"), Wanted("label", "label"))
        ]
        assert list(zip(*found, strict=True)) == rows


def test_several_files_and_patterns_come_in_their_order(tmp_path: Path) -> None:
    one = write(tmp_path / "z.jsonl", lines(ROWS[:1]))
    for name in ("b.csv", "a.csv"):
        write(tmp_path / name, f"text,label\n{name},neg\n")
    assert pairs(one, tmp_path / "*.csv") == [("good film", "pos"), ("a.csv", "neg"), ("b.csv", "neg")]


def test_a_row_of_several_files_is_named_by_its_file(tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", lines(ROWS))
    other = write(tmp_path / "b.csv", "text,label\nfine,pos\n\n,neg\n")
    found = error(one, other)
    assert (found.code, "in line 4 of `b.csv`" in found.message) == ("FP457", True)


def test_a_column_that_one_of_several_files_lacks_names_that_file(tmp_path: Path) -> None:
    found = error(write(tmp_path / "a.jsonl", lines(ROWS)), write(tmp_path / "b.csv", "text,lable\nx,pos\n"))
    assert (found.code, "`b.csv` has no column `label`" in found.message) == ("FP456", True)


def test_a_pattern_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    found = error(tmp_path / "*.csv", labels=["a", "b"])
    assert (found.code, "no file fits the pattern" in found.message) == ("FP452", True)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (
            "a.csv",
            "text,label\ngood film, really,pos\nbad film, sorry,neg\n",
            "line 2 has 3 fields, the header 2",
        ),
        (
            "a.csv",
            "id,text,label\n1,good film,pos,x\n2,bad film,neg,y\n",
            "line 2 has 4 fields, the header 3",
        ),
        ("a.csv", "text,label\ngood film,pos,\nbad film,neg,\n", "line 2 has 3 fields"),
        ("a.csv", "text,label\ngood film,pos\n\nbad film\n", "line 4 has 1 field, the header 2"),
        ("a.csv", 'text,label\nx,pos\n"two\nlines",neg\ny\n', "line 5 has 1 field"),
        (
            "a.tsv",
            'text\tlabel\nx\tpos\n"good\tpos\nbad\tneg\n"fine\tpos\npoor\tneg\n',
            "line 3 holds a quotation",
        ),
        ("a.tsv", 'text\tlabel\n"Wow" she said\tpos\nbad film\tneg\n', "line 2 holds a quotation mark"),
        (
            "a.tsv",
            'text\tlabel\n"good\tpos\nbad"\tneg\nx\ty\n',
            "line 2 closes in line 3 only, over whole rows",
        ),
        (
            "a.csv",
            'text,label\n"He said \\"wow\\", then left",pos\nbad,neg\n',
            "line 2 holds a quotation mark",
        ),
        (
            "a.csv",
            'text,label\nx,pos\n"good,pos\nbad,neg\n',
            "line 3 opens a quotation mark that never closes",
        ),
    ],
)
def test_rows_that_would_move_are_named_by_their_line(
    tmp_path: Path, name: str, text: str, line: str
) -> None:
    found = error(write(tmp_path / name, text))
    assert (found.code, line in found.message, bool(found.help)) == ("FP455", True, True)


@pytest.mark.parametrize(
    "text",
    [
        ",text,label\n0,good film,pos\n1,bad film,neg\n",
        "text,label,\ngood film,pos,\nbad film,neg,\n",
        "text,,label,,\ngood film,1,pos,,\nbad film,2,neg,,\n",
        "sep=;\ntext;label\ngood film;pos\nbad film;neg\n",
        "text,label\rgood film,pos\rbad film,neg\r",
        "other,other,text,label\n1,2,good film,pos\n1,2,bad film,neg\n",
        '\ufefftext,label\r\ngood film,pos\r\n\r\n"bad film",neg',
    ],
)
def test_tables_as_programs_write_them_are_taken(tmp_path: Path, text: str) -> None:
    assert pairs(write(tmp_path / "a.csv", text)) == PAIRS


def test_a_file_without_a_header_is_asked_about(tmp_path: Path) -> None:
    found = error(
        write(tmp_path / "a.tsv", "gj04\t1\t\tgood film\ngj04\t0\t*\tbad film\n"), labels=["0", "1"]
    )
    assert (found.code, "is the first line a header?" in (found.help or "")) == ("FP456", True)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=1),
        "\n".join(json.dumps(row, indent=1) for row in ROWS),
        "".join(map(json.dumps, ROWS)),
        "\ufeff" + "\ufeff".join(map(json.dumps, ROWS)),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_json_is_taken_however_it_is_laid_out(tmp_path: Path, name: str, text: str) -> None:
    assert pairs(write(tmp_path / name, text)) == PAIRS


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_json_is_read_the_same_in_pieces_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(json_rows, "CHUNK", chunk)
    path = write(tmp_path / "a.json", json.dumps([*ROWS, {"text": 'é "\\ }', "label": 12}], indent=1))
    assert pairs(path) == [*PAIRS, ('é "\\ }', "12")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"text": "x", "label": "a"}\n{"text": "y" "label": "b"}\n', "line 2 is not JSON"),
        ('{"text": "x", "label": "a"}\n{"text": "y, "label": "b"}\n' + lines(ROWS) * 9, "line 2 is not JSON"),
        ('[{"text": "x", "label": "a"}\n{"text": "y"}]', "line 2 is not JSON: Expecting ','"),
        ('[{"text": "x", "label": "a"},\n{"text": "y", "label": "b"}', "the array is not closed"),
        ('[{"text": "x", "label": "a"}]\n{"text": "y", "label": "b"}', "line 2 is not JSON"),
        ('{"text": "x", "label": "a"}\n' + "[" * 100_000, "line 2 is nested too deeply"),
        (
            '{"text": "x", "label": "a"}\n{"text": "x", "label": ' + "1" * 5000 + "}",
            "line 2 holds a number of too many",
        ),
        ('{"text": "x", "label": "a", "label": "b"}', "has the key `label` twice"),
    ],
)
def test_what_is_no_json_is_named_by_its_line(tmp_path: Path, text: str, reason: str) -> None:
    found = error(write(tmp_path / "a.jsonl", text))
    assert (found.code, reason in found.message) == ("FP455", True)


def test_what_no_task_reads_may_be_anything(tmp_path: Path) -> None:
    odd = [
        {"when": None},
        {"when": "2020-01-01", "m": {"a": 1}},
        {"m": {"a": 1, "b": []}},
        {"m": 1.5, "type": "x"},
    ]
    rows = [row | more for row, more in zip(ROWS * 2, odd, strict=True)]
    assert pairs(write(tmp_path / "a.jsonl", lines(rows))) == PAIRS * 2
    base = {"text": [row["text"] for row in ROWS], "label": [row["label"] for row in ROWS]}
    other = pyarrow.array([[("k", 1)]] * 2, pyarrow.map_(pyarrow.string(), pyarrow.int64()))
    parquet.write_table(pyarrow.table({**base, "other": other}), tmp_path / "a.parquet")
    assert pairs(tmp_path / "a.parquet") == PAIRS


@pytest.mark.parametrize(
    "labels",
    [[1, "01", "2"], [1, " 1", "2"], [1, '"x"', "x"], [1, "-0", "0"], [1, "null"], [1, "1e1"], [2**64, 1]],
)
def test_mixed_labels_stay_as_they_are_written(tmp_path: Path, labels: list[Any]) -> None:
    path = write(tmp_path / "a.jsonl", lines([{"text": f"t{n}", "label": x} for n, x in enumerate(labels)]))
    assert [label for _, label in pairs(path)] == [str(label) for label in labels]


@pytest.mark.parametrize("values", [[0.5, 1.5], [0, 1.0, 1]])
def test_numbers_with_a_decimal_point_are_no_labels_in_json(tmp_path: Path, values: list[Any]) -> None:
    rows = [{"text": f"t{number}", "label": value} for number, value in enumerate(values)]
    found = error(write(tmp_path / "a.jsonl", lines(rows)))
    where = "in lines 1 and 2" if values[0] else "in line 2"
    assert (found.code, found.message.endswith(where)) == ("FP458", True)


def test_text_labels_that_are_all_numbers_with_decimal_points_are_a_warning(tmp_path: Path) -> None:
    _, warnings = load(write(tmp_path / "a.csv", "text,label\nx,0.5\ny,1.5\nz,2\n"))
    assert [item.code for item in warnings] == ["FP479"]
    assert load(write(tmp_path / "a.csv", "text,label\nx,1\ny,2\nz,3\n"))[1] == ()
    assert load(write(tmp_path / "a.csv", "text,label\nx,1.0\ny,v2\n"))[1] == ()


CLASSES = datasets.Features(
    {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
)


@pytest.mark.parametrize("form", ["parquet", "saved", "hub"])
def test_class_numbers_are_read_as_their_names(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row | {"label": int(row["label"] == "pos")} for row in ROWS]
    made = datasets.Dataset.from_list(rows, features=CLASSES)
    if form == "hub":
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: made)
        assert pairs(Path("train"), hub="someone/films") == PAIRS
    elif form == "saved":
        made.save_to_disk(tmp_path / "saved")
        assert pairs(tmp_path / "saved") == PAIRS
    else:
        made.to_parquet(tmp_path / "a.parquet")
        assert pairs(tmp_path / "a.parquet") == PAIRS


def test_a_class_number_without_a_name_is_no_label(tmp_path: Path) -> None:
    rows = [*({"text": row["text"], "label": 0} for row in ROWS), {"text": "x", "label": -1}]
    datasets.Dataset.from_list(rows, features=CLASSES).to_parquet(tmp_path / "a.parquet")
    found = error(tmp_path / "a.parquet")
    assert (found.code, "null (no label) in row 3" in found.message) == ("FP458", True)


def test_a_folder_of_several_splits_names_them(tmp_path: Path) -> None:
    made = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "both")
    found = error(tmp_path / "both", labels=["a", "b"])
    assert (found.code, "both/train" in (found.help or "")) == ("FP453", True)


def test_a_folder_of_images_has_a_class_per_folder(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/more/2.png", "cat/1.png"):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(tmp_path / "train" / name)
    (tmp_path / "train" / ".DS_Store").touch()
    found = pairs(tmp_path / "train", image="image")
    assert [(str(path.relative_to(tmp_path / "train")), label) for path, label in found] == [
        ("cat/1.png", "cat"),
        (os.path.join("cat", "more", "2.png"), "cat"),
        ("dog/1.png", "dog"),
    ]
    (tmp_path / "train" / "loose.png").touch()
    assert "`loose.png` lies beside the folders" in error(tmp_path / "train", image="image").message


def test_a_folder_of_data_files_says_how_to_name_them(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label\nx,y\n")
    found = error(tmp_path, labels=["a", "b"])
    assert (found.code, "/*.csv" in (found.help or "")) == ("FP453", True)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    found = error(tmp_path / "a.jsonl", labels=["a", "b"])
    assert (found.code, "it is a pipe, not a file" in found.message) == ("FP453", True)
    found = error(Path("/dev/zero"), labels=["a", "b"])
    assert found.code == "FP453"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines(ROWS))
    path.chmod(0)
    assert "permission denied" in error(path, labels=["a", "b"]).message


# Without a time: the workers of a parallel run must collect the same tests.
CUT_SHORT = gzip.compress(lines(ROWS * 99).encode(), mtime=0)[:60]


@pytest.mark.parametrize("data", [b"no gzip", CUT_SHORT], ids=["no gzip", "cut short"])
@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    found = error(write(tmp_path / name, data), labels=["a", "b"])
    assert (found.code, "no whole gzip file" in found.message) == ("FP455", True)


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "text,label\n" + "x" * 999), ("a.jsonl", '{"text": "' + "x" * 999)]
)
def test_a_file_without_a_line_break_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    for module in (row_source, separated, json_rows):
        monkeypatch.setattr(module, "LONGEST_LINE", 100)
    monkeypatch.setattr(json_rows, "CHUNK", 10)
    found = error(write(tmp_path / name, text + "x" * 999), labels=["a", "b"])
    assert (found.code, "is longer than 100 characters" in found.message) == ("FP455", True)


def test_bytes_that_are_no_utf8_are_named_by_line_and_place(tmp_path: Path) -> None:
    text = b"text,label\ngood,pos\n" + "café,neg\n".encode("latin-1")
    assert "line 3 is not UTF-8 text (byte 4 of the line)" in error(write(tmp_path / "a.csv", text)).message


def test_many_bad_rows_take_one_line(tmp_path: Path) -> None:
    found = error(
        write(tmp_path / "a.jsonl", lines([{"text": None, "label": "a"}] * 3000)), labels=["a", "b"]
    )
    assert found.message.endswith("lines 1, 2, 3, 4, 5 and 2995 more")


def test_many_unknown_labels_are_one_error(tmp_path: Path) -> None:
    rows = [{"text": f"good film {number}", "label": number % 77} for number in range(200)]
    path = write(tmp_path / "a.jsonl", lines(rows))
    with pytest.raises(DiagnosticError) as caught:
        load(path, labels=[f"intent_{number}" for number in range(77)])
    (found,) = caught.value.diagnostics
    assert (found.code, "has 77 labels that are not in" in found.message) == ("FP459", True)
    assert len(str(found.as_record())) < 2000


def test_a_file_is_read_once_for_all_that_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jsonl", lines([row | {"mood": "x"} for row in ROWS]))
    write(tmp_path / "b.jsonl", lines(ROWS))
    tasks = [
        {"name": name, "data": {"train": str(path), "label": label}, "labels": None}
        for name, label in (("one", "label"), ("two", "label"))
    ]
    opened = []
    from freezeplan.data import files

    real = files.DataFile.rows
    monkeypatch.setattr(files.DataFile, "rows", lambda self, *a: opened.append(self.name) or real(self, *a))
    spec = Spec.model_validate({"task": tasks})
    labels_of(spec)
    rows_of(spec)
    first, _ = load_task_data(spec)
    assert opened == ["a.jsonl"]
    assert first[0].splits["train"].inputs is first[1].splits["train"].inputs
    path.write_text(lines(ROWS * 2))
    assert len(load_task_data(spec)[0][0].splits["train"]) == 4 and opened == ["a.jsonl"] * 2


def test_hub_data_without_labels_are_read_for_the_plan_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(ROWS))
    spec = Spec.model_validate({"task": [{"name": "t", "data": {"hub": "someone/films", "train": "train"}}]})
    assert labels_of(spec) == {"t": ("neg", "pos")}


@pytest.mark.parametrize(
    "value", ["x" * 300 + ".png", "data:image/png;base64,iVBOR", "iVBORw0KGgo" + "A" * 99]
)
def test_texts_that_are_no_path_are_named_as_what_they_are(tmp_path: Path, value: str) -> None:
    path = write(
        tmp_path / "a.jsonl", lines([{"image": value, "label": "a"}, {"image": value, "label": "b"}])
    )
    found = error(path, image="image")
    assert (found.code, "lines 1 and 2" in found.message, len(str(found.as_record())) < 2000) == (
        "FP471",
        True,
        True,
    )


def test_the_key_of_an_image_is_its_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("L", (2, 2), 7).save(tmp_path / f"{name}.png")
    rows = [{"image": "a.png", "label": "x"}, {"image": "b.png", "label": "y"}]
    train = write(tmp_path / "train.jsonl", lines(rows))
    Image.new("L", (2, 2), 9).save(tmp_path / "b.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "copy.png")
    test = write(
        tmp_path / "test.jsonl",
        lines([{"image": "copy.png", "label": "x"}, {"image": "b.png", "label": "y"}]),
    )
    spec = spec_of(train, image="image", test=str(test))
    keys = load_task_data(spec)[0][0].splits["train"].inputs.keys()
    assert keys[0] != keys[1]
    assert [item.code for item in load_task_data(spec)[1]] == ["FP462"]


def test_what_cannot_be_read_is_no_error_of_the_reader_itself(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="does not exist"):
        parts_of(spec_of(tmp_path / "gone.csv"), 0, "train")


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.sampled_from(
            [b'"', b",", b"\t", b"\n", b"\r", b"{", b"}", b"[", b"]", b":", b"\\", b"\xef\xbb\xbf", b"\0"]
        ),
        st.sampled_from(
            [b"text,label\n", b"text\tlabel\n", b'{"text": "x", "label": "a"}\n', b"PAR1", b"sep=;\n"]
        ),
        st.sampled_from(
            [b"NaN", b"-Infinity", b"1e999", b"null", b"true", b'"\\ud800"', b"\x1f\x8b\x08\x00"]
        ),
    ),
    max_size=12,
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(
    content=PIECES,
    suffix=st.sampled_from([*FORMS, ".csv.gz", ".jsonl.gz", ".parquet.gz"]),
    packed=st.booleans(),
)
def test_no_bytes_are_more_than_a_diagnostic(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str, packed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(gzip.compress(content) if packed and suffix.endswith(".gz") else content)
    for call in (lambda: load_task_data(spec_of(path)), lambda: labels_of(spec_of(path))):
        try:
            call()
        except DiagnosticError as found:
            assert found.diagnostics
