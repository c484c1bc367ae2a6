#!/usr/bin/env bash
# Library:   tokenizers 0.23.3
# Behaviour: BERT's normalizer removes control and format characters and treats no-break spaces as blanks. A word of a
#            text that was split before (is_pretokenized) and that holds only such characters gets no token at all:
#            its number is missing between the word ids. One with a no-break space inside becomes two words' tokens
#            under one number.
# Seen:      words "ab", a soft hyphen, "cd": word ids 0, 0, 2, 2
# Hurts:     tagging data from PDF or web pages has such words. Labels that are dealt out in the order of the words
#            that are met slide by one to the end of the sentence, and predictions are fewer than words.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet huggingface_hub==2.4.0 numpy==2.4.6 tokenizers==0.23.3

venv/bin/python - <<'PY'
import string
import sys

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

letters = [*string.ascii_lowercase, *("##" + letter for letter in string.ascii_lowercase)]
pieces = models.WordPiece({piece: number for number, piece in enumerate(["[UNK]", *letters])}, unk_token="[UNK]")
tokenizer = Tokenizer(pieces)
tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
WORDS = {"soft hyphen": "\u00ad", "no-break space": "\u00a0", "zero-width joiner": "\u200d"}

seen = {}
for name, word in WORDS.items():
    encoding = tokenizer.encode(["ab", word, "cd"], is_pretokenized=True)
    seen[name] = encoding.word_ids
    print(f"ab, {name}, cd: tokens {encoding.tokens}, word ids {encoding.word_ids}")
sys.exit(None if all(ids == [0, 0, 2, 2] for ids in seen.values()) else "the behaviour has changed")
PY
