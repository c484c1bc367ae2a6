"""What a comparison of language models begins with in place of a probe: the model, and the time of some rows."""

from __future__ import annotations

import time

import torch

from freezeplan.choose.kinds import LANGUAGE
from freezeplan.choose.probe_records import ProbeCost, ProbeReport
from freezeplan.choose.probing import Probed, probed_tasks, without_test
from freezeplan.prefix.examples import rows_at_once
from freezeplan.runs.events import Observer, Working
from freezeplan.spec.tables import Spec
from freezeplan.train.failures import explained
from freezeplan.train.forward import Forward
from freezeplan.train.setup import Setup, prepare

VALIDATION = "validation"
ROWS = 32


def is_language(spec: Spec) -> bool:
    """Whether the spec's tasks are those of a language model, whose head is the model's own."""
    return bool(spec.task) and all(task.kind == LANGUAGE for task in spec.task)


def timed(spec: Spec, observer: Observer) -> Probed:
    """Load the model of a spec whose tasks have no probe, and take the time of its first validation rows."""
    observer(Working("reading the data"))
    with explained():
        setup = prepare(without_test(spec), observer=observer)
    _, left_out = probed_tasks(setup.tasks, (LANGUAGE,))
    layers = next((stack.layers for stack in setup.stacks if stack.main), ())
    cost = ProbeCost(0.0, 0.0, 0, 0) if left_out else _cost(setup, observer)
    return Probed(ProbeReport(setup.plan.model, layers, (), left_out, cost), {}, setup)


def _cost(setup: Setup, observer: Observer) -> ProbeCost:
    observer(Working("taking the time of some rows"))
    forward, rows = Forward(setup.model, setup.encoder, setup.device), 0
    setup.model.eval()
    begun = time.process_time()
    with torch.no_grad():
        for task, split in setup.data[VALIDATION].items():
            some = range(min(len(split), rows_at_once(setup.device.type, ROWS)))
            out, target = forward.outputs(task, split, some), split.target(some, setup.device)
            split.kind.losses(out, target)
            rows += len(some)
    return ProbeCost(time.process_time() - begun, 0.0, rows, 0)
