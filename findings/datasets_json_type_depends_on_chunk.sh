#!/usr/bin/env bash
# Library:   datasets 5.2.0, load_dataset("json")
# Behaviour: a JSON Lines file is read in chunks (10 MB by default), and the first chunk alone decides the type
#            of a column. A value of another type is kept apart (feature Json) when it lies in the first chunk,
#            but is cast to the first chunk's type when it lies in a later one.
# Seen:      "x" then true:  one chunk True, later chunk 'true' (a string)
#            true then 0:    one chunk 0, later chunk False
#            1 then "01":    later chunk 1 (an integer)
#            null then 3:    one chunk 3, later chunk: DatasetGenerationError
# Hurts:     the same rows give other labels once the file has grown past 10 MB or was shuffled, so a test on
#            a small extract of the data proves nothing about the whole.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    datasets==5.2.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$folder/cache" venv/bin/python - <<'PY'
import json
import sys

import datasets

datasets.disable_progress_bars()
datasets.logging.set_verbosity(datasets.logging.CRITICAL)
RECORDED = {
    "string, then true": ("True bool", "true str"),
    "true, then 0": ("0 int", "False bool"),
    "1, then a string 01": ("1 int", "1 int"),
    "null, then 3": ("3 int", "DatasetGenerationError"),
}
ROWS = {
    "string, then true": ("x", True),
    "true, then 0": (True, 0),
    "1, then a string 01": (1, "01"),
    "null, then 3": (None, 3),
}


def last_value(first, last, **options):
    with open("rows.jsonl", "w") as file:
        file.writelines(json.dumps({"label": value}) + "\n" for value in [first] * 60 + [last])
    try:
        value = datasets.load_dataset("json", data_files="rows.jsonl", split="train", **options)[-1]["label"]
    except datasets.exceptions.DatasetGenerationError as error:
        return type(error).__name__
    return f"{value} {type(value).__name__}"


seen = {name: (last_value(*pair), last_value(*pair, chunksize=100)) for name, pair in ROWS.items()}
for name, (one_chunk, later_chunk) in seen.items():
    print(f"{name}: in one chunk {one_chunk}, in a later chunk {later_chunk}")
sys.exit(None if seen == RECORDED else "the behaviour has changed")
PY
