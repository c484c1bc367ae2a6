#!/usr/bin/env bash
# Library:   iterative-stratification 0.1.9, MultilabelStratifiedShuffleSplit with scikit-learn 1.9.1
# Behaviour: train_size and test_size only set the ratio of the two parts: every row goes to one of them, though the
#            sizes are documented as shares of the rows or as counts, give or take a few for the stratification. What
#            neither part asks for, scikit-learn's own splits leave out.
# Seen:      1,000 rows, test_size=0.2 and train_size of 0.05, 0.2 and 0.8: 200, 500 and 800 rows to train on, and
#            800, 500 and 200 to test on; ShuffleSplit gives 50, 200 and 800, and always 200. train_size=10 and
#            test_size=10: 500 and 500
# Hurts:     a learning curve over few examples of several labels has ten times the rows that its axis says, and another
#            test set at each point.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    iterative-stratification==0.1.9 joblib==1.6.0 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1

venv/bin/python - <<'PY'
import sys

import numpy
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from sklearn.model_selection import ShuffleSplit

labels = (numpy.random.default_rng(0).random((1000, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(int)


def sizes(kind, train_size, test_size):
    splits = kind(n_splits=1, train_size=train_size, test_size=test_size, random_state=0)
    return [len(part) for part in next(splits.split(labels, labels))]


asked = [(0.05, 0.2), (0.2, 0.2), (0.8, 0.2), (10, 10)]
given = [sizes(MultilabelStratifiedShuffleSplit, *both) for both in asked]
plain = [sizes(ShuffleSplit, *both) for both in asked]
for (train, test), ours, theirs in zip(asked, given, plain):
    print(f"train_size={train}, test_size={test}: {ours}; ShuffleSplit: {theirs}")
whole = all(sum(parts) == len(labels) for parts in given)
same = whole and given[0][0] > 150 and plain == [[50, 200], [200, 200], [800, 200], [10, 10]]
sys.exit(None if same else "the behaviour has changed")
PY
