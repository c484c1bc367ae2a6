#!/usr/bin/env bash
# Library:   setfit 1.2.0, SetFitModel.fit(end_to_end=True), with sentence-transformers 6.2.0 and torch 2.13.0
# Behaviour: body_learning_rate and l2_weight are taken for not given where they are 0. The body is then trained at the
#            rate of the head, and everything is decayed by 0.01. Trainer hands its arguments on to this call.
# Seen:      four steps, head_learning_rate 0.01: the largest change in the body is 4e-3 at body_learning_rate 1e-3,
#            4e-5 at 1e-5, 4e-12 at 1e-12 and 0.04 at 0. The embedding of a token that is in no text shrinks by 0.4 %
#            at the rate 1e-1 with l2_weight 0 as it does with 0.01; with 1e-12 it stays
# Hurts:     the rate 0 is how to hold the body in the second phase, body_learning_rate=(2e-5, 0.0). It moves 500 times
#            as fast as in the first phase. A search over weight decays has two equal runs, 0 and 0.01.
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
BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=8, **SIZES)).save_pretrained("body")


def fitted(**rates):
    body = SentenceTransformer(modules=[Transformer("body"), Pooling(8)], device="cpu")
    start = {name: weight.clone() for name, weight in body.named_parameters()}
    torch.manual_seed(0)
    model = SetFitModel(model_body=body, model_head=SetFitHead(in_features=8, out_features=2, device="cpu"))
    model.fit(
        ["good", "bad"],
        [0, 1],
        num_epochs=4,
        batch_size=2,
        head_learning_rate=0.01,
        end_to_end=True,
        show_progress_bar=False,
        **rates,
    )
    moved = max((weight - start[name]).abs().max().item() for name, weight in body.named_parameters())
    table = next(name for name in start if name.endswith("word_embeddings.weight"))
    unused = WORDS.index("[MASK]")
    left = dict(body.named_parameters())[table][unused].norm() / start[table][unused].norm()
    return float(f"{moved:.0e}"), round(left.item(), 4)


moved = {rate: fitted(body_learning_rate=rate, l2_weight=1e-12)[0] for rate in (1e-3, 1e-5, 1e-12, 0.0)}
left = {decay: fitted(body_learning_rate=0.1, l2_weight=decay)[1] for decay in (0.01, 1e-12, 0.0)}
for rate, change in moved.items():
    print(f"body_learning_rate {rate}: the body moves by {change}")
for decay, share in left.items():
    print(f"l2_weight {decay}: {share} of an unused embedding is left")
same = [list(moved.values()), list(left.values())] == [[4e-3, 4e-5, 4e-12, 4e-2], [0.996, 1.0, 0.996]]
sys.exit(None if same else "the behaviour has changed")
PY
