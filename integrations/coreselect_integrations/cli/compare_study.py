"""The study that the options of `coreselect compare` describe, and the checks of it before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import typer

from coreselect.cli.options import AttackOptions, PoolOptions
from coreselect.errors import CoreselectError
from coreselect_integrations.cli.compare_options import EvaluationOptions, StudyOptions
from coreselect_integrations.cli.effort_options import EffortOptions, attack_settings
from coreselect_integrations.cli.options import NetworkOptions, ScheduleOptions, TrainingOptions, epochs_in
from coreselect_integrations.cli.run_progress import counted
from coreselect_integrations.comparison import EvaluationMode, Finetuning, Study
from coreselect_integrations.comparison.plan import CLOCKS, TRAINED
from coreselect_integrations.comparison.statistics import MEASURES
from coreselect_integrations.finetuning import MODES
from coreselect_integrations.pretraining.presets import defaults, preset
from coreselect_integrations.pretraining.settings import SYSTEMS, Settings

CURVES = ("cosine", "triangle", "constant", "stairs")


# What a comparison without a preset takes: minutes on a CPU.
SMALL: Mapping[str, Any] = MappingProxyType(
    {"arch": "small", "curve": "cosine", "epochs": 13, "batch_size": 64, "lr": 0.05, "precision": "fp32", "warmup": 3,
     "every": 5, "validation": 0.05, "optimiser": "sgd", "floor": 0.0}
)  # fmt: skip


def make_settings(
    trainer: str | None, study: StudyOptions, pool: PoolOptions, network: NetworkOptions, training: TrainingOptions,
    schedule: ScheduleOptions, attack: AttackOptions, code: Mapping[str, Any] = MappingProxyType({}),
    effort: EffortOptions = EffortOptions(),
) -> Settings:  # fmt: skip
    """Make the settings of training, which are the same for all methods: those that were given, else the preset's, else small.

    Raises:
        typer.BadParameter: there is no such system or curve, the preset is of another system, or the radius is 0 or above 1.
        UnknownNameError: there is no such preset or optimiser.
    """
    base = defaults(trainer or "sat") if trainer is None or trainer in SYSTEMS else None
    if base is None:
        raise typer.BadParameter(f"--trainer is one of {', '.join(SYSTEMS)}, got {trainer!r}.")
    if network.curve is not None and network.curve not in CURVES:
        raise typer.BadParameter(f"--curve is one of {', '.join(CURVES)}, got {network.curve!r}.")
    published = None if study.preset is None else preset(study.preset)
    if published is not None and trainer not in (None, published.system):
        raise typer.BadParameter(f"the preset {study.preset} is of {published.system}, not of {trainer}.")
    radius = attack.radius if attack.radius is not None else 8 / 255 if published is None else published.radius
    if not 0 < radius <= 1:
        raise typer.BadParameter(f"--radius is above 0 and up to 1, as all are judged under attack, got {radius:g}.")
    records = {**vars(network), **vars(training), "validation": pool.validation, "optimiser": study.optimiser}
    records |= {"weight_decay": study.weight_decay, **code}
    if study.milestones is not None:
        records["milestones"] = epochs_in(study.milestones)
    given = {name: value for name, value in records.items() if value is not None} | schedule.given
    curve = given.get("curve", SMALL["curve"] if published is None else published.curve)
    if study.milestones is not None and curve != "stairs":
        raise typer.BadParameter(f"--milestones would be without effect: the curve is {curve}, give --curve stairs.")
    if curve == "stairs" and study.milestones is None and (published is None or not published.milestones):
        raise typer.BadParameter("--curve stairs needs the epochs of its steps: give --milestones.")
    asked = {name: value for name, value in {**vars(attack), **vars(effort)}.items() if value is not None}
    if published is not None:
        scaled = published.scaled_to(given.get("epochs", published.epochs))
        return replace(scaled, **attack_settings(scaled, asked, usual=True), **given)
    given = {**SMALL, **given}
    base = replace(base, radius=radius)
    own = {
        "weight_decay": 5e-4 if SYSTEMS[base.system].supervised else 1e-4, "lr_warmup": min(1, given["warmup"]),
        **attack_settings(base, {"attack_steps": 5, **asked}, usual=True), "select_attack_steps": 1,
        "interval": max(1, given["epochs"] // 20),
    }  # fmt: skip
    return replace(base, **{**own, **given})


def make_study(settings: Settings, asked: StudyOptions, evaluation: EvaluationOptions) -> Study:
    """Make the study.

    Raises:
        typer.BadParameter: an option cannot be read.
    """
    if evaluation.clock not in CLOCKS:
        raise typer.BadParameter(f"--clock is one of {', '.join(CLOCKS)}, got {evaluation.clock!r}.")
    if asked.chosen_on is not None:
        seeds_in(asked.chosen_on, "--chosen-on")
    judged = words_in(evaluation.judged or (TRAINED if SYSTEMS[settings.system].supervised else "slf,alf"))
    if evaluation.transfer is not None:
        modes = [mode for mode in judged if mode != TRAINED] or ("slf", "alf")
        judged += [f"{mode}@{transfer_name(evaluation.transfer)}" for mode in modes]
    tuning = {"epochs": evaluation.tuning_epochs, "rows": evaluation.tuning_rows}
    return Study(
        settings=settings, methods=words_in(asked.selectors), fractions=shares(asked.fractions), seeds=seeds_in(asked.seeds),
        equal=words_in(asked.equal), full=asked.full, judged=judged, clock=evaluation.clock,
        also=words_in(evaluation.also or ""),
        finetuning=Finetuning(**{name: value for name, value in tuning.items() if value is not None}),
    )  # fmt: skip


def transfer_name(transfer: str) -> str:
    """Return the name under which the results of --transfer are reported."""
    return Path(transfer).absolute().name


def check_study(study: Study, attack_given: Sequence[str], tuning_given: Sequence[str]) -> None:
    """Refuse a command line that would not do what it says.

    Args:
        attack_given, tuning_given: the options of the attack and of fine-tuning that were given.
    Raises:
        typer.BadParameter: an option has no effect or makes no sense.
    """
    s = study.settings
    supervised = SYSTEMS[s.system].supervised
    for method in study.methods:
        try:
            study.make(method, s)
        except CoreselectError as why:
            raise typer.BadParameter(f"--selectors: {why}") from why
    possible = "trained, slf, alf, …" if supervised else "slf, alf, …"
    able = {*MODES, *((TRAINED,) if supervised else ())}
    judged = {EvaluationMode.parse(name).mode for name in study.judged}
    for wrong, why in (
        (not study.methods, "--selectors names no method; rcs,rs2,redraw,random is a start."),
        (
            not study.equal or not set(study.equal) <= {"epochs", "time"},
            f"--equal is epochs, time or both with a comma, got {','.join(study.equal)!r}.",
        ),
        (not {*study.also} <= {*MEASURES}, f"--also is some of {', '.join(MEASURES)}, got {','.join(study.also)!r}."),
        (not judged <= able, f"--judged is, with {s.system}, some of {possible}, got {','.join(study.judged)!r}."),
        (
            s.warmup >= s.epochs,
            f"nothing would be chosen: --warmup is {s.warmup} of {counted(s.epochs, 'epoch')} in all, make it smaller or "
            "--epochs larger.",
        ),
        (s.validation > 1 and s.validation != int(s.validation), "--validation is a share below 1, or a whole number of images."),
        (
            attack_given and s.attack is None,
            f"{', '.join(attack_given)} would be without effect here: it is for systems with an attack.",
        ),
        (
            tuning_given and set(study.judged) == {TRAINED},
            f"{', '.join(tuning_given)} would be without effect here: it is for --judged slf, alf, … and --transfer.",
        ),
    ):  # fmt: skip
        if wrong:
            raise typer.BadParameter(why)


def words_in(text: str) -> list[str]:
    """Read names with commas, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def seeds_in(text: str, option: str = "--seeds") -> range:
    """Read `3`, which counts from 0, or `3:6`, which ends before 6.

    Raises:
        typer.BadParameter: it is neither, or names no seed.
    """
    first, colon, end = text.rpartition(":")
    try:
        seeds = range(int(first) if colon else 0, int(end))
    except ValueError:
        seeds = range(0)
    if not seeds or seeds.start < 0:
        raise typer.BadParameter(
            f"{option} is how many, at least 1, or the first and the one after the last, such as 3:6, got {text!r}."
        )
    return seeds


def shares(text: str) -> list[float]:
    """Read `0.05,0.1`."""
    try:
        shares = [float(word) for word in words_in(text)]
    except ValueError:
        shares = []
    if not shares or not all(0 < share <= 1 for share in shares):
        raise typer.BadParameter(
            f"--fractions are shares above 0 and up to 1, separated by commas, such as 0.05,0.1, got {text!r}."
        )
    return list(dict.fromkeys(shares))
