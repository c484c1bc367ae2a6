"""transformers: the JSON or YAML of ``TrainingArguments``: everything trains, with the Trainer's decay.

``learning_rate_mapping`` is that of sentence-transformers 6.2.0, restated from ``get_optimizer_cls_and_kwargs`` of its
trainer, https://github.com/huggingface/sentence-transformers: tensors that a pattern hits by ``re.search`` get its
rate, and the last pattern decides.
"""

from __future__ import annotations

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.drafting import Draft
from freezeplan.importing.peers.findings import regex_hits
from freezeplan.importing.reading import TRAINED, Reading, Treatment

NAME, TITLE = "transformers", "transformers' TrainingArguments"
KEYS = {"per_device_train_batch_size", "num_train_epochs", "lr_scheduler_type", "max_steps"}
MAPPING = "learning_rate_mapping"


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return "learning_rate" in config.data and bool(KEYS & config.data.keys())


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model, literally or as it is meant."""
    draft = Draft(config, model, meant, TRAINED)
    for text in config.table(MAPPING):
        path = (MAPPING, text)
        hits = regex_hits(config, path, str(text), model, search=True)
        if not hits.literal:
            raise config.error(path, "FP194", f"there `{text}` is an error: it matches no parameter")
        rate = config.rate(*path)
        if rate == 0:
            raise config.error(path, "FP193", "a rate of 0 cannot be imported: it is not frozen")
        by = draft.say(f"{MAPPING}: {text}", path)
        draft.put(draft.chosen(path, str(text), hits), Treatment(True, lr=rate), by)
    return draft.with_hugging_face()
