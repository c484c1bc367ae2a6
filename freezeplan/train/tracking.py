"""What a run tells the trackers that its spec names, through accelerate's: scalars, the plan, the evidence."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from huggingface_hub import constants

from freezeplan.apply.ending import Scores
from freezeplan.apply.logged_names import logged_rates
from freezeplan.diagnostics.wording import first_line
from freezeplan.runs.events import EpochDone, Evaluated, EvidenceReady, PhaseStarted, StepDone
from freezeplan.spec.tables import Spec

LOG = logging.getLogger("freezeplan")
PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",)}
"""The packages of which a tracker needs one."""
PROJECT = "freezeplan"
IDS = "ids.json"


def check_trackers(spec: Spec) -> None:
    """Refuse a tracker whose package is not there: raises ``DiagnosticError`` (FP497)."""
    for place, name in enumerate(spec.train.report_to):
        if not any(map(find_spec, PACKAGES[name])):
            message = f"`{name}` needs a package of that name, which is not installed"
            advice = f"pip install {name}; or take it out of `report_to`"
            raise spec.locations.error(("train", "report_to", place), "FP497", message, help=advice)


def trackers_folder(run: Path) -> Path:
    """Return where a run's trackers write: beside its folder, which is put in place whole.

    >>> print(trackers_folder(Path("runs/one")).as_posix())
    runs/one.trackers
    """
    return run.with_name(f"{run.name}.trackers")


class Trackers:
    """Tell trackers what happens in a run; an observer of its events, for the first process alone.

    Scalars are ``train/<task>/loss``, ``validation/<task>/<metric>``, ``test/<task>/<metric>``, ``<split>/score``,
    ``phase`` and ``lr/<group>``, by the run's optimizer steps. A tracker that fails is given up with a warning, and the
    run goes on.
    """

    def __init__(self, spec: Spec, run: Path) -> None:
        self.spec = spec
        self.run = run
        self.folder = trackers_folder(run)
        self.step = 0
        self._open: list[GeneralTracker] = []

    def start(self, facts: Mapping[str, Any], plan: str, resumed: int | None) -> None:
        """Open all, and tell them the plan; after ``resumed`` steps, go on with the same runs.

        Raises ``DiagnosticError`` (FP498) for one that does not open.
        """
        self.step = resumed or 0
        ids = self._ids() if resumed is not None else {}
        new = not ids
        ids.setdefault("run", uuid4().hex[:12])
        for place, name in enumerate(self.spec.train.report_to):
            with self._opening(place, name):
                self._open.append(self._opened(name, ids))
        self._write(ids)
        if new:
            self._each(lambda tracker: tracker.store_init_configuration(dict(facts)))
        self._say("plan", plan)

    def __call__(self, event: object) -> None:
        """Tell what an event says."""
        self.step = getattr(event, "step", self.step)
        values = scalars_of(event)
        if values:
            self._each(lambda tracker: tracker.log(values, step=self.step))
        if isinstance(event, EvidenceReady):
            self._say("evidence", event.statement)

    def finish(self) -> None:
        """Close all."""
        self._each(lambda tracker: tracker.finish())
        self._open.clear()

    def _opened(self, name: str, ids: dict[str, str]) -> GeneralTracker:
        self.folder.mkdir(parents=True, exist_ok=True)
        tracker = LOGGER_TYPE_TO_CLASS[name](**ARGUMENTS[name](self, ids))
        tracker.start()
        if name == "mlflow":
            ids[name] = tracker.tracker.info.run_id
        return tracker

    @contextmanager
    def _opening(self, place: int, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            message = f"`{name}` does not open: {first_line(error)}"
            advice = {"wandb": "log in by `wandb login`, or set WANDB_MODE=offline"}.get(name)
            raise self.spec.locations.error(
                ("train", "report_to", place), "FP498", message, help=advice
            ) from None

    def _ids(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            return dict(json.loads((self.folder / IDS).read_text("utf-8")))
        return {}

    def _write(self, ids: Mapping[str, str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / IDS).write_text(json.dumps(ids), "utf-8")

    def _say(self, name: str, text: str) -> None:
        """Tell a text; MLflow takes one as a file."""

        def say(tracker: GeneralTracker) -> None:
            if tracker.name == "mlflow":
                import_module("mlflow").log_text(text, f"{name}.txt")
            else:
                tracker.log({name: text}, step=self.step)

        self._each(say)

    def _each(self, tell: Callable[[GeneralTracker], None]) -> None:
        for tracker in list(self._open):
            try:
                tell(tracker)
            except Exception as error:
                LOG.warning("`%s` is told no more: %s", tracker.name, first_line(error))
                self._open.remove(tracker)


def scalars_of(event: object) -> dict[str, float]:
    """Return what an event says in numbers, by the names that trackers are told.

    >>> scalars_of(StepDone(1, 4, 8, {"topic": 0.5}, {"head": 0.1}))
    {'train/topic/loss': 0.5, 'lr/head': 0.1, 'epoch': 1}
    """
    match event:
        case StepDone():
            losses = {f"train/{task}/loss": value for task, value in event.losses.items()}
            return {**losses, **logged_rates(event.rates), "epoch": event.epoch}
        case EpochDone():
            return _scores("validation", event.scores, event.score)
        case Evaluated():
            return _scores(event.split, event.scores, event.score)
        case PhaseStarted():
            return {"phase": event.number}
        case EvidenceReady():
            return {"evidence_holds": int(event.holds)}
    return {}


def _scores(split: str, scores: Scores, score: float | None) -> dict[str, float]:
    more = {} if score is None else {f"{split}/score": score}
    values = {
        f"{split}/{task}/{name}": value for task, found in scores.items() for name, value in found.items()
    }
    return {**values, **more}


def _tensorboard(trackers: Trackers, ids: Mapping[str, str]) -> dict[str, Any]:
    # What was told of later steps, before the run stopped, is hidden: they are taken again.
    place = trackers.folder / "tensorboard"
    return {"run_name": ids["run"], "logging_dir": place, "purge_step": trackers.step + 1}


def _wandb(trackers: Trackers, ids: Mapping[str, str]) -> dict[str, Any]:
    offline = {"mode": "offline"} if constants.HF_HUB_OFFLINE else {}
    place = {} if os.environ.get("WANDB_DIR") else {"dir": str(trackers.folder)}
    names = {"run_name": PROJECT, "name": trackers.run.name, "id": ids["run"], "resume": "allow"}
    return {**names, **place, **offline, "settings": {"console": "off"}}


def _mlflow(trackers: Trackers, ids: Mapping[str, str]) -> dict[str, Any]:
    names = {"experiment_name": PROJECT, "run_name": trackers.run.name, "run_id": ids.get("mlflow")}
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return names
    place = (trackers.folder / "mlflow").absolute()
    place.mkdir(exist_ok=True)
    import_module("mlflow").set_tracking_uri(f"sqlite:///{place.as_posix()}/mlflow.db")
    return {**names, "logging_dir": (place / "artifacts").as_uri()}


ARGUMENTS: dict[str, Callable[[Trackers, Mapping[str, str]], dict[str, Any]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
"""What each tracker is opened with. Where its own environment variables say another place, they win."""
