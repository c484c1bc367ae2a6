#!/usr/bin/env bash
# Library:   datasets 5.2.0, ClassLabel
# Behaviour: where the names of the classes are digits, it depends on the way in whether "1" is a name or a place
#            in the list of names. The CSV reader with features=, and JSON strings, look for the name; JSON numbers,
#            and a cast of a column that was read as numbers, take the place.
# Seen:      names ["2", "1", "0"], labels 1, 2, 0 in the file
#            CSV with features=, JSON strings:                       1, 2, 0
#            CSV and then cast_column, JSON numbers with features=:  1, 0, 2
# Hurts:     star ratings and codes are exchanged between a set read in one way and a set read in the other;
#            all numbers are valid classes, so nothing fails.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    datasets==5.2.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$folder/cache" venv/bin/python - <<'PY'
import sys

from datasets import ClassLabel, Features, disable_progress_bars, load_dataset

disable_progress_bars()
STARS = ClassLabel(names=["2", "1", "0"])
FEATURES = Features({"stars": STARS})
FILES = {
    "stars.csv": "stars\n1\n2\n0\n",
    "numbers.jsonl": '{"stars": 1}\n{"stars": 2}\n{"stars": 0}\n',
    "strings.jsonl": '{"stars": "1"}\n{"stars": "2"}\n{"stars": "0"}\n',
}
for name, text in FILES.items():
    with open(name, "w") as file:
        file.write(text)


def read(name, **options):
    kind = "csv" if name.endswith("csv") else "json"
    return load_dataset(kind, data_files=name, split="train", **options)


def stars(rows):
    return [STARS.int2str(number) for number in rows["stars"][:]]


seen = {
    "CSV with features=": stars(read("stars.csv", features=FEATURES)),
    "JSON strings with features=": stars(read("strings.jsonl", features=FEATURES)),
    "CSV, then cast_column": stars(read("stars.csv").cast_column("stars", STARS)),
    "JSON numbers with features=": stars(read("numbers.jsonl", features=FEATURES)),
}
for way, names in seen.items():
    print(f"{way}: {names}")
by_name, by_place = ["1", "2", "0"], ["1", "0", "2"]
sys.exit(None if list(seen.values()) == [by_name, by_name, by_place, by_place] else "the behaviour has changed")
PY
