"""Selection methods written in words give the selectors and the settings of runs that they describe."""

from dataclasses import replace

import pytest

from coreselect.errors import RequirementError, ShapeError, UnknownNameError
from coreselect.gradients.sketch import Sketch
from coreselect.objectives import RD, AdversarialCE, CEPlusRD
from coreselect.selectors import CRAIG, RCS, RS2, Filtered, Mixture, PerClass, RCSSampled, Redraw, Windowed
from coreselect_integrations.comparison.methods import names_of, selector_for, settings_for
from coreselect_integrations.pretraining.efforts import with_effort
from coreselect_integrations.pretraining.presets import defaults
from coreselect_integrations.pretraining.side_filter import SideFiltered
from coreselect_integrations.pretraining.trusted_draws import TrustedDraws
from coreselect_integrations.training.effort import Effort

RUN = replace(defaults("sat"), radius=0.1, rd_steps=2, eta=0.02)


def test_a_name_alone_is_that_selector_with_the_rd_and_the_step_of_the_run() -> None:
    """RCS and its sampled form read both settings; others have none."""
    assert selector_for("rs2", RUN) == RS2()
    assert selector_for("rcs", RUN) == RCS(objective=RUN.rd, eta=0.02)
    assert selector_for("rcs_sampled", RUN) == RCSSampled(objective=RUN.rd)


def test_every_objective_is_attacked_within_the_radius_of_the_run() -> None:
    """Every named objective has 2 attack steps, 1¼ radii long in all."""
    attack = RUN.rd.attack
    assert (attack.steps, attack.radius) == (2, 0.1)  # type: ignore[attr-defined]
    for word, wanted in (
        ("rd", RD(attack=attack)),
        ("js", RD("js", attack=attack)),
        ("ot", RD("ot", attack=attack)),
        ("adversarial_ce", AdversarialCE(attack=attack)),
        ("ce_plus_rd", CEPlusRD(attack=attack)),
    ):
        assert selector_for(f"rcs:objective={word}", RUN) == RCS(objective=wanted, eta=0.02)


def test_settings_of_a_selector_are_numbers_or_words() -> None:
    """`rcs: eta = …` overrides the run's; hyphens are underscores, null is None."""
    made = selector_for("rcs: eta = .05:group-size=16:stratify=null:recraft=every", RUN)
    assert made == RCS(objective=RUN.rd, eta=0.05, group_size=16, stratify=None, recraft="every")


def test_a_sketch_is_named_by_its_width() -> None:
    """`sketch=512` is a `Sketch` of that width; null means the default of the selector."""
    assert selector_for("rcs:sketch=512", RUN) == RCS(objective=RUN.rd, eta=0.02, sketch=Sketch(512))
    assert selector_for("rcs:sketch=null", RUN) == RCS(objective=RUN.rd, eta=0.02)


@pytest.mark.parametrize("words", ["rcs:objective=adversarial_ce", "rcs+rcs:objective=ce_plus_rd", "el2n"])
def test_a_network_without_classes_is_asked_for_none(words: str) -> None:
    """A method that needs classes is refused before training, in the words of the user."""
    with pytest.raises(
        RequirementError, match="reads classes from the network's outputs, but networks of acl have none"
    ):
        selector_for(words, defaults("acl"))


def test_a_plus_before_a_digit_belongs_to_a_number() -> None:
    """`1e+5` is a value; a plus before a name shares the budget."""
    assert selector_for("rcs:eta=1e+5", RUN) == RCS(objective=RUN.rd, eta=1e5)
    assert selector_for("rcs:eta=5e+1+rs2", RUN) == Mixture([RCS(objective=RUN.rd, eta=50.0), RS2()])


def test_settings_of_the_run_are_not_the_selectors() -> None:
    """`capture`, `select_attack_steps` and `rd_steps` change the run, the last one the attack of RD with it."""
    words = "rcs:capture=all:select_attack_steps=1:rd_steps=5"
    assert settings_for(words, RUN) == replace(RUN, capture="all", select_attack_steps=1, rd_steps=5)
    assert selector_for(words, RUN) == RCS(objective=replace(RUN, rd_steps=5).rd, eta=0.02)
    assert settings_for("rs2", RUN) == RUN


def test_an_effort_belongs_to_the_run() -> None:
    """`rs2@1x1.5` selects as rs2 does and trains with one step at 1.5 judged radii; a mixture has one effort for all."""
    assert selector_for("rs2@1x1.5", RUN) == RS2()
    assert settings_for("rs2@1x1.5", RUN) == with_effort(RUN, Effort(1, 1.5))
    both = "rcs:rd_steps=5+redraw@2"
    assert settings_for(both, RUN) == replace(with_effort(RUN, Effort(2)), rd_steps=5)
    assert selector_for(both, RUN) == selector_for("rcs:rd_steps=5+redraw", RUN)
    with pytest.raises(RequirementError, match="the effort of an attack, and cl has none"):
        settings_for("rs2@1", defaults("cl"))
    with pytest.raises(RequirementError, match="an effort is the steps"):
        settings_for("rs2@fast", RUN)


def test_windows_are_part_of_a_method() -> None:
    """`rcs:window=100x512` runs RCS window by window with groups of 512; its name stays rcs."""
    made = selector_for("rcs:window=100x512", RUN)
    assert made == Windowed(RCS(objective=RUN.rd, eta=0.02, group_size=512), 51_200)
    assert selector_for("redraw:window=null", RUN) == Redraw()
    assert selector_for("redraw:window=50", RUN) == Windowed(Redraw(), 50)
    assert names_of(selector_for("rcs:window=4x5+redraw", RUN)) == ("rcs", "redraw")
    for wrong in ("rcs:window=0", "rcs:window=4x5:group_size=6", "rcs:window=1.5"):
        with pytest.raises(ShapeError):
            selector_for(wrong, RUN)


def test_balance_is_part_of_a_method() -> None:
    """Any method takes equal shares of labels or clusters; its name stays its own."""
    made = selector_for("rs2:balance=labels", RUN)
    assert made == PerClass(RS2(), "labels", "equal")
    assert names_of(made) == ("rs2",)
    weighted = selector_for("redraw:balance=clusters:weighted=true", RUN)
    assert weighted == PerClass(Redraw(), "clusters", "equal", weighted=True)
    inside = selector_for("rcs:window=4x5:balance=labels", RUN)
    assert isinstance(inside, PerClass)
    assert isinstance(inside.selector, Windowed)
    with pytest.raises(ShapeError, match="balance is 'labels' or 'clusters', got 'classes'"):
        selector_for("rs2:balance=classes", RUN)
    with pytest.raises(RequirementError, match="weighted"):
        selector_for("rs2:weighted=true", RUN)


def test_a_filter_is_part_of_a_method() -> None:
    """It is outermost, by the model's own losses or by those of a side model; the method's name stays its own."""
    assert selector_for("rs2:filter=0.6", RUN) == Filtered(RS2(), 0.6)
    assert selector_for("rs2:filter=0.6:balance=labels", RUN) == Filtered(PerClass(RS2(), "labels", "equal"), 0.6)
    side = selector_for("rcs:filter=0.5:side=true", RUN)
    assert side == SideFiltered(RCS(objective=RUN.rd, eta=0.02), 0.5)
    assert names_of(side) == ("rcs",)
    for wrong, kind in (
        ("rs2:filter=2", ShapeError),
        ("rs2:filter=true", RequirementError),
        ("rs2:side=true", RequirementError),
    ):
        with pytest.raises(kind):
            selector_for(wrong, RUN)


def test_the_controls_are_methods_in_words() -> None:
    """Each method shares the budget equally with the validation set, which is named once, at any place, and not guided by it."""
    assert selector_for("validation_only", RUN) == TrustedDraws(None, 1.0)
    assert selector_for("rs2+validation", RUN) == TrustedDraws(RS2(), 0.5)
    assert selector_for("rs2+craig+validation", RUN) == TrustedDraws(Mixture([RS2(), CRAIG()]), 1 / 3)
    assert [names_of(selector_for(w, RUN)) for w in ("validation_only", "rs2+validation")] == [
        ("validation_only",),
        ("rs2",),
    ]
    for wrong in (
        "validation",
        "rs2+validation_only",
        "rs2+validation+validation",
        "rcs+validation",
        "rs2+validation:share=1",
    ):
        with pytest.raises(RequirementError, match="validation set"):
            selector_for(wrong, RUN)
    with pytest.raises(RequirementError, match="acl does not read"):
        selector_for("rs2+validation", defaults("acl"))


def test_a_plus_shares_the_budget() -> None:
    """The parts have equal shares in the written order; settings of the run apply to the whole mixture."""
    assert selector_for("rcs:eta=0.05+redraw", RUN) == Mixture([RCS(objective=RUN.rd, eta=0.05), Redraw()])
    assert names_of(selector_for("rcs+redraw", RUN)) == ("rcs", "redraw")
    assert settings_for("redraw+rcs:capture=all", RUN).capture == "all"


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ("best", UnknownNameError, "no selector is called 'best'"),
        ("", UnknownNameError, "no selector is called ''"),
        ("rcs+", UnknownNameError, "no selector is called ''"),
        ("rcs:objective=luck", UnknownNameError, "no objective is called 'luck'; there are rd, js, ot"),
        ("rcs:eta", RequirementError, "contains 'eta': write key=value after the name and a colon"),
        ("rcs:=1", RequirementError, "contains '=1'"),
        ("rs2:luck=1", RequirementError, "has no setting 'luck'; it has none"),
        ("windowed", RequirementError, "'windowed' combines other selectors"),
        ("rcs:rd_steps=1+rcs_sampled:rd_steps=2", RequirementError, "has rd_steps 1 and 2: its parts share one sweep"),
        ("rcs:rd_steps=0", RequirementError, "at least one step of RD's attack"),
        ("rcs:rd_steps=many", RequirementError, "has rd_steps 'many': a number of steps is needed"),
        ("rcs:rd_steps=2.5", RequirementError, "has rd_steps 2.5: a number of steps is needed"),
        ("rcs:rd_steps=" + "9" * 400, RequirementError, "a number of steps is needed"),
        ("rcs:eta=" + "[" * 100_000, RequirementError, "the selector 'rcs' takes eta as float, got '[[["),
        ("rcs:eta=0.1:eta=0.2", RequirementError, "sets eta twice: leave one out"),
        ("rcs:name=best", RequirementError, "the selector 'rcs' has no setting 'name'; it has objective"),
        ("rcs:refresh=1.5", RequirementError, "the selector 'rcs' takes refresh as int, got 1.5"),
        ("rcs:recraft=2.5", RequirementError, "the selector 'rcs' takes recraft as "),
        ("rcs:clusters=true", RequirementError, "the selector 'rcs' takes clusters as int, got True"),
        ("rcs:sketch=wide", RequirementError, "the selector 'rcs' takes sketch as "),
        ("facility_location:neighbours=2.5", RequirementError, "takes neighbours as "),
        ("rcs:group_size=1.5", RequirementError, "the selector 'rcs' takes group_size as int | None, got 1.5"),
        ("rcs:group_size=0", ShapeError, "group_size must be a whole number of at least 1, got 0"),
        ("rcs:select_attack_steps=-1", RequirementError, "has select_attack_steps -1: a number of steps is needed"),
        ("rcs:objective=[1]", UnknownNameError, "no objective is called '[1]'"),
        ("redraw:capture=all", RequirementError, "capture would have no effect for 'redraw'"),
        ("craig:rd_steps=1+rcs", RequirementError, "rd_steps would have no effect for 'craig'"),
        (
            "k_center:select_attack_steps=1",
            RequirementError,
            "select_attack_steps would have no effect for 'k_center'",
        ),
        ("rcs:capture=tail", UnknownNameError, "capture is one of head and all, got 'tail'"),
    ],
)
def test_what_means_nothing_is_refused_in_a_sentence(words: str, kind: type[Exception], said: str) -> None:
    """Unknown names, settings without values, unknown settings and two values for one setting are refused."""
    with pytest.raises(kind) as refusal:
        selector_for(words, RUN)
    assert said in str(refusal.value)


def test_the_training_attack_may_be_named_beside_a_faster_one() -> None:
    """null means the attack of training; a system without an attack accepts no number of steps."""
    fast = replace(RUN, select_attack_steps=1)
    assert settings_for("rcs:select_attack_steps=null", fast).select_attack == RUN.attack
    with pytest.raises(RequirementError, match="no effect for 'rcs' with standard"):
        selector_for("rcs:select_attack_steps=1", defaults("standard"))
