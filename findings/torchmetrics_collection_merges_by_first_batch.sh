#!/usr/bin/env bash
# Library:   torchmetrics 1.9.0, MetricCollection, with torch 2.13.0
# Behaviour: metrics of a collection share one state where their states are equal after the first batch. The
#            arguments of the metrics are not compared: two thresholds, or with and without ignore_index, are one
#            metric from then on if the first batch does not tell them apart.
# Seen:      BinaryAccuracy at thresholds 0.5 and 0.9, first batch 0.95 and 0.1, second batch 0.7 and 0.6:
#            1.0 and 1.0; with compute_groups=False 1.0 and 0.5
#            micro F1 with and without ignore_index=0, no label 0 in the first batch: 0.7143 twice, not 0.7143 and 0.5
# Hurts:     scores depend on what happens to lie in the first batch, small or easy ones most of all. The pages say
#            that the groups are derived automatically, and show metrics of equal arguments.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    lightning-utilities==0.15.3 numpy==2.4.6 torchmetrics==1.9.0

venv/bin/python - <<'PY'
import sys

import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryAccuracy, MulticlassF1Score


def scores(metrics, batches, **options):
    collection = MetricCollection(metrics, **options)
    for predicted, true in batches:
        collection.update(torch.tensor(predicted), torch.tensor(true))
    return [round(score.item(), 4) for score in collection.compute().values()]


def f1(ignored):
    return MulticlassF1Score(3, average="micro", ignore_index=ignored)


cases = {
    "threshold 0.5 and 0.9": (
        lambda: {"a": BinaryAccuracy(threshold=0.5), "b": BinaryAccuracy(threshold=0.9)},
        [([0.95, 0.1], [1, 0]), ([0.7, 0.6], [1, 1])],
    ),
    "all classes and ignore_index=0": (
        lambda: {"a": f1(None), "b": f1(0)},
        [([1, 2, 1], [1, 2, 2]), ([0, 0, 0, 1], [0, 0, 0, 2])],
    ),
}
seen = []
for case, (metrics, batches) in cases.items():
    seen.append([scores(metrics(), batches), scores(metrics(), batches, compute_groups=False)])
    print(f"{case}: {seen[-1][0]}, without compute groups {seen[-1][1]}")
recorded = [[[1.0, 1.0], [1.0, 0.5]], [[0.7143, 0.7143], [0.7143, 0.5]]]
sys.exit(None if seen == recorded else "the behaviour has changed")
PY
