"""Turn pydantic's errors into diagnostics: a code, the place in the file, plain words, advice."""

from __future__ import annotations

import re
from typing import Any

from freezeplan.diagnostics import Diagnostic, Fix, KeyPart
from freezeplan.diagnostics.wording import closest, format_number, one_slip_away, printable
from freezeplan.spec.document import Document, written
from freezeplan.spec.fields import fields_of, meant_key, suggestion, table_at, title
from freezeplan.spec.locations import KeyPath, at_key
from freezeplan.spec.optimizer_tables import OptimizerTable

CODE = re.compile(r"FP\d{3}")
CHOICE = re.compile(r"'([^']*)'")
WANTED = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "float_type": "a number",
    "int_type": "a whole number",
    "invalid_key": "a string",
    "list_type": "an array",
    "model_type": "a table",
    "string_type": "a string",
}
BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


# What people write for a choice; by spelling alone, `unfrozen` would be close to `frozen`.
SENSES = {
    "trainable": (
        "unfrozen", "unfreeze", "notfrozen", "thaw", "thawed", "unlocked", "train", "trained", "training", "tunable",
        "tune", "finetune", "learn", "learnable", "active", "enabled", "on", "true",
    ),
    "frozen": (
        "freeze", "locked", "lock", "fixed", "static", "untrainable", "nontrainable", "nottrainable", "untrained",
        "inactive", "disabled", "off", "false",
    ),
    "float32": ("fp32", "f32", "single", "full"),
    "bf16": ("bfloat16", "bfloat"),
    "fp16": ("float16", "f16", "half"),
    "token_classification": (
        "ner", "namedentities", "namedentityrecognition", "entities", "pos", "postagging", "upos", "tagging", "tagger",
        "chunking", "slots", "slotfilling", "bio", "sequencelabeling", "sequencelabelling", "sequencetagging", "tokens",
    ),
    "classification": (
        "sentiment", "sentimentanalysis", "intent", "topic", "textclassification", "sequenceclassification",
        "imageclassification", "singlelabel", "singlelabelclassification", "multiclass", "binary", "nli", "entailment",
    ),
    "multi_label": ("multilabel", "multilabelclassification", "multitag"),
    "regression": ("number", "numbers", "score", "scores", "rating", "textregression"),
    "similarity": ("sts", "stsb", "semantictextualsimilarity", "textsimilarity", "sentencesimilarity", "cosine"),
    "embedding": (
        "embeddings", "sentenceembedding", "sentenceembeddings", "retrieval", "contrastive", "triplet", "triplets",
        "mnr", "mnrl", "multiplenegativesranking", "featureextraction",
    ),
    "causal_lm": (
        "lm", "clm", "causal", "llm", "gpt", "languagemodel", "languagemodeling", "languagemodelling", "generation",
        "textgeneration", "completion", "completions", "chat", "sft", "instruction", "instructiontuning",
    ),
}  # fmt: skip
TABLES = {
    "layer_decay": 'layer_decay = {{ formula = "beit", rate = {number} }}',
    "expect": "expect = {{ tensors = {number} }}",
    "until": 'until = {{ metric = "TASK/accuracy", patience = 2, max_epochs = 10 }}',
    "data": 'data = {{ train = "train.jsonl", validation = "validation.jsonl" }}',
}

# What people mean by a number that is not allowed, most often 0.
LEFT_OUT = {
    "class_weights": "to leave a class out, leave out its rows; to count them less, write a number such as 0.1",
    "clip_norm": "a very large number, such as 1e9, clips nothing",
    "lr": 'what is not to train is frozen by a rule: state = "frozen"',
    "weight": "to leave a task out, remove it; to count it less, write a number such as 0.1",
}
EXAMPLE_NUMBERS = {"layer_decay": "0.8", "expect": "4"}


def as_diagnostic(document: Document, error: dict[str, Any]) -> Diagnostic:
    """Return the diagnostic of one entry of ``ValidationError.errors()``.

    It points at the key for an unknown key, at the table's header for a missing one, else at the value.
    """
    kind = error["type"]
    path = document.known(error["loc"])
    if kind == "extra_forbidden" or (kind == "model_type" and _is_strange(path)):
        return _unknown_key(document, path)
    if kind == "missing":
        return _missing_key(document, path, str(error["loc"][-1]))
    code, message, advice = _value_problem(path, error)
    if kind in ("list_type", "model_type") and document.locations.value(path) is None:
        return at_key(path, code, message, help=advice, part=KeyPart.HEADER)
    return at_key(path, code, message, help=advice, fix=_fix(path, error))


def _fix(path: KeyPath, error: dict[str, Any]) -> Fix | None:
    """Return two brackets for the one of an array of tables, or the choice that is one slip away."""
    given = error["input"]
    if error["type"] == "list_type" and isinstance(given, dict) and len(path) == 1:
        return Fix(f"[{path[0]}]", f"[[{path[0]}]]")
    if error["type"] == "literal_error" and isinstance(given, str):
        meant = one_slip_away(given, CHOICE.findall(error["ctx"]["expected"]))
        return Fix(f'"{given}"', f'"{meant}"') if meant else None
    return None


def _is_strange(path: KeyPath) -> bool:
    """Whether a key of ``[optimizer]`` that is no table is none of its own keys either."""
    table = table_at(path[:-1])
    return table is OptimizerTable and str(path[-1]) not in fields_of(OptimizerTable)


def _unknown_key(document: Document, path: KeyPath) -> Diagnostic:
    parent, name = path[:-1], str(path[-1])
    message = f"unknown key `{printable(name)}` in {title(parent)}"
    fix = _renamed(document, parent, name)
    return at_key(path, "FP101", message, help=suggestion(name, parent), part=KeyPart.KEY, fix=fix)


def _renamed(document: Document, parent: KeyPath, name: str) -> Fix | None:
    """Return the key that is certain to be meant, where the table does not have it already."""
    meant, table = meant_key(name, parent), document.at(parent)
    taken = isinstance(table, dict) and meant in table
    return Fix(name, meant) if meant and not taken else None


def _missing_key(document: Document, path: KeyPath, name: str) -> Diagnostic:
    message = f"{title(path)} has no `{name}`"
    return at_key(path, "FP102", message, help=f"add {EXAMPLES.get(name, f'`{name}`')}", part=KeyPart.HEADER)


EXAMPLES = {
    "match": '`match = "PATTERN"`',
    "name": '`name = "…"`',
    "formula": '`formula = "beit"`, or another of the published ones',
}


def _value_problem(path: KeyPath, error: dict[str, Any]) -> tuple[str, str, str | None]:
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    name = label(path)
    if CODE.fullmatch(kind):
        return kind, context["message"], context.get("help")
    if kind == "literal_error":
        return _unknown_choice(name, given, CHOICE.findall(context["expected"]))
    if kind in WANTED:
        wanted = _wanted(path, kind)
        return "FP103", f"{name} must be {wanted}, not {written(given)}", _type_advice(path, kind, given)
    if kind in BOUNDS:
        bound, words = BOUNDS[kind]
        message = f"{name} must be {words} {format_number(context[bound])}, not {written(given)}"
        return "FP104", message, _bound_advice(path)
    if kind == "finite_number":
        return "FP104", f"{name} must be a finite number, not {written(given)}", _default_advice(path)
    if kind == "too_short":
        return "FP104", f"{name} must not be empty", "write at least one entry"
    return "FP104", f"{name} has a value that is not allowed: {error['msg'].lower()}", None


def _bound_advice(path: KeyPath) -> str | None:
    own = next((part for part in path if part in LEFT_OUT), None)
    return _default_advice(path) if own is None else LEFT_OUT[str(own)]


def _default_advice(path: KeyPath) -> str | None:
    table = table_at(path[:-1])
    field = fields_of(table).get(str(path[-1])) if table and path else None
    default = field.default if field else None
    return f"the default is {written(default)}" if isinstance(default, (int, float)) else None


def label(path: KeyPath) -> str:
    """Name a value in a message: its key, or which entry of its key it is."""
    if not path:
        return "the spec"
    if isinstance(path[-1], int):
        return f"entry {path[-1] + 1} of {label(path[:-1])}"
    return f"`{printable(str(path[-1]))}`"


def _unknown_choice(name: str, given: Any, choices: list[str]) -> tuple[str, str, str]:
    listed = ", ".join(f'"{choice}"' for choice in choices)
    guess = _meant(given, choices) if isinstance(given, str) else None
    return (
        "FP105",
        f"{name} cannot be {written(given)}",
        f"{guess} choices: {listed}" if guess else f"choices: {listed}",
    )


def _meant(given: str, choices: list[str]) -> str | None:
    word = re.sub(r"[^a-z0-9]", "", given.lower())
    known = next((choice for choice in choices if word in (choice, *SENSES.get(choice, ()))), None)
    return f'did you mean "{known}"?' if known else closest(given, choices, shape='"{}"')


def _wanted(path: KeyPath, kind: str) -> str:
    if kind == "list_type" and _takes_one_string(path):
        return "a string or an array of strings"
    if kind == "list_type" and path in (("rule",), ("task",)):
        return "an array of tables"
    return WANTED[kind]


def _takes_one_string(path: KeyPath) -> bool:
    table = table_at(path[:-1])
    field = fields_of(table).get(str(path[-1])) if table and path else None
    return field is not None and "as_list" in repr(field)


def _type_advice(path: KeyPath, kind: str, given: Any) -> str | None:
    name = path[-1] if path else ""
    if kind == "list_type" and isinstance(given, dict):
        return f"write `[[{name}]]`, with two brackets"
    if kind == "list_type" and isinstance(given, str):
        return f'write it as an array: `{name} = ["{printable(given)[:40]}"]`'
    if kind == "model_type" and name in TABLES and not isinstance(given, list):
        is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
        return f"write `{TABLES[name].format(number=written(given) if is_number else EXAMPLE_NUMBERS.get(name))}`"
    if kind == "model_type" and isinstance(given, list) and len(path) == 1:
        return f"write `[{name}]`, with one bracket"
    if kind in ("int_type", "float_type", "bool_type") and isinstance(given, str):
        return _without_quotes(kind, given)
    if kind == "int_type" and isinstance(given, float) and given.is_integer():
        return f"write {given:.0f}" if abs(given) < 1e15 else None
    if kind == "string_type" and isinstance(given, (int, float)):
        return f'put it in quotes: "{written(given)}"'
    return None


def _without_quotes(kind: str, given: str) -> str | None:
    if kind == "bool_type":
        return f"write {given.lower()} without quotes" if given.lower() in ("true", "false") else None
    try:
        float(given)
    except ValueError:
        return None
    return f"write {given.strip()} without quotes"
