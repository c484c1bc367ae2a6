#!/usr/bin/env bash
# Library:   tokenizers 0.23.3
# Behaviour: a token that is added later is looked for before words are split, and so inside words as well. What
#            follows it in the same word is tokenized as the start of a word, not as its continuation.
# Seen:      before: million; nation ##al. After add_tokens(["ion"]): m ##i ##l ##l ion; n ##a ##t ion a ##l
#            AddedToken("ion", single_word=True) leaves both words whole
# Hurts:     a term of the domain that is added before fine-tuning changes the tokens of common words that the model
#            was pretrained on, to a new, random embedding and to pieces it never saw in that place.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet huggingface_hub==2.4.0 tokenizers==0.23.3

venv/bin/python - <<'PY'
import string
import sys

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

letters = [*string.ascii_lowercase, *("##" + letter for letter in string.ascii_lowercase)]
vocabulary = {piece: number for number, piece in enumerate(["[UNK]", "million", "nation", "##al", *letters])}


def tokens(*added):
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_tokens(list(added))
    return [tokenizer.encode(word).tokens for word in ("million", "national", "ion")]


seen = [tokens(), tokens("ion"), tokens(AddedToken("ion", single_word=True))]
for name, given in zip(("before", 'after add_tokens(["ion"])', "with single_word=True"), seen):
    print(f"{name}: {given}")
cut = [["m", "##i", "##l", "##l", "ion"], ["n", "##a", "##t", "ion", "a", "##l"], ["ion"]]
whole = [["million"], ["nation", "##al"], ["ion"]]
sys.exit(None if seen[1] == cut and seen[2] == whole else "the behaviour has changed")
PY
