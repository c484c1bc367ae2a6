"""Code that uses an exported folder from inside of it, for its card."""

from __future__ import annotations

from freezeplan.tasks import TaskKind

TAGS = {
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForImageClassification": "image-classification",
    "AutoModelForCausalLM": "text-generation",
}
"""What the hub and `pipeline` call what a class does."""
SIMILARITY = "sentence-similarity"
GIVEN = {
    "text": '["A text."]',
    "text_pair": '[{"text": "A text.", "text_pair": "Another one."}]',
    "tokens": '["Some words apart."]',
    "image": '["picture.png"]',
    "prompt": '["A prompt."]',
    "messages": '[[{"role": "user", "content": "A question?"}]]',
}
ENCODED = {
    "text": '["A text."]',
    "text_pair": '["A text."], ["Another one."]',
    "tokens": '[["Some", "words", "apart"]], is_split_into_words=True',
    "image": 'Image.open("picture.png").convert("{mode}")',
}
ALL_FIRST = '["A text.", "Another."] + ["One more text.", "The last one."]'
"""First texts, and the second text of each."""
NAMED = 'names = AutoConfig.from_pretrained(".").id2label\n'
ANSWERS = {
    "classification": NAMED + "print([names[int(place)] for place in logits.argmax(axis=-1)])\n",
    "multi_label": NAMED
    + "print([[names[int(place)] for place in (row > 0).nonzero()[0]] for row in logits])\n",
    "regression": NAMED + "print([dict(zip(names.values(), row.tolist())) for row in logits])\n",
    "token_classification": NAMED
    + "places = logits.argmax(axis=-1)[0]\n"
    + "for token, word in enumerate(batch.word_ids(0)):\n"
    + "    if word is not None and word not in batch.word_ids(0)[:token]:\n"
    + "        print(word, names[int(places[token])])\n",
}


def pipeline_code(stock: str, kind: TaskKind, reads: str) -> str:
    """Return code that runs a stock model: by `pipeline` where there is one for its class.

    ``stock`` is an automatic class of transformers, ``reads`` what a row holds.
    """
    if stock not in TAGS:
        return f'from transformers import {stock}\n\nmodel = {stock}.from_pretrained(".")\n'
    made = ', aggregation_strategy="first"' if kind.reads_words else ""
    called = "" if reads in ("image", "tokens") else ", truncation=True"
    if kind.own_head:
        called = ", max_new_tokens=64, do_sample=False"
    if kind.name in ("multi_label", "regression"):
        called += ", top_k=None"
    return (
        "from transformers import pipeline\n\n"
        f'pipe = pipeline("{TAGS[stock]}", model="."{made})\n'
        f"print(pipe({GIVEN[reads]}{called}))\n"
    )


def graph_code(kind: TaskKind, reads: str, mode: str = "RGB") -> str:
    """Return code that runs a graph of ONNX, and reads its answers off the labels in the config.

    ``mode`` is what Pillow calls images of the model's channels.
    """
    image = reads == "image"
    maker = "AutoImageProcessor" if image else "AutoTokenizer"
    config = "" if kind.compares else "AutoConfig, "
    given = _given(kind, reads).replace("{mode}", mode)
    padded = "" if image else ", padding=True, truncation=True"
    output = "vectors" if kind.from_vectors else "logits"
    lines = [
        *(["import numpy"] if kind.from_vectors else []),
        "import onnxruntime",
        *(["from PIL import Image"] if image else []),
        f"from transformers import {config}{maker}",
        "",
        f'encode = {maker}.from_pretrained(".")',
        'session = onnxruntime.InferenceSession("model.onnx")',
        f'batch = encode({given}{padded}, return_tensors="np")',
        f"({output},) = session.run(None, {{item.name: batch[item.name] for item in session.get_inputs()}})",
    ]
    return "\n".join(lines) + "\n" + (_compared(kind) if kind.compares else ANSWERS.get(kind.name, ""))


def _given(kind: TaskKind, reads: str) -> str:
    if not kind.compares:
        return ENCODED[reads]
    return ENCODED["text"] if kind.from_vectors else ALL_FIRST


def _compared(kind: TaskKind) -> str:
    if not kind.from_vectors:
        return f"print({getattr(kind, 'most', 1.0)!r} * logits[:, 0])  # how alike each first text is to its second\n"
    return (
        "units = vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)\n"
        f"print({getattr(kind, 'most', 1.0)!r} * (units @ units.T))  # how alike each is to each\n"
    )
