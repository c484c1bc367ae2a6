"""Every way in which a task's data can be wrong, and the places that the diagnostics name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from datasets import Dataset
from pyarrow import parquet

from freezeplan.data.labels import labels_of
from freezeplan.data.task_rows import TaskData, load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.outside import hub
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from tests.train.tiny import write_jsonl

GOOD = [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(6)]


def spec_of(folder: Path, *, labels: list[str] | None = None, **data: Any) -> Spec:
    task = {
        "name": "t",
        "data": {k: str(folder / v) if k in ("train", "validation", "test") else v for k, v in data.items()},
    }
    return Spec.model_validate({"task": [task | ({"labels": labels} if labels else {})]})


def load(folder: Path, rows: list[Any], **more: Any) -> tuple[TaskData, tuple[Diagnostic, ...]]:
    write_jsonl(folder / "train.jsonl", rows)
    tasks, warnings = load_task_data(spec_of(folder, train="train.jsonl", **more))
    return tasks[0], warnings


def errors(spec: Spec, **options: Any) -> tuple[Diagnostic, ...]:
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(spec, **options)
    return caught.value.diagnostics


def only_error(folder: Path, rows: list[Any], **more: Any) -> Diagnostic:
    write_jsonl(folder / "train.jsonl", rows)
    (found,) = errors(spec_of(folder, train="train.jsonl", **more))
    return found


def test_labels_are_the_sorted_ones_of_training_and_classes_their_numbers(tmp_path: Path) -> None:
    task, warnings = load(
        tmp_path, [{"text": "x", "label": 10}, {"text": "y", "label": 9}, {"text": "z", "label": 10}]
    )
    assert task.labels == ("10", "9")
    assert task.targets("train").tolist() == [0, 1, 0]
    assert task.splits["train"].inputs == ["x", "y", "z"]
    assert warnings == ()


def test_declared_labels_keep_their_order(tmp_path: Path) -> None:
    task, _ = load(tmp_path, GOOD, labels=["b", "a"])
    assert task.labels == ("b", "a")
    assert task.targets("train").tolist() == [1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    path, rows = tmp_path / f"rows{suffix}", Dataset.from_list(GOOD)
    if suffix == ".parquet":
        rows.to_parquet(path)
    elif suffix == ".json":
        path.write_text(json.dumps(GOOD))
    elif suffix in (".csv", ".tsv"):
        rows.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    else:
        write_jsonl(path, GOOD)
    tasks, _ = load_task_data(spec_of(tmp_path, train=path.name))
    assert tasks[0].splits["train"].inputs == [row["text"] for row in GOOD]
    assert tasks[0].splits["train"].targets[0] == [row["label"] for row in GOOD]


def test_csv_values_stay_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\n2020-01-01,01\nNone,NA\n1e3,01\n")
    tasks, _ = load_task_data(spec_of(tmp_path, train="train.csv"))
    assert tasks[0].splits["train"].inputs == ["2020-01-01", "None", "1e3"]
    assert tasks[0].labels == ("01", "NA")


def test_json_text_that_looks_like_dates_stays_text(tmp_path: Path) -> None:
    rows = [{"text": "2020-01-01", "label": "2021-05-05"}, {"text": "2020-01-02", "label": "2021-05-06"}]
    task, _ = load(tmp_path, rows)
    assert task.splits["train"].inputs == ["2020-01-01", "2020-01-02"]
    assert task.labels == ("2021-05-05", "2021-05-06")


def test_file_names_are_no_patterns(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a[1]*.jsonl", GOOD)
    write_jsonl(tmp_path / "a1.jsonl", GOOD * 2)
    tasks, _ = load_task_data(spec_of(tmp_path, train="a[1]*.jsonl"))
    assert len(tasks[0].splits["train"].inputs) == 6


def test_reading_leaves_no_cache_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    load(tmp_path, GOOD)
    only_error(tmp_path, ["not an object"])
    assert not cache.exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"text": "x", "label": "a"}\n\n{"text": "y", "label":\n', "line 3 is not JSON"),
        ('{"text": "x", "label": "a"}\n["y", "b"]\n', "line 2 is not a JSON object"),
        ('{"text": "x", "text": "y", "label": "b"}\n', "twice"),
    ],
)
def test_broken_json_is_named_by_its_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "train.jsonl").write_text(text)
    (found,) = errors(spec_of(tmp_path, train="train.jsonl"))
    assert (found.code, found.where) == ("FP455", "task[1].data.train")
    assert reason in found.message


def test_text_that_is_not_utf8_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(
        '{"text": "x", "label": "a"}\n{"text": "café"}\n'.encode("latin-1")
    )
    (found,) = errors(spec_of(tmp_path, train="train.jsonl"))
    assert (found.code, "line 2 is not UTF-8" in found.message) == ("FP455", True)
    assert found.help == "save the file as UTF-8"


@pytest.mark.parametrize(("row", "count"), [("", 2), ("a,b,c,d\n", None)])
def test_csv_fields_may_be_longer_than_the_csv_module_takes(
    tmp_path: Path, row: str, count: int | None
) -> None:
    (tmp_path / "train.csv").write_text("text,label\n" + "word " * 40_000 + ",a\nx,b\n" + row)
    spec = spec_of(tmp_path, train="train.csv", labels=["a", "b"])
    if count is None:
        assert [found.code for found in errors(spec)] == ["FP455"]
    else:
        assert len(load_task_data(spec)[0][0].splits["train"].inputs) == count


def test_csv_with_too_many_fields_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\nx,a\ny, z,b\n")
    (found,) = errors(spec_of(tmp_path, train="train.csv"))
    assert (found.code, "line 3 has 3 fields, the header 2" in found.message) == ("FP455", True)


def test_csv_with_a_repeated_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,text,label\nx,y,a\n")
    (found,) = errors(spec_of(tmp_path, train="train.csv"))
    assert (found.code, "`text`" in found.message) == ("FP455", True)


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1 but no more")
    (found,) = errors(spec_of(tmp_path, train="train.parquet"))
    assert found.code == "FP455"


def test_a_parquet_file_whose_text_is_not_utf8_is_refused(tmp_path: Path) -> None:
    text = pyarrow.array([b"caf\xe9", b"x"]).view(pyarrow.string())
    table = pyarrow.table({"text": text, "label": ["a", "b"]})
    parquet.write_table(table, tmp_path / "train.parquet")
    (found,) = errors(spec_of(tmp_path, train="train.parquet"))
    assert (found.code, "row 1 is not UTF-8" in found.message) == ("FP455", True)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", GOOD)
    (found,) = errors(spec_of(tmp_path, train="trian.jsonl"))
    assert (found.code, found.help) == ("FP452", f"did you mean `{tmp_path / 'train.jsonl'}`?")


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("rows/trian.jsonl", "did you mean `rows/train.jsonl`?"),
        ("rows/train.csv", "did you mean `rows/train.jsonl`?"),
        ("rows/zebra.jsonl", "the data files there are `other.jsonl`, `train.jsonl`"),
        ("row/train.jsonl", "there is no folder `{}/row`; did you mean `rows/train.jsonl`?"),
        ("elsewhere/a/train.jsonl", "there is no folder `{}/elsewhere`"),
    ],
)
def test_a_missing_file_suggests_what_is_alike(tmp_path: Path, written: str, advice: str) -> None:
    (tmp_path / "rows").mkdir()
    for name in ("train.jsonl", "other.jsonl"):
        write_jsonl(tmp_path / "rows" / name, GOOD)
    path = tmp_path / "spec.toml"
    path.write_text(
        '[[rule]]\nmatch = "**"\nstate = "trainable"\n\n[[task]]\nname = "t"\n'
        f'[task.data]\ntrain = "{written}"\n'
    )
    (found,) = errors(load_spec(path))
    assert (found.code, found.help) == ("FP452", advice.format(tmp_path))


def test_splits_that_lack_the_same_column_are_reported_together(tmp_path: Path) -> None:
    for name in ("train.jsonl", "test.jsonl", "other.jsonl"):
        write_jsonl(tmp_path / name, GOOD if name != "other.jsonl" else [{"words": "a", "label": "x"}] * 2)
    table = {"train": "train.jsonl", "test": "test.jsonl", "validation": "other.jsonl", "text": "body"}
    found = errors(spec_of(tmp_path, **table))
    assert [item.message for item in found] == [
        "`train.jsonl`, `test.jsonl` have no column `body`",
        "`other.jsonl` has no column `body`",
    ]


@pytest.mark.parametrize("name", ["train.xlsx", "folder.jsonl"])
def test_unknown_kinds_and_folders_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "train.xlsx").write_text("x")
    (tmp_path / "folder.jsonl").mkdir()
    (found,) = errors(spec_of(tmp_path, train=name))
    assert (found.code, ".parquet" in (found.help or "")) == ("FP453", True)


@pytest.mark.parametrize(
    ("name", "text"), [("a.jsonl", ""), ("b.jsonl", "\n \n"), ("c.csv", "text,label\n"), ("d.json", "[]")]
)
def test_files_without_rows_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (found,) = errors(spec_of(tmp_path, train=name))
    assert found.code == "FP454"


def test_an_empty_parquet_table_is_refused(tmp_path: Path) -> None:
    Dataset.from_dict({"text": [], "label": []}).to_parquet(tmp_path / "train.parquet")
    (found,) = errors(spec_of(tmp_path, train="train.parquet"))
    assert found.code == "FP454"


def test_missing_columns_are_all_reported_with_the_closest_name(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", GOOD)
    found = errors(spec_of(tmp_path, train="train.jsonl", text="body", label="lable"))
    assert [item.code for item in found] == ["FP456", "FP456"]
    assert [item.where for item in found] == ["task[1].data.text", "task[1].data.label"]
    assert found[0].help == "the columns are `text`, `label`"
    assert found[1].help == "did you mean `label`?"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "null"),
        (3, "a number"),
        (True, "true or false"),
        (["x"], "a list"),
        ({"a": 1}, "an object"),
        (" ", "blank"),
        ("x \udc80", "half of a surrogate pair"),
    ],
)
def test_text_that_is_not_text_is_named_by_its_rows(tmp_path: Path, value: Any, what: str) -> None:
    rows = [
        *GOOD,
        {"text": value, "label": "a"},
        {"text": "fine", "label": "b"},
        {"text": value, "label": "b"},
    ]
    found = only_error(tmp_path, rows)
    assert found.code == "FP457"
    assert what in found.message and "lines 7 and 9" in found.message


@pytest.mark.parametrize(
    ("value", "what"),
    [(None, "null"), (1.5, "decimal point"), (True, "true or false"), (["x"], "a list"), ("", "blank")],
)
def test_values_that_cannot_be_labels_are_named_by_their_rows(tmp_path: Path, value: Any, what: str) -> None:
    found = only_error(tmp_path, [*GOOD, {"text": "x", "label": value}])
    assert found.code == "FP458"
    assert what in found.message and "line 7" in found.message


@pytest.mark.parametrize("declared", [True, False])
def test_an_unknown_label_at_validation_names_its_rows(tmp_path: Path, declared: bool) -> None:
    write_jsonl(
        tmp_path / "train.jsonl", [{"text": str(n), "label": ["spam", "ham"][n % 2]} for n in range(4)]
    )
    write_jsonl(tmp_path / "val.jsonl", [{"text": "x", "label": "ham"}, {"text": "y", "label": "spm"}])
    labels = ["spam", "ham"] if declared else None
    (found,) = errors(spec_of(tmp_path, labels=labels, train="train.jsonl", validation="val.jsonl"))
    assert (found.code, found.where, found.help) == (
        "FP459",
        "task[1].data.validation",
        "did you mean `spam`?",
    )
    assert "line 2" in found.message
    assert ("`labels`" if declared else "training data") in found.message


def test_one_class_is_refused(tmp_path: Path) -> None:
    found = only_error(tmp_path, [{"text": "x", "label": "a"}, {"text": "y", "label": "a"}])
    assert (found.code, "`a`" in found.message) == ("FP460", True)


def test_a_declared_label_without_rows_is_a_warning(tmp_path: Path) -> None:
    _, (warning,) = load(tmp_path, GOOD, labels=["a", "b", "c"])
    assert (warning.code, warning.is_error, "`c`" in warning.message) == ("FP461", False, True)


def test_texts_shared_by_training_and_test_are_a_warning(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "test.jsonl", [GOOD[0], {"text": "new", "label": "a"}, GOOD[3]])
    _, (warning,) = load(tmp_path, GOOD, test="test.jsonl")
    assert (warning.code, warning.where) == ("FP462", "task[1].data.test")
    assert "2 of 3 texts" in warning.message and "lines 1 and 3" in warning.message


def test_no_task_at_all_is_refused() -> None:
    (found,) = errors(Spec())
    assert found.code == "FP450"


def test_a_task_without_training_data_is_refused_when_something_trains(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "val.jsonl", GOOD)
    spec = spec_of(tmp_path, labels=["a", "b"], validation="val.jsonl")
    assert load_task_data(spec)[0][0].splits.keys() == {"validation"}
    (found,) = errors(spec, learning=[task.name for task in spec.task])
    assert (found.code, found.where) == ("FP451", "task[1].data")


def test_labels_of_a_run_stand_in_where_nothing_else_gives_any(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "val.jsonl", GOOD)
    tasks, _ = load_task_data(spec_of(tmp_path, validation="val.jsonl"), {"t": ("b", "a")})
    assert tasks[0].labels == ("b", "a")


def test_a_hub_dataset_without_network_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    spec = Spec.model_validate({"task": [{"name": "t", "data": {"hub": "nobody/nothing", "train": "train"}}]})
    (found,) = errors(spec)
    assert (found.code, found.where) == ("FP463", "task[1].data.train")
    assert "without network" in (found.help or "")


def test_an_unreachable_hub_is_asked_once_and_in_silence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub

    monkeypatch.setattr(hub, "_reachable", lambda endpoint: False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    spec = Spec.model_validate({"task": [{"name": "t", "data": {"hub": "nobody/nothing", "train": "train"}}]})
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    assert [found.code for found in errors(spec)] == ["FP463"]
    assert capfd.readouterr() == ("", "")
    assert before == huggingface_hub.constants.HF_HUB_OFFLINE


def test_hub_classes_are_read_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    rows = Dataset.from_dict({"text": ["x", "y"], "label": [1, 0]}, features=features)
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or rows)
    data = {"hub": "glue", "subset": "sst2", "train": "train[:2]"}
    tasks, _ = load_task_data(Spec.model_validate({"task": [{"name": "t", "data": data}]}))
    assert tasks[0].splits["train"].targets[0] == ["pos", "neg"]
    assert asked == [(("glue", "sst2"), {"split": "train[:2]"})]


def test_a_task_named_text_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", GOOD)
    data = {"train": str(tmp_path / "train.jsonl")}
    (found,) = errors(Spec.model_validate({"task": [{"name": "text", "data": data}]}))
    assert (found.code, found.where) == ("FP464", "task[1].name")


@pytest.mark.parametrize("more", [{}, {"hub": "glue"}])
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_path_is_called_blank(blank: str, more: dict[str, str]) -> None:
    data = {"train": blank, **more}
    (found,) = errors(Spec.model_validate({"task": [{"name": "t", "data": data}]}))
    assert (found.code, found.where) == ("FP452", "task[1].data.train")
    assert found.message.endswith("is empty") and found.help


def test_problems_of_all_tasks_and_splits_come_together(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [{"text": 1, "label": None}])
    tasks = [
        {"name": "a", "data": {"train": str(tmp_path / "train.jsonl"), "test": str(tmp_path / "none.jsonl")}},
        {"name": "b", "data": {"train": str(tmp_path / "train.jsonl"), "label": "nope"}},
    ]
    found = errors(Spec.model_validate({"task": tasks}))
    assert [item.code for item in found] == ["FP457", "FP458", "FP452", "FP456"]


def test_paths_start_at_the_spec_and_places_point_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    write_jsonl(tmp_path / "data" / "train.jsonl", GOOD)
    text = '[[rule]]\nmatch = "**"\nstate = "trainable"\n\n[[task]]\nname = "t"\n'
    (tmp_path / "spec.toml").write_text(
        text + '[task.data]\ntrain = "data/train.jsonl"\ntest = "data/tset.csv"\n'
    )
    monkeypatch.chdir(tmp_path / "data")
    (found,) = errors(load_spec(tmp_path / "spec.toml"))
    assert found.code == "FP452"
    assert found.span is not None
    assert (found.span.line, found.span.column) == (9, 8)


def test_labels_that_differ_in_blanks_alone_are_a_warning(tmp_path: Path) -> None:
    rows = [{"text": f"text {number}", "label": label} for number, label in enumerate(["app", " app", "web"])]
    task, (warning,) = load(tmp_path, rows)
    assert (warning.code, warning.where) == ("FP475", "task[1].data.train")
    assert "` app`, `app`" in warning.message
    assert task.labels == (" app", "app", "web")


def test_a_path_may_begin_at_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_jsonl(tmp_path / "train.jsonl", GOOD)
    spec = Spec.model_validate({"task": [{"name": "t", "data": {"train": "~/train.jsonl"}}]})
    (task,), _ = load_task_data(spec)
    assert len(task.splits["train"].targets[0]) == len(GOOD)
    assert labels_of(spec) == {"t": ("a", "b")}
