"""The records of a fidelity report: rank correlations, values of methods, and costs of approximations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well `gains` predict true decreases of RD after a step on `step`, `head` or `whole`.

    Both numbers are Spearman's rank correlations, or None if one side is constant. For `held`, the attacked inputs stay the
    same after the step; for `recrafted`, they are attacked again.
    """

    gains: str
    step: str
    held: float | None
    recrafted: float | None


@dataclass(frozen=True, slots=True)
class MethodValue:
    """The value G of a method's set; `sds`, how many random standard deviations it is above the random mean; seconds.

    `sds` is None if the random standard deviation is 0. `seconds` is the time of the selection.
    """

    name: str
    g: float
    sds: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class ApproximationCost:
    """What an approximation of RCS costs: `kept` is its share of RCS's gain over random, `shared` its share of RCS's picks.

    `kept` is None if RCS has no gain over random. `g`, `sds` and `seconds` are those of `MethodValue`.
    """

    name: str
    g: float
    sds: float | None
    kept: float | None
    seconds: float
    shared: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """The report; `costs[0]` is RCS as given, `rd` is RD(U; θ), `parameters` is P of the parameters that G moves."""

    pool: int
    validation: int
    budget: int
    group_size: int
    eta: float
    parameters: int
    rd: float
    groups: int
    sketch: int
    agreements: tuple[Agreement, ...]
    sets: int
    random_mean: float
    random_sd: float
    methods: tuple[MethodValue, ...]
    costs: tuple[ApproximationCost, ...]
