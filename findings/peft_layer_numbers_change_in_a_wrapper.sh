#!/usr/bin/env bash
# Library:   peft 0.21.2, LoraConfig(layers_to_transform=...), with timm 1.0.31 and torch 2.13.0
# Behaviour: the number of a layer is the first number in its name with at least two parts before it. Of a model whose
#            stages stand at the top (layers.0.blocks.1) that is the number of the block; inside another module
#            (backbone.layers.0.blocks.1) it is the number of the stage. layers_pattern="layers" means the stage twice.
# Seen:      a Swin with stages of 2, 2, 4 and 2 blocks, layers_to_transform=[0]: the first block of each of the four
#            stages; within Sequential both blocks of the first stage. A ViT, whose blocks stand at the top, raises an
#            error without the wrapper: "Target modules {'qkv'} not found".
# Hurts:     putting the backbone beside a head of one's own moves the adapters to other layers. Only a number that no
#            name holds in that place is an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check install --quiet torch==2.13.0
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps timm==1.0.31 torchvision==0.28.0
venv/bin/python -m pip --disable-pip-version-check install --quiet accelerate==1.15.0 huggingface_hub==2.4.0 \
    numpy==2.4.6 peft==0.21.2 pillow==13.0.0 safetensors==0.8.0 transformers==5.23.0

venv/bin/python - <<'PY' 2> stderr.txt || { cat stderr.txt >&2; exit 1; }
import re
import sys

import torch

# timm imports torchvision, none of whose operators are used here. A torchvision that was built for another
# variant of torch cannot describe its operators to this one; it is let in without that.
register, torch.library.register_fake = torch.library.register_fake, lambda *_, **__: lambda function: function
import torchvision  # noqa: F401

torch.library.register_fake = register
import timm
from peft import LoraConfig, get_peft_model


def swin():
    sizes = {"depths": (2, 2, 4, 2), "embed_dim": 8, "num_heads": (1, 1, 1, 1)}
    return timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, num_classes=0, **sizes)


def vit():
    return timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, depth=2)


def adapted(model, **options):
    config = LoraConfig(r=2, target_modules=["qkv"], layers_to_transform=[0], **options)
    try:
        names = [name for name, _ in get_peft_model(model, config).named_modules() if name.endswith("lora_A")]
    except ValueError as error:
        return type(error).__name__
    return [re.search(r"(layers\.\d+\.)?blocks\.\d+", name).group() for name in names]


within = torch.nn.Sequential
seen = {
    "Swin": adapted(swin()),
    "Swin within": adapted(within(swin())),
    "Swin, layers_pattern": adapted(swin(), layers_pattern="layers"),
    "Swin within, layers_pattern": adapted(within(swin()), layers_pattern="layers"),
    "ViT": adapted(vit()),
    "ViT within": adapted(within(vit())),
}
for name, layers in seen.items():
    print(f"{name}: {layers}")
stage = ["layers.0.blocks.0", "layers.0.blocks.1"]
blocks = [f"layers.{number}.blocks.0" for number in range(4)]
recorded = [blocks, stage, stage, stage, "NoMatchingPeftModuleError", ["blocks.0"]]
sys.exit(None if list(seen.values()) == recorded else "the behaviour has changed")
PY
