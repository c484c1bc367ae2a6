#!/usr/bin/env bash
# Library:   setfit 1.2.0, SetFitModel.fit, with sentence-transformers 6.2.0 and torch 2.13.0
# Behaviour: fit with a differentiable head freezes the body, trains the head and thaws the body, all of it. What was
#            frozen before is trainable afterwards. With end_to_end=True it is left as it is.
# Seen:      a body of 21 tensors with its five of the embeddings frozen: 16 are trainable, after fit(end_to_end=True)
#            too, after fit() all 21. A fit(end_to_end=True) that follows it moves the word embeddings, which stay where
#            they are without the fit() before
# Hurts:     Trainer.train ends with this call. Layers that are frozen by hand, to save memory or to keep a language,
#            are kept in the first training and trained from the second on, with new data for instance.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    accelerate==1.15.0 datasets==5.2.0 evaluate==0.4.6 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 \
    safetensors==0.8.0 scikit-learn==1.9.1 scipy==1.17.1 sentence-transformers==6.2.0 setfit==1.2.0 \
    tokenizers==0.23.3 transformers==5.23.0

HF_HUB_OFFLINE=1 venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from setfit import SetFitHead, SetFitModel
from transformers import BertConfig, BertModel, BertTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
SIZES = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
torch.manual_seed(0)
with open("vocab.txt", "w") as file:
    file.write("\n".join(WORDS))
BertTokenizer("vocab.txt").save_pretrained("body")
config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=8, **SIZES)
BertModel(config, add_pooling_layer=False).save_pretrained("body")


def after(*calls):
    transformer = Transformer("body", model_kwargs={"add_pooling_layer": False})
    body = SentenceTransformer(modules=[transformer, Pooling(8)], device="cpu")
    frozen = [weight for name, weight in body.named_parameters() if ".embeddings." in name]
    for weight in frozen:
        weight.requires_grad = False
    start = frozen[0].clone()
    model = SetFitModel(model_body=body, model_head=SetFitHead(in_features=8, out_features=2, device="cpu"))
    for end_to_end in calls:
        model.fit(
            ["good", "bad"],
            [0, 1],
            num_epochs=1,
            batch_size=2,
            body_learning_rate=0.01,
            head_learning_rate=0.01,
            end_to_end=end_to_end,
            show_progress_bar=False,
        )
    trainable = sum(weight.requires_grad for weight in body.parameters())
    return [len(frozen), trainable, not torch.equal(start, frozen[0])]


seen = {
    "no fit": after(),
    "fit(end_to_end=True)": after(True),
    "fit()": after(False),
    "fit(), then fit(end_to_end=True)": after(False, True),
}
for calls, (frozen, trainable, moved) in seen.items():
    print(f"{calls}: {frozen} were frozen, {trainable} are trainable, word embeddings moved: {moved}")
recorded = [[5, 16, False], [5, 16, False], [5, 21, False], [5, 21, True]]
sys.exit(None if list(seen.values()) == recorded else "the behaviour has changed")
PY
