#!/usr/bin/env bash
# Library:   transformers 5.23.0, pipeline("token-classification"), with torch 2.13.0
# Behaviour: with aggregation_strategy="simple" (or first, average, max) only B- and I- are prefixes where words are
#            grouped, but the name of a group is its label after the first hyphen, whatever stands before it.
# Seen:      labels real-estate and tax-estate: both groups are named estate
#            labels S-PER S-PER of two names, one after the other: one group PER
#            labels B-LOC I-LOC E-LOC: two groups LOC
# Hurts:     classes with hyphens in their names become one another; a tagger of the scheme BIOES has its entities
#            split and merged, under names that look right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    huggingface_hub==2.4.0 numpy==2.4.6 safetensors==0.8.0 tokenizers==0.23.3 transformers==5.23.0

HF_HUB_OFFLINE=1 venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import torch
from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast, pipeline

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"]
with open("vocab.txt", "w") as file:
    file.write("\n".join(WORDS))


def groups(labels):
    names = ["O", *dict.fromkeys(labels)]
    sizes = {"vocab_size": len(WORDS), "hidden_size": len(WORDS), "num_hidden_layers": 0, "num_attention_heads": 1}
    config = BertConfig(**sizes, id2label=dict(enumerate(names)))
    model = BertForTokenClassification(config).eval()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.eye_(model.bert.embeddings.word_embeddings.weight)
    torch.nn.init.ones_(model.bert.embeddings.LayerNorm.weight)
    with torch.no_grad():
        for place in range(len(WORDS)):
            label = labels[place - 5] if 5 <= place < 5 + len(labels) else "O"
            model.classifier.weight[names.index(label), place] = 5.0
    tokenizer = BertTokenizerFast.from_pretrained(".")
    tagger = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple")
    return [(group["word"], group["entity_group"]) for group in tagger(" ".join(WORDS[5 : 5 + len(labels)]))]


seen = {labels: groups(labels.split()) for labels in ("real-estate tax-estate", "S-PER S-PER", "B-LOC I-LOC E-LOC")}
for labels, found in seen.items():
    print(f"{labels}: {found}")
same = list(seen.values()) == [
    [("a", "estate"), ("b", "estate")],
    [("a b", "PER")],
    [("a b", "LOC"), ("c", "LOC")],
]
sys.exit(None if same else "the behaviour has changed")
PY
