"""One file per tool: whether a config is of it, and what it does to a model."""

from __future__ import annotations

from freezeplan.importing.peers import (
    allennlp,
    automodel,
    axolotl,
    finetuning_scheduler,
    llamafactory,
    ms_swift,
    openmmlab,
    timm_train,
    transformers_trainer,
)

# In the order in which a config is tried: what is only told by few keys comes last.
PEERS = {
    peer.NAME: peer
    for peer in (
        finetuning_scheduler,
        openmmlab,
        allennlp,
        automodel,
        llamafactory,
        axolotl,
        ms_swift,
        timm_train,
        transformers_trainer,
    )
}
