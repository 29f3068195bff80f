"""Which picks the methods of a comparison made in an impure pool: shares that are wrong, foreign, rare, and copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from coreselect.data.conditions import shares_said
from coreselect_integrations.comparison.statistics import Record

POOL = "the pool"
KINDS = ("wrong", "foreign", "rare", "copies")


def shares_of_picks(pool: Any, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the record of a cell says of its picks: `picks`, the mean over its selections (None without any), beside
    `pool_picks`, the shares of the whole pool; nothing for a pool as it is.
    """
    truth = getattr(pool, "truth", None)
    if truth is None:
        return {}
    found = [r["picks"] for r in records if "picks" in r]
    means = {kind: fmean(one[kind] for one in found) for kind in found[0]} if found else None
    return {"picks": means, "pool_picks": truth.shares(range(len(pool)))}


def table_of_picks(records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Return the names and rows of a table of these shares in per cent, the pool first; no rows for pools as they are.

    A kind that the pool does not have, and no method picked, has no column. Methods are at equal epochs, each fraction by itself.
    """
    known = [r for r in records if r["error"] is None and r.get("pool_picks")]
    lines: dict[str, list[Mapping[str, float]]] = {POOL: [r["pool_picks"] for r in known]} if known else {}
    several = len({r["fraction"] for r in known if r["fraction"] is not None}) > 1
    for r in known:
        if r["equal"] == "epochs" and r["picks"]:
            name = f"{r['method']} {r['fraction']:g}" if several else r["method"]
            lines.setdefault(name, []).append(r["picks"])
    means = {name: {kind: fmean(one[kind] for one in found) for kind in KINDS} for name, found in lines.items()}
    kinds = [kind for kind in KINDS if any(shares[kind] for shares in means.values())]
    rows = [[name, *(f"{100 * shares[kind]:.1f}" for kind in kinds)] for name, shares in means.items()]
    return ["picks of", *(f"{kind} %" for kind in kinds)], rows if kinds else []


def picks_said(pool: Any, records: Sequence[Mapping[str, Any]]) -> str:
    """Say in a line what a run picked in an impure pool, on average over its selections; nothing for a pool as it is."""
    found = shares_of_picks(pool, records)
    if not found or found["picks"] is None:
        return ""
    told = shares_said(found["picks"], found["pool_picks"])
    return f"picks: {told}\n" if told else ""
