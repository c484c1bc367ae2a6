#!/usr/bin/env bash
# Library:   sentence-transformers 6.2.0, RerankingEvaluator, with torch 2.13.0
# Behaviour: the positive documents stand before the negative ones when the scores are sorted, and equal scores keep
#            that order. MRR gives every tie to the positives; MAP and NDCG of the same call share it out.
#            InformationRetrievalEvaluator gives ties to the documents that come first in the corpus, in all metrics.
# Seen:      a model with one embedding for everything, one positive and four negatives: MRR 1.0, MAP 0.2, NDCG 0.5897
#            four documents, the right one first in the corpus: accuracy, MRR and MAP 1.0; last: 0.0, 0.25, 0.25
# Hurts:     a fine-tuned model that has collapsed, or scores rounded to half precision, have the best MRR that there
#            is, and the checkpoint with the best MRR is that one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    huggingface_hub==2.4.0 numpy==2.4.6 safetensors==0.8.0 scikit-learn==1.9.1 scipy==1.17.1 \
    sentence-transformers==6.2.0 tokenizers==0.23.3 transformers==5.23.0

HF_HUB_OFFLINE=1 venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import sys

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator, RerankingEvaluator
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

vocabulary = {word: place for place, word in enumerate("? q a b c d e".split())}
tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
collapsed = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=torch.ones(7, 4))], device="cpu")


def rounded(scores):
    return {name.removeprefix("cosine_"): round(float(score), 4) for name, score in scores.items()}


def retrieved(right):
    corpus = {place: place for place in "abcd"}
    one = {"mrr_at_k": [10], "map_at_k": [10], "accuracy_at_k": [1], "ndcg_at_k": [10], "precision_recall_at_k": [1]}
    scores = rounded(InformationRetrievalEvaluator({"q": "q"}, corpus, {"q": {right}}, **one)(collapsed))
    return [scores[name] for name in ("accuracy@1", "mrr@10", "map@10")]


reranked = rounded(RerankingEvaluator([{"query": "q", "positive": ["a"], "negative": list("bcde")}])(collapsed))
first, last = retrieved("a"), retrieved("d")
print("reranking:", reranked)
print("retrieval, right document first and last:", first, last)
same = reranked == {"map": 0.2, "mrr@10": 1.0, "ndcg@10": 0.5897}
same &= (first, last) == ([1.0, 1.0, 1.0], [0.0, 0.25, 0.25])
sys.exit(None if same else "the behaviour has changed")
PY
