"""The sections of a sitting: rates, the tests of a GPU, agreement, and the declared cases at the published size."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from benchmarks import attack, environment, problem, selection, sweep, views
from benchmarks.case_types import AttackCase, SelectionCase, SweepCase, ViewsCase, WarmUp
from benchmarks.cases import CASES, ONE_STEP
from benchmarks.gpu.sitting import Place, Section
from benchmarks.meter import clock_of
from coreselect import Selection, Task, holdout, select
from coreselect.attacks import PGD
from coreselect.network.arithmetic import exact_arithmetic, machine
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import RD
from coreselect.protocols import Attack
from coreselect.selectors import RCS
from coreselect_integrations.systems import sat

TEN = PGD(8 / 255, 2 / 255, 10)
RD_ATTACK = PGD(8 / 255, 10 / 765, 3)


def arch(place: Place) -> str:
    """The network of a sitting."""
    return "small" if place.small else "resnet18"


def fitted(place: Place, name: str, **smaller: Any) -> Any:
    """A declared case; a small sitting makes it smaller."""
    case: Any = CASES[name]
    return replace(case, arch="small", **smaller) if place.small and hasattr(case, "arch") else (
        replace(case, **smaller) if place.small else case
    )  # fmt: skip


def seconds_of(work: Callable[[], object], device: torch.device, times: int = 3) -> float:
    """The smallest seconds of several runs, after one that chooses kernels."""
    now, found = clock_of(device), []
    work()
    for _ in range(times):
        start = now()
        work()
        found.append(now() - start)
    return min(found)


def where(place: Place) -> dict[str, Any]:
    """The machine, and how long an empty launch takes."""
    one = torch.zeros(1, device=place.device)
    launches = seconds_of(lambda: [one.add_(1) for _ in range(1000)], place.device)
    return {**environment.environment(), **machine(place.device), "launch_us": round(1e3 * launches, 3)}


def steps(place: Place) -> dict[str, Any]:
    """Attack steps on images a second, by batch, precision and memory format."""
    out: dict[str, Any] = {}
    for batch in (32,) if place.small else (128, 256, 512, 1024):
        x = torch.rand(batch, 3, 32, 32, device=place.device)
        y, zero = torch.randint(10, (batch,), device=place.device), torch.zeros_like(x)
        for layout in (torch.contiguous_format, torch.channels_last):
            made: Any = problem.network(arch=arch(place), device=place.device).requires_grad_(False)
            model = made.to(memory_format=layout)
            for precision in ("ieee", "tf32", "bf16"):

                def ten(
                    model: Any = model, x: Any = x, y: Any = y, zero: Any = zero, half: bool = precision == "bf16"
                ) -> None:
                    for _ in sweep.floor(model, x, y, zero, TEN, len(x), half):
                        pass

                if precision == "ieee":
                    with exact_arithmetic(place.device):
                        took = seconds_of(ten, place.device, 1 if place.small else 3)
                else:
                    torch.backends.cudnn.allow_tf32 = True  # torch's own default
                    took = seconds_of(ten, place.device, 1 if place.small else 3)
                key = f"{batch} {str(layout).removeprefix('torch.')} {precision}"
                out[key] = round(batch * TEN.steps / took)
    return {"steps_per_second": out}


def graph(place: Place) -> dict[str, Any]:
    """Ten attack steps launched one by one, and replayed as one CUDA graph: what launches cost."""
    if place.device.type != "cuda":
        return {"left_out": "CUDA graphs need CUDA"}
    out: dict[str, Any] = {}
    for batch in (128, 256):
        model = problem.network(arch=arch(place), device=place.device).requires_grad_(False)
        x = torch.rand(batch, 3, 32, 32, device=place.device)
        y, zero = torch.randint(10, (batch,), device=place.device), torch.zeros_like(x)

        def ten(model: Any = model, x: Any = x, y: Any = y, zero: Any = zero) -> None:
            for _ in sweep.floor(model, x, y, zero, TEN, len(x), half=True):
                pass

        aside = torch.cuda.Stream()
        with torch.cuda.stream(aside):
            for _ in range(3):
                ten()
        torch.cuda.current_stream().wait_stream(aside)
        held = torch.cuda.CUDAGraph()
        with torch.cuda.graph(held):
            ten()
        apart, whole = seconds_of(ten, place.device), seconds_of(held.replay, place.device)
        out[str(batch)] = {"launched_ms": round(1e3 * apart, 2), "graph_ms": round(1e3 * whole, 2)}
    return out


def tests(place: Place) -> dict[str, Any]:
    """The tests that need a GPU; without one they skip."""
    words = [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_cuda.py"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=180)
    return {"exit_code": done.returncode, "last_line": (done.stdout.strip().splitlines() or [""])[-1]}


def agreement(place: Place) -> dict[str, Any]:
    """Whether one seed gives one answer, and what the batch size and bfloat16 change of it."""
    n, u, k = (320, 20, 80) if place.small else (5000, 100, 1000)
    pool, held = holdout(problem.images(place.data, n), u, 0)
    model = problem.network(arch=arch(place), device=place.device)
    five = PGD(8 / 255, 2 / 255, 1 if place.small else 5)

    def picked(attack: Attack = five, batch: int = 256, capture: str | None = None) -> Selection:
        task = Task.from_model(model, pool, held, loss="sat", attack=attack, batch_size=batch, capture=capture)
        return select(
            task, RCS(objective=RD("kl", attack=RD_ATTACK), group_size=16 if place.small else 32, certify=None), k
        )

    def common(a: Selection, b: Selection) -> float:
        return round(len(np.intersect1d(a.indices, b.indices)) / len(a), 4)

    first, again = picked(), picked()
    all_first, all_again = picked(capture="all"), picked(capture="all")
    return {
        "same_bits": bool(np.array_equal(first.gains, again.gains)),
        "same_bits_all_parameters": bool(np.array_equal(all_first.gains, all_again.gains)),
        "picks_in_common": {
            "again": common(first, again),
            "all parameters, again": common(all_first, all_again),
            "batch size 128": common(first, picked(batch=128)),
            "bf16 attack": common(first, picked(HalfPrecision(five))),
        },
        "versions": {k: first.provenance.versions.get(k) for k in ("device", "driver", "float32")},
    }


def training(place: Place) -> dict[str, Any]:
    """Images a second of adversarial training with ten attack steps, by precision."""
    out: dict[str, Any] = {}
    case = AttackCase(batches=2 if place.small else 50, batch_size=32 if place.small else 128, attack=TEN)
    batches = attack.noise(case)
    if place.device.type == "cuda":
        batches = [(x.pin_memory(), y.pin_memory()) for x, y in batches]
    for name, precision in (("fp32", None), ("bf16", torch.bfloat16)):
        model = problem.network(arch=arch(place), device=place.device)
        rates = []
        for _ in range(2):  # the first chooses kernels
            log = sat.train_epoch(
                model, batches, attack.optimiser(case, model), TEN, generator=attack.draws(case), precision=precision,
                device=place.device,
            )  # fmt: skip
            rates.append(log.examples / log.seconds)
        out[name] = round(rates[-1], 1)
    return {"images_per_second": out}


def of_sweep(name: str) -> Section:
    """The sweep ÷ its floor, at the published size."""

    def section(place: Place) -> dict[str, Any]:
        case: SweepCase = fitted(place, name, pool=256, validation=20, batch_size=64, half=False, num_workers=0)
        return {"case": asdict(case), **sweep.run(case, data=place.data, device=place.device)}

    return section


def of_selection(place: Place) -> dict[str, Any]:
    """A selection ÷ the plain procedure, at the published size."""
    case: SelectionCase = fitted(
        place, "selection-published", pool=256, validation=16, group_size=32, budget=64, attack=ONE_STEP, random_sets=2,
        warm=WarmUp(images=64, epochs=1), batch_size=64, num_workers=0,
    )  # fmt: skip
    return {"case": asdict(case), **selection.run(case, data=place.data, work=place.out, device=place.device)}


def of_attack(place: Place) -> dict[str, Any]:
    """Training whose attack differentiates weights too ÷ ours."""
    case: AttackCase = fitted(place, "attack-published", batches=2, batch_size=32)
    return {"case": asdict(case), **attack.run(case, place.device)}


def of_views(place: Place) -> dict[str, Any]:
    """The contrastive sweep with views one at a time ÷ at once."""
    case: ViewsCase = fitted(place, "views-published", pool=128, batch_size=64)
    if not place.small:
        case = replace(case, pool=8192)  # one at a time takes minutes on any machine
    return {"case": asdict(case), **views.run(case, place.device)}


def memory(place: Place) -> dict[str, Any]:
    """The most memory that the sitting took on the GPU."""
    if place.device.type != "cuda":
        return {"left_out": "the memory of a GPU is measured"}
    return {"peak_gib": round(torch.cuda.max_memory_allocated(place.device) / 2**30, 3), "at": time.strftime("%H:%M")}


SECTIONS: dict[str, Section] = {
    "machine": where,
    "tests": tests,
    "agreement": agreement,
    "sweep, 1 step": of_sweep("sweep-published"),
    "sweep, 10 steps": of_sweep("sweep-10-published"),
    "selection": of_selection,
    "training": training,
    "attack": of_attack,
    "views": of_views,
    "steps": steps,
    "graph": graph,
    "memory": memory,
}
