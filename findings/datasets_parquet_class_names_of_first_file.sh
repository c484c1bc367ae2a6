#!/usr/bin/env bash
# Library:   datasets 5.2.0, load_dataset("parquet")
# Behaviour: a Parquet file written by datasets holds the names of its classes. When several files are loaded, as
#            shards or as splits, the names of the first file are put on the numbers of all the others. With
#            other orders of the same names the labels are exchanged. concatenate_datasets refuses such tables.
# Seen:      the second file holds neg, pos (named pos, neg there); it is read as pos, neg
# Hurts:     class_encode_column and other encoders number the classes by what they meet in each file, so train
#            and test sets prepared one by one disagree: the reported accuracy is that of exchanged labels.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    datasets==5.2.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$folder/cache" venv/bin/python - <<'PY'
import sys

from datasets import ClassLabel, Dataset, Features, concatenate_datasets, disable_progress_bars, load_dataset

disable_progress_bars()


def table(*names):
    return Dataset.from_dict({"label": ["neg", "pos"]}, features=Features({"label": ClassLabel(names=list(names))}))


def labels(rows):
    return [rows.features["label"].int2str(number) for number in rows["label"][:]]


first, second = table("neg", "pos"), table("pos", "neg")
print("written:", labels(first), labels(second))
first.to_parquet("a.parquet")
second.to_parquet("b.parquet")
splits = labels(load_dataset("parquet", data_files={"train": "a.parquet", "test": "b.parquet"})["test"])
shards = labels(load_dataset("parquet", data_files=["a.parquet", "b.parquet"], split="train"))
print("the second file, read as the split test:", splits)
print("both files, read as shards of one split:", shards)
try:
    concatenate_datasets([first, second])
    refused = False
except ValueError as error:
    refused = True
    print("concatenate_datasets:", error)
same = splits == ["pos", "neg"] and shards == ["neg", "pos", "pos", "neg"] and refused
sys.exit(None if same else "the behaviour has changed")
PY
