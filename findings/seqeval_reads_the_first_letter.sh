#!/usr/bin/env bash
# Library:   seqeval 1.2.2
# Behaviour: the first letter of a label is taken for its tag (B, I, E, S, O) and the rest for its type, with a
#            warning but with a score. Labels without a prefix are so read by their initial: what begins with O is
#            outside of everything, what begins with B, E or S is a new entity at every word. The tags U and L of
#            BILOU are not known either unless mode="strict" and a scheme are given.
# Seen:      true Organization, Organization, O, Person; predicted O, O, O, Person: F1 1.0
#            entities of Brand Brand: two; of Ingredient Ingredient: one
#            entities of U-ORG B-ORG L-ORG: one, the first is gone
# Hurts:     a whole class drops out of the score, or is counted by words, because of its name. Renaming a class
#            changes the F1 of the same predictions.
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
from seqeval.metrics.sequence_labeling import get_entities

warnings.simplefilter("ignore")
true = [["Organization", "Organization", "O", "Person"]]
predicted = [["O", "O", "O", "Person"]]
score = float(f1_score(true, predicted))
print("F1 where every Organization is missed:", score)
entities = {labels: get_entities(labels.split()) for labels in ("Brand Brand", "Ingredient Ingredient", "U-ORG B-ORG L-ORG")}
for labels, found in entities.items():
    print(f"{labels}: {found}")
seen = (score, [len(found) for found in entities.values()])
sys.exit(None if seen == (1.0, [2, 1, 1]) else "the behaviour has changed")
PY
