"""The phases of a run, one after the other: entering, epochs, evaluation, evidence, and why each ends."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from freezeplan.apply.ending import reached
from freezeplan.diagnostics import Diagnostic, DiagnosticError
from freezeplan.plan.deciding import state_key
from freezeplan.plan.records import WHOLE_RUN
from freezeplan.runs.events import (
    BestRestored,
    EpochDone,
    EvidenceReady,
    HeadDrifted,
    PhaseDone,
    PhaseStarted,
    StoppedEarly,
    UpdatesLost,
)
from freezeplan.runs.interrupts import stop_after
from freezeplan.runs.phase_evidence import PhaseEvidence
from freezeplan.tasks.scaling import loss_factor
from freezeplan.train.loop import Loop
from freezeplan.train.resolution import STEPS, LostUpdates, lost_advice
from freezeplan.train.running import Running
from freezeplan.train.settling import is_last_phase, is_passed, looks_of, norms_of, note_settled
from freezeplan.train.setup import Setup


def run_phases(run: Running) -> None:
    """Run all phases that are not over, from where the run stands.

    Raises ``DiagnosticError`` (FP510), after saving, when a frozen tensor moved.
    """
    while True:
        run_phase(run)
        if run.position.ended or is_last_phase(run.setup, run.position):
            return
        course = run.scheduled.course
        taken = replace(course, offsets=run.position.offsets).taken(run.position.phase_step) if course else {}
        run.position.next_phase(taken)


def run_phase(run: Running) -> None:
    """Run the current phase to its end; one that is over is left as it is."""
    if run.position.over:
        return
    if len(run.ledger.watches) == run.position.phase:
        _begin(run)
    if is_passed(run.position):
        _close(run, run.position.settled, None)
        return
    run.choose_execution()
    if run.scheduled.course is None:
        _only_evaluate(run)
        return
    loop = _loop(run)
    if loop.looks is not None:
        loop.looks.begin()
    while not run.position.over:
        with stop_after() as loop.stop:
            losses = loop.run_epoch()
            if not loop.stopped:
                _complete_epoch(run, losses)
            stopping = loop.stopped or any(run.ranks.gather(loop.stop.asked))
        if stopping:
            raise KeyboardInterrupt


def _begin(run: Running) -> None:
    """Enter the current phase, and note how the heads score that are frozen in it."""
    position = run.position
    run.enter_phase()
    run.ledger.begin_phase(position.phase)
    measured = run.setup.data["validation"]
    # The frozen head of a language model is trained through, so its score is no drift.
    tasks = tuple(
        task
        for task in run.ledger.tasks_to_measure(position.phase)
        if task in measured and not measured[task].kind.own_head
    )
    if tasks:
        run.ledger.note_frozen(position.phase, run.evaluate("validation", tasks))
    if has_phases(run.setup):
        run.observer(_started(run))


def _started(run: Running) -> PhaseStarted:
    scheduled = run.scheduled
    phase = scheduled.phase
    return PhaseStarted(
        name=phase.name,
        number=scheduled.index + 1,
        phases=len(run.setup.phases),
        epochs=scheduled.epochs,
        steps=scheduled.steps,
        thawed=len(phase.thawed),
        refrozen=len(phase.refrozen),
        tasks=tuple(scheduled.course.sizes) if scheduled.course else (),
        groups=tuple(group.name for group in run.setup.plan.groups if group.name in scheduled.groups),
        can_end_early=phase.length.by_measure or run.setup.plan.stop_when is not None,
    )


def _loop(run: Running) -> Loop:
    setup, spec = run.setup, run.setup.spec
    return Loop(
        plan=setup.plan,
        forward=run.forward,
        optimizer=run.optimizer,
        strategy=setup.strategy,
        data=dict(setup.data["train"]),
        streams=setup.streams,
        weights=loss_factors(setup),
        scheduled=run.scheduled,
        course=replace(run.scheduled.course, offsets=run.position.offsets),
        clip_norm=spec.train.clip_norm,
        steps=setup.steps,
        watch=run.ledger.watch,
        log=run.log,
        observer=run.observer,
        position=run.position,
        checkpoint_steps=spec.train.checkpoint_steps,
        balancing=spec.train.balancing,
        scale=run.scale,
        lost=_lost_updates(run),
        norms=norms_of(run.setup, run.position),
        looks=looks_of(run.setup, run.forward, run.position),
        after_step=run.write_checkpoint,
    )


def _lost_updates(run: Running) -> LostUpdates:
    """Return what looks at the first steps of a run that begins, and says which updates are lost."""

    def tell(lost: int, asked: int) -> None:
        run.observer(UpdatesLost(lost, asked, STEPS))
        run.warnings += run.setup.spec.locations.attach([lost_advice(lost, asked)])

    return LostUpdates(list(run.setup.model.parameters()) if run.position.step == 0 else (), tell)


def loss_factors(setup: Setup) -> dict[str, float]:
    """Return what each task's loss is multiplied by in training."""
    classes = {task.name: len(task.labels) for task in setup.tasks}
    return {task.name: loss_factor(task, classes[task.name]) for task in setup.spec.task}


def _only_evaluate(run: Running) -> None:
    """Evaluate once in a phase in which no task learns."""
    position = run.position
    run.validation = run.evaluate("validation")
    run.log.add_scores("validation", position.epoch, run.validation, run.setup.score_of(run.validation))
    position.note(run.validation)
    _check_target(run)
    _close(run, "no task learns in it: evaluated only", None)


def _complete_epoch(run: Running, losses: dict[str, float]) -> None:
    """Evaluate an epoch whose steps are done; put it in place; end the phase when it is time."""
    position, rates = run.position, dict(run.log.records[-1]["rates"])
    note_settled(run.setup, run.forward, position)
    run.warnings += run.setup.streams.notes()
    # The last step's gradients would stand beside the activations of the evaluation.
    run.optimizer.zero_grad(set_to_none=True)
    scores = run.validation = run.evaluate("validation")
    position.complete_epoch(scores)
    run.log.add_epoch(
        position.epoch, position.step, losses, scores, rates, run.setup.score_of(run.validation)
    )
    _check_target(run)
    done = EpochDone(
        position.epoch,
        run.setup.epochs,
        position.step,
        losses,
        scores,
        rates,
        run.folder.path,
        run.scheduled.phase.name if has_phases(run.setup) else "",
        run.setup.score_of(scores),
    )
    ended = run.reason_to_end()
    if ended is None:
        _note_best(run)
        put_in_place(run)
        run.write_checkpoint()
        run.observer(done)
    else:
        _close(run, ended, done)


def _check_target(run: Running) -> None:
    """Note that the run ends here when ``stop_when`` is reached."""
    target = run.setup.plan.stop_when
    if target is not None and reached(target, run.validation, run.setup.plan.score):
        value = run.setup.value_of(target.metric, run.validation)
        run.position.ended = f"{target.metric} {value:.4f} is at least {target.at_least:g}"


def _close(run: Running, ended: str, done: EpochDone | None) -> None:
    """End the current phase: bring its best epoch back, take its evidence, save, and say what it proved."""
    position, restored = run.position, None
    best = None if position.ended else run.best_epoch()
    if best is not None and best.step != position.step:
        run.bring_back(best)
        restored = best.epoch
    _note_best(run)
    position.over = True
    current = put_in_place(run, ended, restored)
    # A phase without a step may share its step with the phase before, from whose checkpoint it is done again.
    if done is not None or not run.has_checkpoint():
        run.write_checkpoint()
    if done is not None:
        run.observer(done)
    _tell(run, current, restored)


def put_in_place(run: Running, ended: str | None = None, restored: int | None = None) -> PhaseEvidence:
    """Compare hashes and put the current weights into the folder.

    Raises ``DiagnosticError`` (FP510), after saving, when a frozen tensor moved.
    """
    whole, current = run.take_evidence(ended)
    if ended is not None:
        run.ledger.close_phase(current)
        if has_phases(run.setup):
            run.log.add_phase(
                current.name, run.position.epoch, run.position.step, {"ended": ended, "restored": restored}
            )
        elif restored is not None:
            run.log.add_restored(restored, run.position.step, run.scheduled.phase.length.metric)
    run.publish(whole)
    if not whole.holds:
        run.observer(EvidenceReady(whole.statement, False))
        raise DiagnosticError(proved_of(run))
    return current


def proved_of(run: Running) -> tuple[Diagnostic, ...]:
    """Return what the evidence proves of a run's tensors, at the rules that had them so."""
    spec = run.setup.spec
    return spec.locations.attach(run.evidence.diagnostics(partial(state_key, spec, run.setup.plan)))


def _tell(run: Running, current: PhaseEvidence, restored: int | None) -> None:
    for item in current.drift:
        run.observer(HeadDrifted(item.task, item.since, current.name, item.before, item.after))
    if has_phases(run.setup):
        number, count = current.index + 1, len(run.setup.phases)
        run.observer(PhaseDone(current.name, number, count, current.line, run.validation, restored))
    elif restored is not None:
        metric = run.scheduled.phase.length.metric
        run.observer(BestRestored(restored, metric, run.setup.value_of(metric, run.validation)))
    if run.position.ended:
        run.observer(StoppedEarly(run.position.ended))


def _note_best(run: Running) -> None:
    metric = run.setup.spec.train.keep_best
    if metric is not None:
        run.position.note_best(metric, run.setup.value_of(metric, run.validation))


def has_phases(setup: Setup) -> bool:
    """Whether the plan has phases that someone wrote, rather than one for the whole run."""
    return [item.phase.name for item in setup.phases] != [WHOLE_RUN]
