#!/usr/bin/env bash
# Library:   datasets 5.2.0, Dataset.from_generator
# Behaviour: a key that the first row does not have gets no column, and its values in all later rows are dropped in
#            silence. The page of from_list says so of its own; that of from_generator does not, and with the streamed
#            twin, IterableDataset.from_generator, the same generator keeps them.
# Seen:      rows {"text": "a"}, {"text": "b", "label": 1}, {"text": "c", "label": 0}: the dataset has the column text
#            alone; streamed, the last two rows have labels. The first row with "label": None: all three are there
# Hurts:     a generator that leaves out what a row does not have makes a dataset without labels, or without the second
#            task, by the order of its rows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    datasets==5.2.0 fsspec==2026.9.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 venv/bin/python - <<'PY'
import sys

from datasets import Dataset, IterableDataset


def rows(first):
    yield first
    yield {"text": "b", "label": 1}
    yield {"text": "c", "label": 0}


def made(kind, first):
    cache = {"cache_dir": "cache"} if kind is Dataset else {}
    return list(kind.from_generator(rows, gen_kwargs={"first": first}, **cache))


without, null = {"text": "a"}, {"text": "a", "label": None}
table, streamed, marked = made(Dataset, without), made(IterableDataset, without), made(Dataset, null)
print("table:                     ", table)
print("streamed:                  ", streamed)
print("table, the first with None:", marked)
same = table == [{"text": text} for text in "abc"]
same &= [row.get("label") for row in streamed] == [None, 1, 0] == [row["label"] for row in marked]
sys.exit(None if same else "the behaviour has changed")
PY
