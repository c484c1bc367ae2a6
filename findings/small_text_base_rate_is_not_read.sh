#!/usr/bin/env bash
# Library:   small-text 1.4.1, FineTuningArguments(base_lr=...), with transformers 4.57.6 and torch 2.13.0
# Behaviour: base_lr is required, checked to be positive and never read. The rates by layer start from lr of the
#            classifier, which is 2e-5 where it is not given.
# Seen:      BERT of two layers, layerwise_gradient_decay=0.5, base_lr 0.001, 0.1 and 2e-5: the classifier has 2e-5, the
#            layers below it 1e-5, 5e-6, 2.5e-6 and 1.25e-6, each time. With lr=0.001: 0.001 down to 6.25e-5
# Hurts:     a search over base_lr compares equal runs, and settings from the ULMFiT paper, which the class names as its
#            source, are trained at another rate.
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


def rates(base, **options):
    classifier = Kept(
        TransformerModelArguments("model"),
        num_classes=2,
        num_epochs=1,
        device="cpu",
        fine_tuning_arguments=FineTuningArguments(base_lr=base, layerwise_gradient_decay=0.5),
        **options,
    )
    classifier.fit(ROWS, validation_set=ROWS)
    return sorted({group["initial_lr"] for group in classifier.kept.param_groups}, reverse=True)


seen = {
    "base_lr=0.001": rates(0.001),
    "base_lr=0.1": rates(0.1),
    "base_lr=2e-5": rates(2e-5),
    "base_lr=2e-5, lr=0.001": rates(2e-5, lr=0.001),
}
for options, by_layer in seen.items():
    print(f"{options}: {by_layer}")
recorded = [[lr * 0.5**layer for layer in range(5)] for lr in (2e-5, 2e-5, 2e-5, 0.001)]
sys.exit(None if list(seen.values()) == recorded else "the behaviour has changed")
PY
