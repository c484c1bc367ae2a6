#!/usr/bin/env bash
# Library:   datasets 5.2.0, load_dataset("hdf5") with h5py 3.16.0
# Behaviour: arrays of unequal lengths are refused at the top of the file, not inside of groups: there the first array,
#            by name, gives the number of rows, and what is longer is cut to it in silence.
# Seen:      a file with the groups test, of 3 rows, and train, of 5: one split of 3 rows, the last two of train are
#            gone; the same arrays without groups, test_label and train_label, are refused
# Hurts:     embeddings that are kept in one file by split or by task lose rows for training; a greater first group, by
#            its name, is an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet datasets==5.2.0 \
    fsspec==2026.9.0 h5py==3.16.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1 venv/bin/python - 2>errors <<'PY' || { cat errors >&2; exit 1; }
import sys

import h5py
from datasets import load_dataset
from datasets.exceptions import DatasetGenerationError


def read(name, arrays):
    with h5py.File(name, "w") as file:
        for path, values in arrays.items():
            file[path] = values
    return load_dataset("hdf5", data_files=name, split="train", cache_dir="cache")[:]


grouped = read("groups.h5", {"test/label": [0, 1, 2], "train/label": [10, 11, 12, 13, 14]})
print("groups:", grouped)
try:
    read("flat.h5", {"test_label": [0, 1, 2], "train_label": [10, 11, 12, 13, 14]})
    refusal = ""
except DatasetGenerationError as error:
    refusal = str(error.__cause__)
print("no groups:", refusal)
same = [row["label"] for row in grouped["test"]] == [0, 1, 2]
same &= [row["label"] for row in grouped["train"]] == [10, 11, 12] and "has length 5 but expected 3" in refusal
sys.exit(None if same else "the behaviour has changed")
PY
