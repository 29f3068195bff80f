"""The price of each need: how many passes of the model, and how many bytes, exactly as the selection will make them.

A head on cached features takes one forward pass a stream, and none for queries. Where any parameters are captured, outputs and
queries are passes of the whole model, and rows are computed in one more pass.
"""

from collections.abc import Callable, Iterable, Iterator

from coreselect.objectives.following import following
from coreselect.planning.facts import SKETCH, Facts, steps_of
from coreselect.planning.needs import Memory, NaturalPass, Need, OnValidation, OwnPasses, Sizes, Sweep
from coreselect.planning.record import Pass

ATTACK_UNKNOWN = "an attack does not say how many steps it makes (as `steps`): its steps are counted as 0"
OWN_UNKNOWN = "the method reads inputs itself and does not say how many passes it makes"


def passes(needs: Iterable[Need], sizes: Sizes, facts: Facts, notes: list[str]) -> tuple[Pass, ...]:
    """Return the passes that needs cost; what is not known becomes a note."""
    found = [p for need in needs for p in _passes(need, sizes, facts, notes)]
    return tuple(joined([p for p in found if p.part == part]) for part in dict.fromkeys(p.part for p in found))


def joined(of_one_part: list[Pass]) -> Pass:
    """Add up the passes of one part."""
    first, *others = of_one_part
    for p in others:
        first = Pass(
            first.part, first.examples + p.examples, first.forward + p.forward, first.steps + p.steps,
            first.backward + p.backward, first.at_most or p.at_most,
        )  # fmt: skip
    return first


def _passes(need: Need, sizes: Sizes, facts: Facts, notes: list[str]) -> Iterator[Pass]:
    if isinstance(need, NaturalPass):
        yield Pass("features", need.examples, need.examples)
    elif isinstance(need, Sweep):
        yield _sweep(need, need.examples, sizes, facts, notes)
        if need.again:
            again = _sweep(need, need.again, sizes, facts, notes)
            yield Pass("rows again", need.again, again.forward, again.steps, again.backward, at_most=need.at_most)
    elif isinstance(need, OnValidation):
        yield _on_validation(need, sizes, facts, notes)
    elif isinstance(need, OwnPasses):
        if need.forward is None:
            notes.append(OWN_UNKNOWN)
        n = need.examples
        yield Pass("own", n, n * (need.forward or 0), backward=n * need.backward, at_most=need.at_most)


def _sweep(need: Sweep, n: int, sizes: Sizes, facts: Facts, notes: list[str]) -> Pass:
    loss = facts.loss if need.loss == "own" else facts.natural
    attack = facts.attack if loss is facts.loss else loss.default_attack
    attacked = sum(route == "adversarial" for route, _ in loss.streams)
    streams = len(loss.streams)
    found = n * attacked * facts.inside
    steps = n * attacked * (_steps(attack, notes) if attacked else 0)
    if sizes.caches or not need.rows:
        return Pass("sweep", n, n * streams + found, steps)
    before = (streams - attacked) if attacked else 0  # the attack reads the outputs at natural inputs
    return Pass("sweep", n, n * (before + streams) + found, steps, backward=n * streams)


def _on_validation(need: OnValidation, sizes: Sizes, facts: Facts, notes: list[str]) -> Pass:
    u = facts.validation
    objective = None if need.objective is None else following(need.objective, facts.attack, inside=facts.inside)
    attack = facts.attack if need.as_task else None if objective is None else objective.attack
    changes = attack is not None and not getattr(attack, "changes_nothing", False)
    steps = u * need.crafted * (_steps(attack, notes) if changes else 0)
    found = u * need.crafted * (facts.inside and changes)
    if sizes.caches:
        one = facts.routes == 1 or getattr(objective, "natural_route", "natural") == "adversarial"
        prepared = need.opened + (need.crafted if changes or facts.routes == 2 else 0) + (0 if one else need.clean)
        return Pass("validation", u, u * prepared + found, steps, at_most=need.at_most)
    queries = 2 * u * (need.queries + need.clean)
    crafted = u * need.crafted if changes else 0
    return Pass("validation", u, crafted + found + queries, steps, backward=queries, at_most=need.at_most)


def _steps(attack: object, notes: list[str]) -> int:
    steps = steps_of(attack)  # type: ignore[arg-type]  # an attack, or None
    if steps is None and ATTACK_UNKNOWN not in notes:
        notes.append(ATTACK_UNKNOWN)
    return steps or 0


def memory(needs: Iterable[Need], sizes: Sizes, facts: Facts) -> dict[str, int]:
    """Return the bytes that needs keep, by what is in them."""
    out: dict[str, int] = {}

    def add(what: str, size: int) -> None:
        if size:
            out[what] = out.get(what, 0) + size

    for need in needs:
        if isinstance(need, NaturalPass):
            add("features and logits", need.examples * (facts.features + facts.outputs) * facts.width)
        elif isinstance(need, Sweep):
            _rows(need, sizes, facts, add)
        elif isinstance(need, OnValidation):
            kept = 2 * (facts.image + facts.features * facts.width) if sizes.caches else 2 * facts.image
            add("validation inputs", facts.validation * kept)
        elif isinstance(need, Memory):
            add(need.of, need.bytes)
    return out


def _rows(need: Sweep, sizes: Sizes, facts: Facts, add: Callable[[str, int], None]) -> None:
    loss = facts.loss if need.loss == "own" else facts.natural
    kept = need.examples * len(loss.streams)
    if not need.rows or (sizes.caches and loss.per_example):  # the prepared pool stays, and factors point into it
        add("features of the sweep", kept * facts.features * facts.width)
    if not need.rows:
        return
    if sizes.caches and loss.per_example:
        add("factors", kept * facts.factors * facts.width)
        if need.rows == need.examples and need.width is None:
            return
    full = facts.row if sizes.caches else SKETCH  # what is longer than a head is sketched
    add("rows", need.rows * (need.width or full) * facts.width)
