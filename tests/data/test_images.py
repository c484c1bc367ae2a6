"""Every way in which rows hold images, and in which those can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy
import pytest
import torch
import transformers
from PIL import Image

from freezeplan.data.images import BadImage, read_image
from freezeplan.data.task_rows import TaskData, load_task_data
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.spec.tables import Spec
from freezeplan.train.image_encoding import ImageEncoder, make_image_encoder
from tests.train.tiny import write_jsonl

PIXELS = [numpy.arange(number, number + 48, dtype=numpy.uint8).reshape(4, 4, 3) for number in range(6)]
LABELS = ["a", "b", "a", "b", "a", "b"]


def spec_of(path: Path, name: str = "t", **data: Any) -> Spec:
    task = {"name": name, "data": {"train": str(path), "image": "image"} | data}
    return Spec.model_validate({"task": [task]})


def load(path: Path, **data: Any) -> tuple[TaskData, tuple[Diagnostic, ...]]:
    tasks, warnings = load_task_data(spec_of(path, **data))
    return tasks[0], warnings


def only_error(path: Path, **data: Any) -> Diagnostic:
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(spec_of(path, **data))
    (found,) = caught.value.diagnostics
    return found


def rows_of(values: list[Any]) -> list[dict[str, Any]]:
    return [{"image": value, "label": label} for value, label in zip(values, LABELS, strict=False)]


def encoder(**config: Any) -> ImageEncoder:
    """Return the encoder of a vision transformer without a processor of its own."""
    settings = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    backbone = transformers.ViTModel(transformers.ViTConfig(**settings, patch_size=2, **config))
    model = {"config": {"model_type": "vit"}}
    return make_image_encoder(Spec.model_validate({"model": model}), backbone)


def write(folder: Path, form: str) -> Path:
    """Write the six images as rows of a file."""
    (folder / "img").mkdir()
    for number, array in enumerate(PIXELS):
        Image.fromarray(array).save(folder / "img" / f"{number}.png")
    paths = [f"img/{number}.png" for number in range(6)]
    if form == "numbers.jsonl":
        return write_jsonl(folder / form, rows_of([array.tolist() for array in PIXELS]))
    if form == "paths.jsonl":
        return write_jsonl(folder / form, rows_of(paths))
    if form == "paths.csv":
        (folder / form).write_text(
            "image,label\n" + "".join(f"{p},{v}\n" for p, v in zip(paths, LABELS, strict=True))
        )
        return folder / form
    columns = {
        "feature.parquet": [Image.fromarray(array) for array in PIXELS],
        "bytes.parquet": [(folder / path).read_bytes() for path in paths],
        "numbers.parquet": [array.tolist() for array in PIXELS],
    }
    datasets.Dataset.from_dict({"image": columns[form], "label": LABELS}).to_parquet(folder / form)
    return folder / form


@pytest.mark.parametrize(
    "form",
    ["numbers.jsonl", "paths.jsonl", "paths.csv", "feature.parquet", "bytes.parquet", "numbers.parquet"],
)
def test_every_form_of_an_image_gives_the_same_pixels(tmp_path: Path, form: str) -> None:
    task, warnings = load(write(tmp_path, form))
    found = encoder(image_size=4).encode(task.splits["train"].inputs)
    expected = numpy.stack(PIXELS).transpose(0, 3, 1, 2) / 255 * 2 - 1
    assert (bool(found.flaws), warnings, task.labels) == (False, (), ("a", "b"))
    assert torch.allclose(
        found.pixels(range(len(found))), torch.tensor(expected, dtype=torch.float32), atol=1e-6
    )


def test_images_of_a_hub_dataset_come_undecoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = datasets.Dataset.from_dict({"image": [Image.fromarray(a) for a in PIXELS], "label": LABELS})
    monkeypatch.setattr(datasets, "load_dataset", lambda name, subset, split: rows)
    task, _ = load(Path("train"), hub="someone/pictures")
    assert {type(value) for value in task.splits["train"].inputs} == {bytes}


def test_paths_start_at_the_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "paths.jsonl")
    monkeypatch.chdir(path.parent.parent)
    task, _ = load(path)
    assert task.splits["train"].inputs[3] == tmp_path / "img" / "3.png"


def test_missing_image_files_are_named_by_row_and_path(tmp_path: Path) -> None:
    path = write(tmp_path, "paths.jsonl")
    for number in (1, 4):
        (tmp_path / "img" / f"{number}.png").unlink()
    found = only_error(path)
    assert (found.code, found.where) == ("FP471", "task[1].data.train")
    assert "a file that does not exist in lines 2 and 5" in found.message
    assert found.notes == tuple(f"line {n + 1}: `{tmp_path / 'img' / f'{n}.png'}`" for n in (1, 4))


@pytest.mark.parametrize(("value", "what"), [(None, "null"), (" ", "blank"), ({"a": 1}, "type dict")])
def test_values_that_are_no_image_are_found_with_the_data(tmp_path: Path, value: Any, what: str) -> None:
    path = tmp_path / "rows.jsonl"
    rows = rows_of(["x.png", value]) if isinstance(value, str) else rows_of([value, value])
    (tmp_path / "x.png").touch()
    write_jsonl(path, rows)
    found = only_error(path)
    assert found.code == "FP471" and what in found.message and "row" in found.message


def flaws(values: list[Any], **config: Any) -> dict[int, tuple[str, str]]:
    found = encoder(**{"image_size": 4} | config).encode(values).flaws
    return {row: (flaw.what, flaw.detail) for row, flaw in found.rows().items()}


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (b"GIF89a but no more", "cannot be read as an image"),
        ([[1, 2], [3]], "lengths differ"),
        ([["a", "b"], ["c", "d"]], "something else than numbers"),
        ([[True, False], [False, True]], "something else than numbers"),
        ([1, 2, 3], "not height x width"),
        ([[[0] * 5] * 5] * 3, "not height x width"),
        ([[]], "not height x width"),
        ([[0, 256], [1, 2]], "not from 0 to 255"),
        ([[0, -1], [1, 2]], "not from 0 to 255"),
        ([[0, 0.5], [1, 2]], "not whole"),
        ([[0, float("nan")], [1, 2]], "not whole"),
        (numpy.full((4, 4), 700, dtype=numpy.uint16), "not from 0 to 255"),
    ],
)
def test_what_is_no_image_is_named_when_it_is_read(value: Any, what: str) -> None:
    good = numpy.zeros((4, 4), dtype=numpy.uint8)
    found = flaws([good, value, good])
    assert list(found) == [2]
    assert what in found[2][0]


def test_damaged_and_deep_files_are_named(tmp_path: Path) -> None:
    Image.fromarray(PIXELS[0]).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:50])
    Image.fromarray(numpy.full((4, 4), 700, dtype=numpy.uint16)).save(tmp_path / "deep.png")
    found = flaws([tmp_path / "cut.png", tmp_path / "deep.png"])
    assert found[1] == ("a file that cannot be read as an image", f"`{tmp_path / 'cut.png'}`")
    assert found[2][0] == "an image of more than 8 bits per channel"


@pytest.mark.parametrize(
    ("mode", "channels", "expected"), [("RGBA", 3, "RGB"), ("P", 3, "RGB"), ("L", 3, "RGB"), ("RGB", 1, "L")]
)
def test_colours_are_converted_to_what_the_model_takes(mode: str, channels: int, expected: str) -> None:
    assert read_image(Image.new(mode, (4, 4)), channels).mode == expected


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    image, exif = Image.new("L", (6, 2)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "photo.jpg", exif=exif)
    assert read_image(tmp_path / "photo.jpg", 1).size == (2, 6)


def test_images_of_any_size_become_the_models(tmp_path: Path) -> None:
    values = [numpy.full(shape, 51, dtype=numpy.uint8) for shape in ((4, 4), (9, 5), (2, 2, 3))]
    found = encoder(image_size=8, num_channels=1).encode(values)
    assert found.pixels([0, 1, 2]).shape == (3, 1, 8, 8)
    assert torch.allclose(found.pixels(range(len(found))), torch.full((3, 1, 8, 8), 0.2 * 2 - 1), atol=1e-6)
    assert encoder(image_size=[4, 8]).encode(values).shape == (3, 4, 8)


def test_without_a_size_to_go_by_mixed_sizes_are_refused() -> None:
    config = transformers.ResNetConfig(hidden_sizes=[8], depths=[1], embedding_size=8)
    spec = Spec.model_validate({"model": {"config": {"model_type": "resnet"}}})
    found = make_image_encoder(spec, transformers.ResNetModel(config)).encode(
        [numpy.zeros((8, 8)), numpy.zeros((8, 8)), numpy.zeros((9, 8))]
    )
    assert [(row, flaw.detail) for row, flaw in found.flaws.rows().items()] == [
        (3, "3 x 9 x 8, not 3 x 8 x 8")
    ]


def test_the_sources_own_processor_is_used(tmp_path: Path) -> None:
    config = transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=4)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    own = transformers.ViTImageProcessorPil(
        size={"height": 6, "width": 6}, image_mean=[0.0] * 3, image_std=[2.0] * 3
    )
    own.save_pretrained(tmp_path)
    spec = Spec.model_validate({"model": {"source": str(tmp_path)}})
    found = make_image_encoder(spec, transformers.ViTModel(config)).encode([numpy.full((4, 4), 255)])
    assert torch.allclose(found.pixels(range(len(found))), torch.full((1, 3, 6, 6), 0.5), atol=1e-6)


def test_images_without_a_bright_pixel_are_a_warning(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", rows_of([[[0, 1], [1, 0]], [[1.0, 1.0], [0.0, 0.0]]]))
    _, warnings = load(path)
    assert [item.code for item in warnings] == ["FP473"]
    write_jsonl(path, rows_of([[[0, 1], [1, 0]], [[1, 2], [0, 0]]]))
    assert load(path)[1] == ()


def test_images_seen_in_training_are_a_warning(tmp_path: Path) -> None:
    train = write(tmp_path, "numbers.jsonl")
    write_jsonl(tmp_path / "other.jsonl", rows_of([[[9] * 4] * 4, PIXELS[2].tolist()]))
    _, warnings = load(train, validation=str(tmp_path / "other.jsonl"))
    (found,) = warnings
    assert (found.code, "1 of 2 images" in found.message, "line 2" in found.message) == ("FP462", True, True)


def test_a_task_over_images_cannot_be_called_image(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError) as caught:
        load_task_data(spec_of(write(tmp_path, "paths.jsonl"), name="image"))
    assert [item.code for item in caught.value.diagnostics] == ["FP464"]
    assert load_task_data(spec_of(tmp_path / "paths.jsonl", name="text"))[0][0].name == "text"


def test_a_missing_image_column_points_at_its_key(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"picture": "x.png", "label": "a"}) + "\n")
    found = only_error(path)
    assert (found.code, found.where) == ("FP456", "task[1].data.image")


def test_reading_says_what_is_wrong_in_one_sentence() -> None:
    with pytest.raises(BadImage, match="^numbers that are not height x width.* 3$"):
        read_image([1, 2, 3], 1)
