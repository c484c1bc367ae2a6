#!/usr/bin/env bash
# Library:   small-text 1.4.1, FineTuningArguments, with transformers 4.57.6 and torch 2.13.0
# Behaviour: layerwise_gradient_decay=-1 is the way to switch the decay of rates off, says the error for other values
#            outside of 0 and 1. It is used as the factor: rates alternate from layer to layer between lr and -lr. torch
#            tests the sign of the rate of an optimizer, not of its groups.
# Seen:      BERT of two layers, lr 0.001: with -1 the classifier has 0.001, the pooler -0.001, layer 1 0.001, layer 0
#            -0.001, the embeddings 0.001. With None all have 0.001. Training runs without a message
# Hurts:     every second layer climbs the loss as fast as the others descend. gradual_unfreezing needs a value for the
#            decay beside it, and -1 is the one that is told.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    dill==0.4.1 huggingface_hub==0.36.0 numpy==2.4.6 safetensors==0.8.0 scikit-learn==1.9.1 scipy==1.17.1 \
    small-text==1.4.1 tokenizers==0.22.1 transformers==4.57.6

HF_HUB_OFFLINE=1 venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import numpy
from small_text import TransformerBasedClassification, TransformerModelArguments, TransformersDataset
from small_text.integrations.transformers.classifiers.classification import FineTuningArguments
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
SIZES = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 1}
with open("vocab.txt", "w") as file:
    file.write("\n".join(WORDS))
TOKENIZER = BertTokenizer("vocab.txt")
TOKENIZER.save_pretrained("model")
config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=8, num_labels=2, **SIZES)
BertForSequenceClassification(config).save_pretrained("model")
LABELS = numpy.array([0, 1])
ROWS = TransformersDataset.from_arrays(["good", "bad"], LABELS, TOKENIZER, target_labels=LABELS, max_length=8)


class Kept(TransformerBasedClassification):
    def _default_optimizer(self, lr):
        parameters, self.kept = super()._default_optimizer(lr)
        return parameters, self.kept


def rates(decay):
    classifier = Kept(
        TransformerModelArguments("model"),
        num_classes=2,
        num_epochs=1,
        lr=0.001,
        device="cpu",
        fine_tuning_arguments=FineTuningArguments(base_lr=0.001, layerwise_gradient_decay=decay),
    )
    classifier.fit(ROWS, validation_set=ROWS)
    names = {id(weight): name for name, weight in classifier.model.named_parameters()}
    groups = {names[id(group["params"][0])]: group["initial_lr"] for group in classifier.kept.param_groups}
    parts = ("embeddings", "layer.0", "layer.1", "pooler", "classifier")
    return [sorted({rate for name, rate in groups.items() if part in name}) for part in parts]


seen = {decay: rates(decay) for decay in (None, -1)}
for decay, by_layer in seen.items():
    print(f"layerwise_gradient_decay={decay}: {by_layer}")
same = seen == {None: [[0.001]] * 5, -1: [[0.001], [-0.001], [0.001], [-0.001], [0.001]]}
sys.exit(None if same else "the behaviour has changed")
PY
