#!/usr/bin/env bash
# Library:   datasets 5.2.0, Dataset.class_encode_column
# Behaviour: a column of whole numbers is turned into classes by sorting the numbers as text. From eleven classes on,
#            the number of a class is no longer the number that was in the file.
# Seen:      0 ... 10 become the names 0, 1, 10, 2, 3 ...: what was 2 is class 3 now, what was 10 is class 2
# Hurts:     stratify_by_column takes only such a column. Afterwards the labels do not fit a list of
#            names, class weights or a checkpoint's id2label made for the numbers in the file; all are in range.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    datasets==5.2.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

HF_HUB_OFFLINE=1 venv/bin/python - <<'PY'
import sys

import datasets

datasets.disable_progress_bars()
nine = datasets.Dataset.from_dict({"label": list(range(10))}).class_encode_column("label")
ten = datasets.Dataset.from_dict({"label": list(range(11))}).class_encode_column("label")
print("0 to 9: ", nine["label"][:])
print("0 to 10:", ten["label"][:], ten.features["label"].names)
same = nine["label"][:] == list(range(10)) and ten["label"][:] == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 2]
sys.exit(None if same else "the behaviour has changed")
PY
