"""Which program measures a case, and what it needs beside this repository."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from typing import Any

from benchmarks import facility, problem
from benchmarks.case_types import (
    AttackCase,
    BaselineCase,
    Case,
    CheckCase,
    FacilityCase,
    FoldingCase,
    LargeCase,
    LoopCase,
    PassesCase,
    RanksCase,
    SamplerCase,
    SearchCase,
    SelectionCase,
    StartupCase,
    StoreCase,
    SweepCase,
    ThreadsCase,
    TrainingRanksCase,
    ViewsCase,
)
from coreselect.errors import CoreselectError
from coreselect.support.devices import usable_device

ON_IMAGES = (SweepCase, FoldingCase, RanksCase, TrainingRanksCase, SelectionCase, CheckCase, StoreCase)


def lacking(case: Case, args: argparse.Namespace) -> str | None:
    """Say what a case needs that was not given, and how to give it; None: nothing."""
    if isinstance(case, ON_IMAGES):
        return _refusal(problem.images, args.data, 1)
    return _refusal(facility.given, args.rivals) if isinstance(case, FacilityCase) else None


@cache  # the same data for many cases
def _refusal(what: Callable[..., Any], *given: Any) -> str | None:
    """Return the sentence with which a function refuses what it is given; None: it does not."""
    try:
        what(*given)
    except CoreselectError as why:
        return str(why)
    return None


def measured(case: Case, args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark of a case and return its measures."""
    from benchmarks import (
        attack,
        baselines,
        checks,
        folding,
        large,
        one_to_all,
        passes,
        ranks,
        sampler,
        search,
        selection,
        startup,
        store,
        sweep,
        threads,
        views,
    )

    device = usable_device(args.device)
    match case:
        case SweepCase():
            return sweep.run(case, data=args.data, device=device)
        case FoldingCase():
            return folding.run(case, data=args.data, device=device)
        case ViewsCase():
            return views.run(case, device)
        case RanksCase() | TrainingRanksCase():
            return ranks.run(case, data=args.data)
        case SelectionCase():
            return selection.run(case, data=args.data, work=args.work, device=device)
        case SearchCase():
            return search.run(case, work=args.work)
        case PassesCase():
            return passes.run(case, work=args.work)
        case SamplerCase():
            return sampler.run(case)
        case AttackCase():
            return attack.run(case, device)
        case FacilityCase():
            return facility.run(case, rivals=args.rivals, work=args.work)
        case BaselineCase():
            return baselines.run(case)
        case LoopCase():
            return one_to_all.run(case)
        case ThreadsCase():
            return threads.run(case)
        case LargeCase():
            return large.run(case, work=args.work)
        case StartupCase():
            return startup.run(case)
        case CheckCase():
            return checks.run(case, data=args.data)
        case StoreCase():
            return store.run(case, data=args.data, work=args.work)
