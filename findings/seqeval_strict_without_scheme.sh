#!/usr/bin/env bash
# Library:   seqeval 1.2.2
# Behaviour: mode="strict" without scheme=, and scheme= without mode="strict", both give the lenient score, without a
#            warning. Only the two together are strict.
# Seen:      true B-PER I-PER O B-LOC, predicted I-PER I-PER O B-LOC: F1 1.0 with neither, 1.0 with mode alone, 1.0
#            with the scheme alone, 0.667 with both
# Hurts:     scores that are reported as strict are not: predictions that break the tagging scheme count as
#            right, and numbers of two papers or runs with the same word are not the same measure.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    joblib==1.6.0 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1 seqeval==1.2.2

venv/bin/python - <<'PY'
import sys
import warnings

from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

warnings.simplefilter("error", UserWarning)
true, predicted = [["B-PER", "I-PER", "O", "B-LOC"]], [["I-PER", "I-PER", "O", "B-LOC"]]
options = {
    "neither": {},
    "mode alone": {"mode": "strict"},
    "scheme alone": {"scheme": IOB2},
    "both": {"mode": "strict", "scheme": IOB2},
}
seen = {name: round(float(f1_score(true, predicted, **given)), 3) for name, given in options.items()}
print("F1:", seen)
sys.exit(None if list(seen.values()) == [1.0, 1.0, 1.0, 0.667] else "the behaviour has changed")
PY
