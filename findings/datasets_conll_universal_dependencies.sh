#!/usr/bin/env bash
# Library:   datasets 5.2.0, load_dataset("conll") with the column names that its docstring gives for CoNLL-U
# Behaviour: the lines of a multiword token (2-3) and of an empty node (3.1) stay in the sentence beside the words
#            that they stand for, so words are there twice and "head" no longer counts positions. By default a
#            line is split at any blank, though CoNLL-U allows blanks in a word: such a line moves by one
#            column from there on, and its last field is cut.
# Seen:      "I don't sleep": forms I, don't, do, n't, sleep, dreams
#            "10 000 fish" with the default delimiter: form "10", lemma "000", upos "10", head "_"
# Hurts:     taggers and parsers are trained on words twice and on heads that point elsewhere; columns that moved
#            give new classes ("10" as a part of speech). The file is valid and no line is complained about.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet \
    datasets==5.2.0 huggingface_hub==2.4.0 numpy==2.4.6 pandas==3.1.1 pyarrow==26.0.1

HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$folder/cache" venv/bin/python - <<'PY'
import sys

import datasets

datasets.disable_progress_bars()
COLUMNS = ["id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"]
SENTENCE = [
    ["1", "I", "I", "PRON", "_", "_", "4", "nsubj", "4:nsubj", "_"],
    ["2-3", "don't", "_", "_", "_", "_", "_", "_", "_", "_"],
    ["2", "do", "do", "AUX", "_", "_", "4", "aux", "4:aux", "_"],
    ["3", "n't", "not", "PART", "_", "_", "4", "advmod", "4:advmod", "_"],
    ["4", "sleep", "sleep", "VERB", "_", "_", "0", "root", "0:root", "_"],
    ["4.1", "dreams", "dream", "NOUN", "_", "_", "_", "_", "4:obj", "_"],
]
BLANK = [
    ["1", "10 000", "10 000", "NUM", "_", "_", "2", "nummod", "2:nummod", "_"],
    ["2", "fish", "fish", "NOUN", "_", "_", "0", "root", "0:root", "_"],
]


def read(sentence, **options):
    with open("sentence.conllu", "w") as file:
        file.write("# sent_id = 1\n" + "".join("\t".join(line) + "\n" for line in sentence) + "\n")
    options |= {"column_names": COLUMNS, "comment_prefix": "#"}
    return datasets.load_dataset("conll", data_files="sentence.conllu", split="train", **options)[0]


words = read(SENTENCE, delimiter="\t")
root = words["form"][int(words["head"][0]) - 1]
print("forms:", words["form"], "- the head of 'I', counted in them:", root)
moved = read(BLANK)
first = {column: moved[column][0] for column in COLUMNS}
print("10 000 fish, by default:", first)
kept = read(BLANK, delimiter="\t")["form"]
print("10 000 fish, with a tab as the delimiter:", kept)
same = words["form"] == ["I", "don't", "do", "n't", "sleep", "dreams"] and root == "n't"
same &= (first["form"], first["lemma"], first["upos"], first["head"]) == ("10", "000", "10", "_")
same &= kept == ["10 000", "fish"]
sys.exit(None if same else "the behaviour has changed")
PY
