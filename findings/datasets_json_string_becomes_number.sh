#!/usr/bin/env bash
# Library:   datasets 5.2.0, load_dataset("json")
# Behaviour: when the values of a column have several types, the column becomes the feature Json: every value
#            is stored as JSON text and decoded on reading. A value that is a string already is taken for such
#            text: if its characters happen to be valid JSON, it comes back as a number, a truth value, None or
#            a list. A column of strings alone is read as written.
# Seen:      "01" -> 1, "1e3" -> 1000.0, "true" -> True, "null" -> None, "[1]" -> [1]; "abc" -> "abc"
# Hurts:     class names such as "01" and "1" fall together and answers such as "null" vanish, without a word,
#            as soon as one row of the file holds a number in that column.
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
RECORDED = {"01": 1, "1e3": 1000.0, "true": True, "null": None, "[1]": [1], "abc": "abc"}


def read(name, labels):
    with open(name, "w") as file:
        file.writelines(json.dumps({"label": label}) + "\n" for label in labels)
    return datasets.load_dataset("json", data_files=name, split="train")


mixed = read("mixed.jsonl", [7, *RECORDED])
print(mixed.features["label"], [row["label"] for row in mixed])
strings = read("strings.jsonl", RECORDED)
print(strings.features["label"], [row["label"] for row in strings])

same = [row["label"] for row in mixed] == [7, *RECORDED.values()]
same &= [row["label"] for row in strings] == list(RECORDED)
sys.exit(None if same else "the behaviour has changed")
PY
