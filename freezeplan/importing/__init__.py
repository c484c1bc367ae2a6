"""Specs from the configs of other tools: what they do there, said here, and proved the same on a model."""

PEER_NAMES = (
    "finetuning-scheduler",
    "mmengine",
    "allennlp",
    "automodel",
    "llamafactory",
    "axolotl",
    "ms-swift",
    "timm",
    "transformers",
)
"""The tools whose configs can be imported, in the order in which a config is tried."""
