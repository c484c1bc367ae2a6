#!/usr/bin/env bash
# Library:   datasets 5.2.0, load_dataset("csv") (through pandas 3.1.1)
# Behaviour: a CSV file is parsed 10,000 rows at a time, and each part guesses its types alone. Where a text
#            column holds only what looks like numbers or truth values in a later part, the values are parsed as
#            such and then written back as text: zeros in front and behind are gone.
# Seen:      codes after 10,000 rows of "A1": 007 -> '7', 1.10 -> '1.1', 1e5 -> '100000', True -> 'true';
#            after 20 rows of "A1" all are read as written.
# Hurts:     codes, versions and class names of the same column are spelled differently from one row number
#            on: they become new classes, or match the wrong ones. A file with fewer rows never shows it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    datasets==5.2.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$folder/cache" venv/bin/python - <<'PY'
import sys

import datasets

datasets.disable_progress_bars()
RECORDED = {"007": "7", "1.10": "1.1", "1e5": "100000", "True": "true"}


def last_code(code, rows_before):
    with open("codes.csv", "w") as file:
        file.write("code\n" + "A1\n" * rows_before + f"{code}\n")
    return datasets.load_dataset("csv", data_files="codes.csv", split="train")[-1]["code"]


short = {code: last_code(code, 20) for code in RECORDED}
long = {code: last_code(code, 10_000) for code in RECORDED}
print("after 20 rows of text:    ", short)
print("after 10,000 rows of text:", long)
same = long == RECORDED and all(code == read for code, read in short.items())
sys.exit(None if same else "the behaviour has changed")
PY
