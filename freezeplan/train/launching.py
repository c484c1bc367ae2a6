"""How many processes a run has: as many as were asked for, or none starts."""

from __future__ import annotations

import os
import random
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from freezeplan.diagnostics import Diagnostic, DiagnosticError, diagnostic
from freezeplan.diagnostics.wording import first_line
from freezeplan.train.ranks import Ranks

SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
BY_ACCELERATE = "ACCELERATE_USE_CPU"
# What `accelerate launch` was told to share a model out by, in the words of its own options.
ENGINES = {
    "ACCELERATE_USE_FSDP": "--use_fsdp",
    "ACCELERATE_USE_DEEPSPEED": "--use_deepspeed",
    "ACCELERATE_USE_MEGATRON_LM": "--use_megatron_lm",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "--use_parallelism_config",
}
ASKED = re.compile(r"--num[_-]processes(?:=|\0)(\d+)")


def chosen_device() -> torch.device:
    """Return the device that one process computes on: the accelerator that torch finds (cuda, mps, xpu …), or the CPU.

    Training by :func:`start_accelerator` and prediction choose alike.
    """
    if torch.accelerator.is_available():
        return torch.device(torch.accelerator.current_accelerator(check_available=True).type)
    return torch.device("cpu")


def start_accelerator() -> Accelerator:
    """Return the accelerator of this process, which has found the others.

    Raises ``DiagnosticError`` when a launcher was asked for more processes than there are (FP557), and where
    another training of this process, or the launcher, has settled accelerate's settings otherwise (FP560).
    """
    check_engines(os.environ)
    asked = asked_processes(os.environ, _launcher())
    # Unless it is told that there is no other device, accelerate leaves each process on a CPU by itself.
    try:
        accelerator = Accelerator(
            mixed_precision="no", cpu=asked > 1 and not torch.accelerator.is_available()
        )
    except ValueError as error:
        raise DiagnosticError([_settled(error)]) from error
    if asked > accelerator.num_processes:
        message = f"{asked} processes were asked for, and {_there_are(accelerator.num_processes)}"
        advice = f"start it with `torchrun --nproc_per_node {asked} -m freezeplan train …`"
        raise DiagnosticError([diagnostic("FP557", message, help=advice)])
    return accelerator


def check_engines(environment: Mapping[str, str]) -> None:
    """Refuse what ``accelerate launch``, or its configuration, would share the model out by (FP560)."""
    for name, option in ENGINES.items():
        if environment.get(name, "false").lower() == "true":
            message = (
                f"accelerate was told to share out the model (`{option}`), and a run does so by its spec"
            )
            advice = 'launch it without, and write `strategy = "shard"` in [train]'
            raise DiagnosticError([diagnostic("FP560", message, help=advice)])


def _settled(error: ValueError) -> Diagnostic:
    # Accelerate keeps one state for the whole process, which its own check compares with what is asked for.
    message = f"accelerate is set up otherwise in this process: {first_line(error)}"
    advice = "start the run in a process of its own: a Trainer with bf16 or fp16 has been in this one"
    return diagnostic("FP560", message, help=advice)


def ranks_of(accelerator: Accelerator) -> Ranks:
    """Return which of the run's processes this is."""
    return Ranks(accelerator.process_index, accelerator.num_processes, accelerator.device)


def set_own_seed(seed: int, ranks: Ranks) -> None:
    """Seed a rank's random numbers, so that no two ranks drop the same units; the first keeps those it has."""
    if not ranks.first:
        set_seed(random.Random(f"{seed}/rank/{ranks.number}").getrandbits(32))


def asked_processes(environment: Mapping[str, str], launcher: str) -> int:
    r"""Return how many processes a launcher was asked for, as far as that can be seen; 1 without one.

    ``launcher`` is the command line of the process that started this one, its words ended by ``\0``:
    ``accelerate launch`` leaves no word of the number in the environment where it starts one process.

    >>> asked_processes({"WORLD_SIZE": "2"}, "")
    2
    >>> asked_processes({"ACCELERATE_USE_CPU": "True"}, "accelerate\0launch\0--cpu\0--num_processes\0002\0")
    2
    >>> asked_processes({}, "bash\0-c\0run --num_processes 2\0")
    1
    """
    sizes = [int(environment[name]) for name in SIZES if environment.get(name, "").isdecimal()]
    found = ASKED.search(launcher) if BY_ACCELERATE in environment else None
    return max([1, *sizes, *([int(found[1])] if found else [])])


def _there_are(count: int) -> str:
    return "there is 1" if count == 1 else f"there are {count}"


def _launcher() -> str:
    """Return the command line of the process that started this one; empty where the system does not tell."""
    if sys.platform == "linux":
        with suppress(OSError):
            return Path(f"/proc/{os.getppid()}/cmdline").read_text("utf-8", "replace")
    return ""
