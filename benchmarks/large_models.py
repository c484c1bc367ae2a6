"""Time the inventory of models of hundreds of billions of parameters, each in a process of its own.

``python -m benchmarks.large_models`` prints, for each, the seconds to build it on the meta device and to
find its structure, and the process's peak memory.
"""

from __future__ import annotations

import resource
import time
from multiprocessing import get_context

from freezeplan.inventory.from_module import inventory_of
from freezeplan.outside.quiet import quiet

SHAPES = {
    "BERT base": ("bert", "BertModel", {}),
    "Swin tiny": ("swin", "SwinModel", {}),
    "Llama 3 405B": (
        "llama",
        "LlamaForCausalLM",
        {
            "hidden_size": 16384,
            "intermediate_size": 53248,
            "num_hidden_layers": 126,
            "num_attention_heads": 128,
            "num_key_value_heads": 8,
            "vocab_size": 128256,
        },
    ),
    "DeepSeek V3": ("deepseek_v3", "DeepseekV3ForCausalLM", {}),
}


def measure(name: str) -> None:
    """Print one line about a model, after a first one has loaded what building needs."""
    import torch
    import transformers

    model_type, class_name, settings = SHAPES[name]
    with quiet(), torch.device("meta"):
        transformers.BertModel._from_config(transformers.BertConfig(num_hidden_layers=1))
        made = getattr(transformers, class_name)
        start = time.perf_counter()
        model = made._from_config(transformers.CONFIG_MAPPING[model_type](**settings))
    built = time.perf_counter()
    found = inventory_of(model)
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    numel = sum(info.numel for info in found.tensors) / 1e9
    print(
        f"{name:14}{numel:7.1f}e9 parameters, {len(found.tensors):5} tensors: "
        f"built in {built - start:.2f} s, structure in {done - built:.3f} s, peak {peak:.0f} MiB"
    )


if __name__ == "__main__":
    for shape in SHAPES:
        process = get_context("spawn").Process(target=measure, args=(shape,))
        process.start()
        process.join()
