"""transformers: the JSON or YAML of ``TrainingArguments``: everything trains, at one rate, with the Trainer's decay."""

from __future__ import annotations

from freezeplan.importing.config_file import ConfigFile
from freezeplan.importing.model_names import ModelNames
from freezeplan.importing.peers.findings import Findings, everything, with_hugging_face
from freezeplan.importing.reading import TRAINED, Reading

NAME, TITLE = "transformers", "transformers' TrainingArguments"
KEYS = {"per_device_train_batch_size", "num_train_epochs", "lr_scheduler_type", "max_steps"}
CANNOT = {"optim_target_modules": "GaLore and APOLLO project the gradients of these modules"}


def recognises(config: ConfigFile) -> bool:
    """Tell whether a config is of this tool."""
    return "learning_rate" in config.data and bool(KEYS & config.data.keys())


def read(config: ConfigFile, model: ModelNames, meant: bool) -> Reading:
    """Return what a config does to a model; there is one reading of it."""
    config.without(CANNOT)
    return with_hugging_face(config, [], everything(model, TRAINED), Findings(config, model))
