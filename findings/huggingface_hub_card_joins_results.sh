#!/usr/bin/env bash
# Library:   huggingface_hub 2.4.0, ModelCardData(eval_results=...)
# Behaviour: results with the same type, config, split and revision of a dataset become one entry of the card, though
#            they differ in dataset_args, dataset_name, task_name or source. All get what the first of them says.
# Seen:      accuracy 0.31 with {"num_few_shot": 0} from https://a.example and 0.74 with {"num_few_shot": 5} from
#            https://b.example: in the card, and read from it again, both have num_few_shot 0 and https://a.example
# Hurts:     a card with results before and after fine-tuning, or from two harnesses, states them under the wrong
#            settings and cites the wrong source.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet huggingface_hub==2.4.0 PyYAML==6.0.3

venv/bin/python - <<'PY'
import sys

from huggingface_hub import EvalResult, ModelCard, ModelCardData


def result(shots, value, source):
    return EvalResult(
        task_type="text-classification",
        dataset_type="glue",
        dataset_name="GLUE",
        dataset_config="mnli",
        dataset_split="validation",
        dataset_args={"num_few_shot": shots},
        metric_type="accuracy",
        metric_value=value,
        source_url=source,
    )


def seen(results):
    return [(one.metric_value, one.dataset_args["num_few_shot"], one.source_url) for one in results]


given = [result(0, 0.31, "https://a.example"), result(5, 0.74, "https://b.example")]
card = ModelCard(f"---\n{ModelCardData(model_name='model', eval_results=given)}\n---\n")
card.save("README.md")
print(open("README.md").read())
before, after = seen(given), seen(ModelCard.load("README.md").data.eval_results)
print("given:", before)
print("read: ", after)
same = after == [(0.31, 0, "https://a.example"), (0.74, 0, "https://a.example")]
sys.exit(None if same else "the behaviour has changed")
PY
