#!/usr/bin/env bash
# Library:   mlxtend 0.25.0, bootstrap_point632_score(method=".632+") with scikit-learn 1.9.1
# Behaviour: the relative overfitting rate is not held between 0 and 1, as the paper that the docstring names has it. In
#            a split whose held-out error is above that of guessing, the weight passes through infinity: the accuracy
#            of the split, and with it the mean, can be anything; it is nan where guessing and training are as good.
# Seen:      100 rows of noise, every tenth positive, a decision tree, 100 splits: the mean accuracy is 1.005, with
#            splits of 19.08; every fifth positive: -0.327, with splits of -107.78. "oob" and ".632" of the same splits
#            say 0.830 and 0.870, 0.644 and 0.727. A classifier that always answers with the greater class: nan
# Hurts:     a probe on frozen features that has nothing to learn gets a score above 1, or the best of all methods;
#            percentiles of the splits are no interval.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    joblib==1.6.0 mlxtend==0.25.0 numpy==2.4.6 pandas==3.1.1 scikit-learn==1.9.1 scipy==1.17.1

venv/bin/python -W ignore - <<'PY'
import sys

import numpy
from mlxtend.evaluate import bootstrap_point632_score
from sklearn.dummy import DummyClassifier
from sklearn.tree import DecisionTreeClassifier

features = numpy.random.default_rng(9).normal(size=(100, 5))


def splits(classifier, method, every):
    labels = numpy.arange(100) % every == 0
    return bootstrap_point632_score(classifier, features, labels, n_splits=100, method=method, random_seed=1)


means, inside = {}, True
for every in (10, 5):
    for method in ("oob", ".632", ".632+"):
        scores = splits(DecisionTreeClassifier(random_state=0), method, every)
        means[method, every] = scores.mean()
        inside &= method == ".632+" or bool(0 <= scores.min() and scores.max() <= 1)
        print(f"one of {every:2}, {method:5} mean {scores.mean():6.3f}, {scores.min():7.2f} to {scores.max():5.2f}")
constant = splits(DummyClassifier(), ".632+", 10).mean()
print("the greater class, .632+:", constant)
outside = means[".632+", 10] > 1 and means[".632+", 5] < 0
sys.exit(None if inside and outside and numpy.isnan(constant) else "the behaviour has changed")
PY
