#!/usr/bin/env bash
# Library:   datasets 5.2.0 (through the JSON writer of pandas 3.1.1)
# Behaviour: Dataset.to_json keeps ten decimals of a float. The reader does the same: as soon as one column of a
#            JSON Lines file holds two types, every row is written anew with ten decimals before it is parsed,
#            so floats in all the other columns lose digits too. Small numbers become 0.0.
# Seen:      0.1234567890123456 -> 0.123456789 and 1e-12 -> 0.0, written by to_json, and read from a file whose
#            column "label" holds 1 and "a"; with "b" and "a" in that column both are read exactly.
# Hurts:     teacher probabilities and sample weights for distillation turn into zeros (a later log gives -inf),
#            and a stored embedding is no longer the one that was computed. Nothing is said.
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
FLOATS = [0.1234567890123456, 1e-12]


def read(name, labels):
    with open(name, "w") as file:
        file.writelines(json.dumps({"weight": w, "label": label}) + "\n" for w, label in zip(FLOATS, labels))
    return datasets.load_dataset("json", data_files=name, split="train")["weight"][:]


datasets.Dataset.from_dict({"weight": FLOATS}).to_json("written.jsonl")
with open("written.jsonl") as file:
    written = [json.loads(line)["weight"] for line in file]
one_type, two_types = read("one.jsonl", ["b", "a"]), read("two.jsonl", [1, "a"])
print("written by to_json:", written)
print("read beside a column of one type:", one_type)
print("read beside a column of two types:", two_types)
rounded = [0.123456789, 0.0]
sys.exit(None if (written, one_type, two_types) == (rounded, FLOATS, rounded) else "the behaviour has changed")
PY
