"""Images that are held, and images that are processed again in each batch: the same numbers, or an error."""

from __future__ import annotations

import os
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from freezeplan.data.columns import ImagesBuilder
from freezeplan.diagnostics import DiagnosticError
from freezeplan.train import image_encoding
from freezeplan.train.image_encoding import EncodedImages, ImageEncoder
from tests.data.test_images import encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    chance = numpy.random.default_rng(1)
    for number in range(5):
        pixels = chance.integers(0, 256, (4, 4, 3), dtype=numpy.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return tmp_path


def encoded(
    folder: Path, budget: int | None, monkeypatch: pytest.MonkeyPatch
) -> tuple[ImageEncoder, EncodedImages]:
    made, builder = encoder(image_size=4), ImagesBuilder()
    for number in range(5):
        builder.add(f"{number}.png", folder)
    if budget is not None:
        monkeypatch.setattr(image_encoding, "BUDGET", budget)
    return made, made.encode(builder.done().values)


def test_images_beyond_the_budget_are_processed_per_batch_to_the_same_numbers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, held = encoded(folder, None, monkeypatch)
    _, again = encoded(folder, 100, monkeypatch)
    assert (held.held, again.held) == (True, False)
    rows, device = [3, 0, 3], torch.device("cpu")
    assert torch.equal(
        made.batch(held, rows, device)["pixel_values"], made.batch(again, rows, device)["pixel_values"]
    )
    assert held.digest() == again.digest() and list(held.digests()) == list(again.digests())


@pytest.mark.parametrize("change", ["another image", "no image", "gone"])
def test_an_image_that_changes_while_a_run_goes_on_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    _, images = encoded(folder, 100, monkeypatch)
    if change == "another image":
        Image.new("RGB", (4, 4)).save(folder / "2.png")
    elif change == "no image":
        (folder / "2.png").write_text("no image")
    else:
        (folder / "2.png").unlink()
    assert len(images.pixels([1, 3])) == 2
    with pytest.raises(DiagnosticError, match="FP471.*image 3 is not what it was when the run began"):
        images.pixels([1, 2])


def test_the_digest_is_of_the_pixels_wherever_their_files_lie(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, first = encoded(folder, None, monkeypatch)
    other = tmp_path_factory.mktemp("moved")
    for name in os.listdir(folder):
        (other / name).write_bytes((folder / name).read_bytes())
    monkeypatch.chdir(other)
    assert encoded(Path(), None, monkeypatch)[1].digest() == first.digest()
    Image.new("RGB", (4, 4)).save(other / "2.png")
    assert encoded(Path(), None, monkeypatch)[1].digest() != first.digest()
