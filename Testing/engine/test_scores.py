"""The burden scores, every published table of points in full, and what becomes of them when a sequence is missing."""

import itertools
from dataclasses import fields, replace

import pytest

from csvd.errors import InputError
from csvd.measure.scores import (
    CAA_SVD,
    LAU,
    ScoreInputs,
    add_up,
    measure_scores,
    potter_grade,
    staals,
    worst_slice_count,
)
from csvd.measure.strive import Candidate

ZERO = ScoreInputs(
    **{f.name: 0 for f in fields(ScoreInputs) if f.name != "superficial_siderosis"}, superficial_siderosis="none"
)


def candidate(marker="perivascular_space", region="", hemisphere="left", low=0.0, high=None, **changes):
    span = {"inferior_mm": low, "superior_mm": low if high is None else high}
    sizes = dict.fromkeys(("volume_mm3", "diameter_mm", "longest_mm", "shortest_mm"), 3.0)
    place = {"centroid_mm": (0, 0, low), "region": region, "hemisphere": hemisphere, "in_plane": False}
    sure = {"mean_probability": 0.9, "max_probability": 1.0, "accepted": None, "reason": ""}
    return Candidate(**{"id": 1, "marker": marker} | span | sizes | place | sure | changes)


# Tables of points


@pytest.mark.parametrize(
    ("count", "grade"), [(0, 0), (1, 1), (10, 1), (11, 2), (20, 2), (21, 3), (40, 3), (41, 4), (200, 4)]
)
def test_the_grades_of_potter_at_their_borders(count, grade):
    assert potter_grade(count) == grade


FAZEKAS = list(itertools.product(range(4), repeat=2))
WMH_POINT = {(pv, deep): int(pv == 3 or deep in (2, 3)) for pv, deep in FAZEKAS}
WMH_POINTS = {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 2, 6: 2}  # by the Fazekas total


@pytest.mark.parametrize(("pv", "deep"), FAZEKAS)
def test_the_total_score_of_staals_for_every_combination(pv, deep):
    some = {0: 0, 1: 1, 9: 1}
    above_10, above_20 = {0: 0, 10: 0, 11: 1, 20: 1, 21: 1}, {0: 0, 10: 0, 11: 0, 20: 0, 21: 1}
    for lacunes, bleeds, spaces in itertools.product(some, some, above_10):
        inputs = replace(
            ZERO, fazekas_periventricular=pv, fazekas_deep=deep, lacunes=lacunes, microbleeds_deep=bleeds,
            pvs_basal_ganglia=spaces,
        )  # fmt: skip
        rest = WMH_POINT[pv, deep] + some[lacunes] + some[bleeds]
        assert add_up(staals(), inputs).value == rest + above_10[spaces]
        assert add_up(staals(20), inputs).value == rest + above_20[spaces]


@pytest.mark.parametrize(("pv", "deep"), FAZEKAS)
def test_the_amended_score_of_lau_for_every_combination(pv, deep):
    some, few_or_many, above_20 = {0: 0, 1: 1, 9: 1}, {0: 0, 1: 1, 4: 1, 5: 2, 30: 2}, {0: 0, 20: 0, 21: 1, 41: 1}
    for lacunes, bleeds, spaces in itertools.product(some, few_or_many, above_20):
        inputs = replace(
            ZERO, fazekas_periventricular=pv, fazekas_deep=deep, lacunes=lacunes, microbleeds_lobar=bleeds,
            pvs_basal_ganglia=spaces,
        )  # fmt: skip
        expected = WMH_POINTS[pv + deep] + some[lacunes] + few_or_many[bleeds] + above_20[spaces]
        assert add_up(LAU, inputs).value == expected


@pytest.mark.parametrize(("pv", "deep"), FAZEKAS)
def test_the_caa_score_for_every_combination(pv, deep):
    lobar, siderosis = {0: 0, 1: 0, 2: 1, 4: 1, 5: 2, 30: 2}, {"none": 0, "focal": 1, "disseminated": 2}
    for bleeds, iron, spaces in itertools.product(lobar, siderosis, (20, 21)):
        inputs = replace(
            ZERO, fazekas_periventricular=pv, fazekas_deep=deep, microbleeds_lobar=bleeds, superficial_siderosis=iron,
            pvs_centrum_semiovale=spaces,
        )  # fmt: skip
        expected = WMH_POINT[pv, deep] + lobar[bleeds] + siderosis[iron] + (spaces == 21)
        assert add_up(CAA_SVD, inputs).value == expected


def test_the_scores_reach_their_ends():
    most = ScoreInputs(3, 3, 2, 5, 1, 1, 1, 41, 41, 3, "disseminated")
    ends = {"svd_score": (0, 4), "amended_svd_score": (0, 6), "caa_svd_score": (0, 6), "wmh_points": (0, 2)}
    least, most = measure_scores(ZERO), measure_scores(most)
    assert {name: (least[name].value, most[name].value) for name in ends} == ends


def test_microbleeds_of_all_regions_count_in_the_total_and_the_lobar_alone_in_the_caa_score():
    inputs = replace(ZERO, microbleeds_deep=2, microbleeds_brain_stem=1, microbleeds_cerebellum=2)
    scores = measure_scores(inputs)
    assert (inputs.microbleeds, scores["microbleed_pattern"].value) == (5, "deep")
    assert [scores[name].value for name in ("svd_score", "amended_svd_score", "caa_svd_score")] == [1, 2, 0]


def test_cerebellar_microbleeds_leave_a_lobar_pattern_strictly_lobar():
    scores = measure_scores(replace(ZERO, microbleeds_lobar=1, microbleeds_cerebellum=3))
    assert scores["microbleed_pattern"].value == "strictly lobar"


# Missing inputs


BLEEDS = ("microbleeds_lobar", "microbleeds_deep", "microbleeds_brain_stem", "microbleeds_cerebellum")


def without(*names, **known):
    return replace(ZERO, **known | dict.fromkeys(names))


def test_a_missing_input_makes_a_range_and_is_named():
    inputs = without("lacunes", *BLEEDS, fazekas_deep=2, pvs_basal_ganglia=11)
    assert add_up(staals(), inputs).value == "2-4 (lacunes, microbleeds missing)"
    assert add_up(LAU, inputs).value == "0-3 (lacunes, microbleeds missing)"
    assert measure_scores(without("lacunes"))["svd_score"].value == "0-1 (lacunes missing)"


def test_a_missing_input_that_can_change_nothing_makes_no_range():
    assert add_up(staals(), without("fazekas_periventricular", fazekas_deep=2)).value == 1
    assert add_up(LAU, without("microbleeds_deep", microbleeds_lobar=5)).value == 2
    assert add_up(staals(), without("microbleeds_deep")).value == "0-1 (microbleeds missing)"


@pytest.mark.parametrize(("deep", "value"), [
    (0, "0-1 (WMH missing)"), (1, "0-1 (WMH missing)"), (2, "0-2 (WMH missing)"), (3, "1-2 (WMH missing)"),
])  # fmt: skip
def test_the_wmh_points_when_the_periventricular_grade_is_missing(deep, value):
    # Totals of deep + 0 to deep + 3.
    assert measure_scores(without("fazekas_periventricular", fazekas_deep=deep))["wmh_points"].value == value


@pytest.mark.parametrize("missing", list(itertools.product([False, True], repeat=4)))
def test_a_range_is_what_filling_in_by_hand_gives(missing):
    """Every way in which sequences can be missing, against the least and the most of all ways to fill them in."""
    ways = {
        ("fazekas_periventricular", "fazekas_deep"): FAZEKAS,
        ("lacunes",): [(0,), (1,), (3,)],
        BLEEDS: [(0, 0, 0, 0), (1, 0, 0, 0), (0, 3, 2, 0), (0, 0, 0, 4)],
        ("pvs_basal_ganglia",): [(0,), (11,), (21,)],
    }
    known = ScoreInputs(1, 2, 1, 1, 1, 0, 0, 15, 15, 0, "none")
    gone = [names for names, is_missing in zip(ways, missing, strict=True) if is_missing]
    inputs = replace(known, **{name: None for names in gone for name in names})
    for rule in (staals(), LAU):
        filled = [
            add_up(rule, replace(inputs, **dict(zip(sum(gone, ()), sum(values, ()), strict=True)))).low
            for values in itertools.product(*(ways[names] for names in gone))
        ]
        score = add_up(rule, inputs)
        assert (score.low, score.high) == (min(filled), max(filled))
        assert bool(score.missing) == (score.low < score.high)


def test_nothing_known_is_the_whole_range_and_never_zero():
    scores = measure_scores(ScoreInputs())
    assert scores["svd_score"].value == "0-4 (WMH, lacunes, microbleeds, perivascular spaces missing)"
    assert scores["amended_svd_score"].value.startswith("0-6 (")
    unknown = (
        "microbleed_pattern",
        "pvs_grade_basal_ganglia",
        "pvs_grade_midbrain",
        "input_lacunes",
    )
    assert [scores[name].value for name in unknown] == [None] * 4
    assert ScoreInputs().microbleeds is None


def test_the_caa_score_is_withheld_without_superficial_siderosis_and_says_why():
    score = measure_scores(without("superficial_siderosis", microbleeds_lobar=9))["caa_svd_score"]
    assert score.value is None
    assert score.source.startswith("Withheld: superficial siderosis is not measured, and no reader gave it.")
    given = without("pvs_centrum_semiovale", superficial_siderosis="focal")
    assert measure_scores(given)["caa_svd_score"].value == "1-2 (perivascular spaces missing)"


# What is written


def test_every_number_says_its_rule_its_source_and_the_threshold_in_use():
    scores = measure_scores(replace(ZERO, lacunes=2), staals_pvs_above=20, edited=("lacunes",))
    assert all(m.source for m in scores.values())
    assert "more than 20 perivascular spaces" in scores["svd_score"].source
    assert "more than 10 perivascular spaces" in measure_scores(ZERO)["svd_score"].source
    assert scores["svd_score"].source.startswith("WMH 0; lacunes 1; microbleeds 0; perivascular spaces 0. ")
    assert scores["input_lacunes"].source == "Set by a reader"
    assert "STRIVE-2" in measure_scores(ZERO)["input_lacunes"].source
    from_memory = ("amended_svd_score", "caa_svd_score", "microbleed_pattern")
    assert all("to be checked" in measure_scores(ZERO)[name].source for name in from_memory)


@pytest.mark.parametrize(("name", "value", "words"), [
    ("fazekas_deep", 4, "Fazekas deep is 4: give a Fazekas grade from 0 to 3."),
    ("lacunes", -1, "Lacunes is -1: give a whole number"),
    ("lacunes", 1.5, "Lacunes is 1.5: give a whole number"),
    ("lacunes", float("nan"), "give a whole number"),
    ("pvs_midbrain", True, "give a whole number"),
    ("superficial_siderosis", "some", "give one of none, focal, disseminated"),
])  # fmt: skip
def test_an_input_that_cannot_be_is_refused_in_one_sentence(name, value, words):
    with pytest.raises(InputError, match=words):
        replace(ZERO, **{name: value})


# Inputs from candidates


def test_microbleeds_are_counted_by_region_without_the_rejected():
    bleeds = [candidate("microbleed", region) for region in ("lobar", "lobar", "deep", "brain stem", "cerebellum", "")]
    bleeds += [candidate("microbleed", "deep", accepted=False), candidate("microbleed", "deep", accepted=True)]
    inputs = ScoreInputs().counted("microbleed", bleeds)
    counts = [getattr(inputs, name) for name in BLEEDS]
    assert counts == [3, 2, 1, 1]
    assert inputs.microbleeds == 7
    assert inputs.lacunes is None


def test_no_candidates_are_zero_and_not_missing():
    inputs = ScoreInputs()
    for marker in ("microbleed", "lacune", "perivascular_space"):
        inputs = inputs.counted(marker, [])
    assert (inputs.microbleeds, inputs.lacunes) == (0, 0)
    assert (inputs.pvs_basal_ganglia, inputs.pvs_centrum_semiovale, inputs.pvs_midbrain) == (0, 0, 0)


def test_lacunes_are_counted_wherever_they_lie():
    found = [candidate("lacune", "deep"), candidate("lacune"), candidate("lacune", accepted=False, reason="too long")]
    assert ScoreInputs().counted("lacune", found).lacunes == 2


def test_perivascular_spaces_are_counted_in_the_slice_and_hemisphere_with_most():
    where = "basal ganglia"
    spaces = [candidate(region=where, low=low) for low in (0, 1, 2, 3, 4, 5, 6)]  # 5 mm hold five of them
    spaces += [candidate(region=where, hemisphere="right", low=2) for _ in range(4)]
    assert worst_slice_count(spaces, where) == 5
    spaces += [candidate(region=where, hemisphere="right", low=4, high=30) for _ in range(2)]
    assert worst_slice_count(spaces, where) == 6
    assert worst_slice_count(spaces, "centrum semiovale") == 0
    assert worst_slice_count(spaces, where, slice_mm=1) == 4


def test_slices_of_5_mm_are_counted_one_by_one():
    where = "centrum semiovale"
    spaces = [candidate(region=where, low=0.1)] * 3 + [candidate(region=where, low=5.1)] * 4
    assert worst_slice_count(spaces, where) == 4
    through = [*spaces, candidate(region=where, low=0.1, high=5.1)]
    assert worst_slice_count(through, where) == 5


def test_midbrain_spaces_are_all_counted_and_graded_as_there_or_not():
    spaces = [candidate(region="midbrain", low=low) for low in (0, 40)]
    inputs = ScoreInputs().counted("perivascular_space", spaces)
    assert inputs.pvs_midbrain == 2
    assert measure_scores(inputs)["pvs_grade_midbrain"].value == 1
