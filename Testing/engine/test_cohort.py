"""Many results as one table: what is found, what is named, and statistics that were worked out by hand."""

import builtins
import csv
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from csvd.cli import main
from csvd.cohort import plots, report
from csvd.cohort.collect import collect, read_truth
from csvd.cohort.statistics import agreement, differences, groups_of, icc, quintiles
from csvd.cohort.study import Question, study
from csvd.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
MADE = {"marker": "wmh", "parameters": {"model": "wmh-seunet", "threshold": 0.4}, "software": {"csvd": "1.0"}}


def result(folder, volume=1.0, provenance=None, **more):
    """A folder as csvd writes it, with the two files that a cohort reads."""
    folder.mkdir(parents=True)
    titles = {"total_volume": ("Total WMH, volume", "mL")}
    measured = {"total_volume": volume, "fazekas_total": 2, "fazekas_agreement": True, **more}
    content = {
        name: {"value": value, "unit": titles.get(name, ("", ""))[1], "title": titles.get(name, (name, ""))[0]}
        for name, value in measured.items()
    }
    (folder / "measurements.json").write_text(json.dumps(content), encoding="utf-8")
    made = {**MADE, "input": {"sha256": str(folder)}} if provenance is None else provenance
    (folder / "provenance.json").write_text(json.dumps(made), encoding="utf-8")
    return folder


def truth(tmp_path, text):
    (tmp_path / "truth.csv").write_text(text, encoding="utf-8")
    return tmp_path / "truth.csv"


def by_name(statistics):
    return {row.name: row for row in statistics}


# What is found


def test_folders_parents_and_patterns_are_the_same_cohort(tmp_path):
    for name in ("P02", "P01", "P03"):
        result(tmp_path / "study" / name)
    whole = collect([str(tmp_path / "study")])
    assert [case.id for case in whole.cases] == ["P01", "P02", "P03"]
    assert whole.notes == ()
    each = collect([str(tmp_path / "study" / name) for name in ("P01", "P02", "P03")])
    pattern = collect([str(tmp_path / "study" / "P*")])
    assert [case.id for case in each.cases] == [case.id for case in pattern.cases] == ["P01", "P02", "P03"]


def test_a_folder_given_twice_is_one_case(tmp_path):
    folder = result(tmp_path / "P01")
    assert len(collect([str(folder), str(tmp_path), str(tmp_path / "P*")]).cases) == 1


def test_folders_of_the_same_name_are_told_apart_and_named(tmp_path):
    for visit in ("v1", "v2"):
        result(tmp_path / visit / "P01")
    result(tmp_path / "v1" / "P02")
    cohort = collect([str(tmp_path)])
    assert [case.id for case in cohort.cases] == ["P02", "v1/P01", "v2/P01"]
    assert cohort.notes == ("Folders of the same name are told apart by those above them: v1/P01, v2/P01.",)


@pytest.mark.parametrize(
    "content", ["", "not json", "[]", "{}", '{"a": 1}', '{"a": {"unit": "mL"}}', '{"a": {"value": NaN}}', "\udcff"]
)
def test_a_result_that_cannot_be_read_is_left_out_and_named(tmp_path, content):
    result(tmp_path / "good")
    broken = result(tmp_path / "broken") / "measurements.json"
    broken.write_bytes(content.encode("utf-8", "surrogateescape"))
    cohort = collect([str(tmp_path)])
    assert [case.id for case in cohort.cases] == ["good"]
    assert cohort.notes == (f"Left out, since the results there could not be read: {broken.parent}.",)


def test_drafts_of_a_result_that_is_being_written_are_no_results(tmp_path):
    result(tmp_path / "P01")
    result(tmp_path / "P02" / ".csvd-x" / "draft")
    assert [case.id for case in collect([str(tmp_path)]).cases] == ["P01"]


def test_nothing_to_collect_is_a_sentence(tmp_path):
    for place in (str(tmp_path / "absent*"), "", str(tmp_path / ("x" * 300))):
        with pytest.raises(InputError, match="is not there"):
            collect([place])
    with pytest.raises(InputError, match="holds no result of csvd"):
        collect([str(tmp_path)])
    (result(tmp_path / "P01") / "measurements.json").write_text("{")
    with pytest.raises(InputError, match="No result could be read"):
        collect([str(tmp_path)])


def test_the_same_scan_twice_and_results_made_in_different_ways_are_named(tmp_path):
    for n, (model, scan) in enumerate([("wmh-seunet", "a"), ("wmh-unet", "b"), ("wmh-unet", "a")], start=1):
        changed = {"parameters": {"model": model, "threshold": 0.4}, "input": {"sha256": scan}, "edited": n == 2}
        result(tmp_path / f"P{n}", provenance=MADE | changed)
    assert collect([str(tmp_path)]).notes == (
        "The same scan is counted more than once: P1 and P3.",
        "The results were made with different models: wmh-seunet (n=1), wmh-unet (n=2).",
        "1 of 3 results were edited by hand: P2.",
    )


@pytest.mark.parametrize(("text", "words"), [
    ("volume\n3\n", "give it a column id"),
    ("id\nP1\n", "give it a column id and another"),
    ("", "no columns"),
    ("id,volume\nP1,1\nP1,2\n", "the id P1 more than once"),
    ("id,volume\nP1,1\n,2\n", "a row without an id: fill it in"),
    ("id;volume\nP1;1\n", "semicolons or tabs between its columns: save it with commas"),
])  # fmt: skip
def test_a_wrong_table_of_truths_is_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read_truth(truth(tmp_path, text))
    with pytest.raises(InputError, match="No such file"):
        read_truth(tmp_path / "absent.csv")


def test_empty_columns_and_rows_of_a_spreadsheet_do_no_harm(tmp_path):
    table = read_truth(truth(tmp_path, "id, volume ,\nP1, 3 ,\n,,\n,,\n"))
    assert table.columns == ("volume",)
    assert table.rows == {"P1": {"id": "P1", "volume": "3"}}


def test_a_flair_that_was_measured_alone_and_with_other_sequences_is_one_scan_twice(tmp_path):
    several = {"flair": {"sha256": "a"}, "t1": {"sha256": "b"}}
    thresholds = {"wmh": 0.4, "lacune": 0.5}
    result(tmp_path / "P1", provenance=MADE | {"input": {"sha256": "a"}})
    for name in ("P2", "P3"):
        made = {"marker": "burden", "input": several, "parameters": {"model": "b", "threshold": thresholds}}
        result(tmp_path / name, provenance=MADE | made)
    notes = collect([str(tmp_path)]).notes
    assert notes[0] == "The same scan is counted more than once: P1 and P2 and P3, P2 and P3."
    assert "The results were made with different thresholds: 0.4 (n=1), wmh 0.4 lacune 0.5 (n=2)." in notes


# Statistics by hand


def test_agreement_of_six_pairs_by_hand():
    # Ranks with neighbours swapped: r = 1 - 6 * 6 / (6 * 35); no bias; the differences are -1 and 1 in turn.
    found = by_name(agreement([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5], "mL"))
    r = 1 - 36 / 210
    assert [found[name].value for name in ("pearson", "concordance")] == pytest.approx([r, r])
    ends = [math.tanh(math.atanh(r) + side * 1.959964 / math.sqrt(3)) for side in (-1, 1)]
    assert (found["pearson"].low, found["pearson"].high) == pytest.approx(ends, abs=1e-6)
    sd = math.sqrt(6 / 5)
    assert [found[name].value for name in ("bias", "lower_limit", "upper_limit")] == pytest.approx(
        [0, -1.96 * sd, 1.96 * sd], abs=1e-12
    )
    t = 2.570582  # 97.5 % of Student's t with 5 degrees of freedom
    assert found["bias"].high == -found["bias"].low == pytest.approx(t * sd / math.sqrt(6), abs=1e-6)
    assert found["upper_limit"].high == pytest.approx(1.96 * sd + t * sd * math.sqrt(3 / 6), abs=1e-6)
    assert found["bias"].unit == "mL"
    assert {row.n for row in found.values()} == {6}


def test_concordance_sees_a_shift_that_correlation_does_not():
    found = by_name(agreement([2, 3, 4, 5, 6], [1, 2, 3, 4, 5]))
    assert found["pearson"].value == pytest.approx(1)
    assert found["concordance"].value == pytest.approx(0.8)  # 2 * 2 / (2 + 2 + 1)
    # Lin's variance with r = 1, u^2 = 1/2: 2 c^3 (1 - c) u^2 / (1 - c^2)^2 - (c^2 u^2 / (1 - c^2))^2 / 2, over n - 2
    variance = (2 * 0.8**3 * 0.2 * 0.5 / 0.36**2 - (0.64 * 0.5 / 0.36) ** 2 / 2) / 3
    ends = [math.tanh(math.atanh(0.8) + side * 1.959964 * math.sqrt(variance)) for side in (-1, 1)]
    assert (found["concordance"].low, found["concordance"].high) == pytest.approx(ends, abs=1e-6)
    assert found["bias"].value == 1


def test_the_interval_of_concordance_holds_the_truth_in_95_of_100_samples():
    rng = np.random.default_rng(0)
    true = 2 * 1 / (1 + 1.25 + 0.25)  # y = x + .5 + noise of variance 1/4
    hits = 0
    for _ in range(300):
        x = rng.normal(size=40)
        row = by_name(agreement(x + 0.5 + 0.5 * rng.normal(size=40), x))["concordance"]
        hits += row.low <= true <= row.high
    assert 0.92 < hits / 300 < 0.98


def test_icc_is_that_of_the_example_of_shrout_and_fleiss():
    # Their table 2: six cases, four raters; ICC(2,1) is printed as .29.
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert icc(np.array(ratings, float)) == pytest.approx(0.2898, abs=5e-5)
    assert icc(np.ones((4, 2))) is None


@pytest.mark.parametrize(("ours", "reference", "words"), [
    ([], [], "fewer than 4 pairs"),
    ([1, 2, 3], [1, 2, 3], "fewer than 4 pairs"),
    ([1, 1, 1, 1], [1, 2, 3, 4], "one of the two series is constant"),
    ([0, 0, 0, 0], [0, 0, 0, 0], "one of the two series is constant"),
])  # fmt: skip
def test_too_little_for_agreement_is_a_reason_and_not_nan(ours, reference, words):
    (only,) = agreement(ours, reference)
    assert only.value is None
    assert words in only.note
    assert only.n == len(ours)


def graded(**values):
    cases = {f"{grade}{n}": (grade, value) for grade, of in values.items() for n, value in enumerate(of)}
    return groups_of({case: v for case, (_, v) in cases.items()}, {case: g for case, (g, _) in cases.items()})


def test_differences_between_three_grades_by_hand():
    found = by_name(differences(graded(a=[1, 2, 3], b=[2, 3, 4], c=[6, 7, 8]), "mL"))
    # Means 2, 3, 7 around 4: 3 * (4 + 1 + 9) / 2 between, 6 / 6 within.
    assert found["anova"].value == pytest.approx(21)
    assert found["anova"].note == "p = .002"
    # Ranks 8, 13, 24: 12 / 90 * (64 + 169 + 576) / 3 - 30, over 1 - 12 / 720 for the two ties.
    assert found["kruskal_wallis"].value == pytest.approx((12 / 90 * 809 / 3 - 30) / (1 - 12 / 720))
    half = 4.339195 * math.sqrt(1 / 3)  # the studentised range for 3 groups and 6 degrees of freedom
    for pair, difference in (("a_b", 1), ("a_c", 5), ("b_c", 4)):
        row = found[f"tukey_{pair}"]
        assert (row.value, row.low, row.high) == pytest.approx(
            (difference, difference - half, difference + half), abs=1e-4
        )
        assert row.unit == "mL"
    assert found["tukey_a_c"].title == "Grade c minus grade a"


def test_tukey_with_grades_of_different_size_is_as_statsmodels_gives_it():
    # pairwise_tukeyhsd of statsmodels 0.15.0 on these numbers.
    found = by_name(differences(graded(a=[1, 2, 3], b=[2, 3, 4], c=[6, 7, 8, 5])))
    row = found["tukey_b_c"]
    assert (row.value, row.low, row.high) == pytest.approx((3.5, 0.9495, 6.0505), abs=1e-4)
    assert row.note == "Tukey HSD, p = .012"
    assert found["anova"].value == pytest.approx(15.516667)


def test_grades_are_in_the_order_of_numbers_and_words_come_last():
    assert [group.grade for group in graded(**{"10": [1], "2": [1], "mild": [1], "0": [1]})] == ["0", "2", "10", "mild"]


def test_a_grade_of_one_case_is_left_out_of_the_tests_and_named():
    found = differences(graded(a=[1, 2], b=[3, 4], c=[9]))
    assert [row.name for row in found] == ["anova", "kruskal_wallis", "tukey_a_b"]
    assert found[0].n == 4
    assert found[0].note.endswith("; left out with one case: grade c")


@pytest.mark.parametrize(("values", "words"), [
    ({}, "fewer than two grades have two cases"),
    ({"a": [1, 2, 3], "b": [4]}, "fewer than two grades have two cases"),
    ({"a": [1, 1], "b": [2, 2]}, "within the grades nothing varies"),
])  # fmt: skip
def test_too_little_for_a_difference_is_a_reason_and_not_nan(values, words):
    (only,) = differences(graded(**values))
    assert only.value is None
    assert words in only.note


def test_quintiles_part_ten_cases_by_two_and_keep_equal_values_together():
    ten = quintiles({str(n): float(n) for n in range(1, 11)})
    assert list(ten.values()) == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    zeros = quintiles({str(n): value for n, value in enumerate([0, 0, 0, 0, 0, 1, 2, 3, 4, 5])})
    assert list(zeros.values())[:5] == [1] * 5
    assert quintiles({"a": 1.0, "b": 2.0}) == "No quintiles: they need five different values, and there are 2."


# A study


def cohort_of(tmp_path, volumes, **more):
    for n, volume in enumerate(volumes, start=1):
        result(tmp_path / f"P{n}", volume, **{name: values[n - 1] for name, values in more.items()})
    return collect([str(tmp_path)])


def test_a_study_pairs_cases_by_id_and_names_those_without_a_partner(tmp_path):
    cohort = cohort_of(tmp_path / "study", [1.0, 2.0, 3.0, 4.0, None])
    table = truth(tmp_path, "id,volume\nP4,4.5\nP1,1.5\nP2,n/a\nP9,7\nP5,1\n")
    found = study(cohort, Question("total_volume"), read_truth(table))
    assert found.reference_values == {"P4": 4.5, "P1": 1.5}
    assert found.question.column == "volume"
    assert found.agreement[0].n == 2
    assert found.notes[:4] == [
        "No number for Total WMH, volume in P5: left out where it is asked for.",
        "Not in the table of truths: P3.",
        "In the table of truths without a result: P9.",
        "No number in the column volume for P2.",
    ]


def test_a_grade_may_be_of_the_truth_or_of_the_results(tmp_path):
    cohort = cohort_of(tmp_path / "study", [1.0, 2.0, 5.0, 6.0], fazekas_total=[0, 0, 3, None])
    table = read_truth(truth(tmp_path, "id,visual\nP1,mild\nP2,mild\nP3,severe\nP4,severe\n"))
    by_truth = study(cohort, Question("total_volume", grade="visual"), table)
    assert [(group.grade, group.values.tolist()) for group in by_truth.groups] == [("mild", [1, 2]), ("severe", [5, 6])]
    assert by_truth.agreement == []
    by_result = study(cohort, Question("total_volume", grade="fazekas_total"))
    assert [(group.grade, group.values.tolist()) for group in by_result.groups] == [("0", [1, 2]), ("3", [5])]


@pytest.mark.parametrize(("question", "words"), [
    (Question("atrophy"), "No result has the measurement atrophy"),
    (Question("total_volume"), "has the columns volume, visual: say with --truth-column"),
    (Question("total_volume", "weight"), "has no column weight"),
    (Question("total_volume", "volume", "age"), "The grade age is unknown"),
])  # fmt: skip
def test_a_question_that_cannot_be_answered_is_refused(tmp_path, question, words):
    cohort = cohort_of(tmp_path / "study", [1.0, 2.0])
    table = read_truth(truth(tmp_path, "id,volume,visual\nP1,1,mild\nP2,2,mild\n"))
    with pytest.raises(InputError, match=words):
        study(cohort, question, table)


def test_a_truth_of_other_people_is_refused(tmp_path):
    table = read_truth(truth(tmp_path, "id,volume\nA,1\n"))
    with pytest.raises(InputError, match=r"No id of .* is that of a result: the results are P1"):
        study(cohort_of(tmp_path / "study", [1.0]), Question("total_volume"), table)


def test_the_burden_within_a_cohort_by_hand(tmp_path):
    more = {"microbleed_count": [0, 2, 4], "lacune_count": [1, 1, 1], "perivascular_space_count": [None, 10, 30]}
    found = study(cohort_of(tmp_path, [1.0, 2.0, 3.0], **more), Question("total_volume"))
    half = 1 / math.sqrt(2)  # of two values, each lies this many SDs from the mean
    totals = [burden.total for burden in found.burdens.values()]
    assert totals == pytest.approx([-1 - 1, 0 - half, 1 + 1 + half])
    assert found.burdens["P1"].missing["lacune_count"] == "the same in all 3 cases of the cohort"


def test_a_volume_on_ct_is_no_wmh_volume_of_the_burden(tmp_path):
    for n, marker in enumerate(("wmh", "wmh", "leukoaraiosis"), start=1):
        result(tmp_path / f"P{n}", float(n), provenance=MADE | {"marker": marker, "input": {"sha256": str(n)}})
    found = study(collect([str(tmp_path)]), Question("total_volume"))
    assert found.reference.markers["total_volume"].mean == pytest.approx(1.5)
    assert [burden.total for burden in found.burdens.values()] == [
        pytest.approx(-(0.5**0.5)),
        pytest.approx(0.5**0.5),
        None,
    ]
    assert "Volumes on CT are no WMH volumes, so not part of the Z-score burden: P3." in found.notes


def test_a_cohort_of_one_is_a_table_and_reasons(tmp_path):
    found = study(cohort_of(tmp_path, [4.0]), Question("total_volume", grade="fazekas_total"))
    assert found.burdens["P1"].total is None
    assert found.burdens["P1"].missing["total_volume"] == "known in 1 case of the cohort, so without a spread"
    assert "No quintiles: they need five different values, and there are 1." in found.notes
    assert found.differences[0].value is None


# csvd cohort


@pytest.fixture
def made(tmp_path):
    """40 made-up cases with a truth and a visual grade."""
    pytest.importorskip("matplotlib", reason="csvd cohort draws with matplotlib")
    rng = np.random.default_rng(0)
    lines = ["id,reference_ml,visual"]
    for n in range(40):
        true = float(np.exp(rng.normal(2, 0.9)))
        counts = {"microbleed_count": int(rng.poisson(true / 8)), "lacune_count": None if n % 8 == 0 else n % 3}
        result(
            tmp_path / "study" / f"case{n:02d}",
            abs(true * 0.95 + float(rng.normal(0, 0.1 * true + 0.3))),
            **counts,
            perivascular_space_count=int(rng.poisson(15)),
        )
        lines.append(f"case{n:02d},{true:.3f},{min(3, int(true / 6))}")
    return tmp_path / "study", truth(tmp_path, "\n".join(lines) + "\n"), tmp_path / "out" / "table.csv"


def test_the_picture_of_agreement_holds_values_below_zero(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="csvd cohort draws with matplotlib")
    drawn = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.append(figure))
    ours, reference = np.array([-0.4, -0.1, 0.2, 0.3]), np.array([-0.5, 0.0, 0.1, 0.2])
    plots.plot_agreement(ours, reference, by_name(agreement(ours, reference)), ("ours", "reference"), tmp_path)
    axes = drawn[0].axes[0]
    assert axes.get_xlim() == axes.get_ylim() == pytest.approx((-0.525, 0.315))


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures take most of the time, and one test looks at them."""
    monkeypatch.setattr(report, "_draw", lambda *_: None)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_cohort_is_a_table_a_report_and_pictures(made, capsys):
    folder, truths, table = made
    call = ["cohort", str(folder), "-o", str(table), "--truth", str(truths), "--grade", "visual", "--log1p"]
    assert main(call) == 0
    pictures = {f"table_{name}.png" for name in ("agreement", "grades", "quintiles", "burden")}
    assert names(table.parent) == {"table.csv", "table.html"} | pictures
    with table.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [f"case{n:02d}" for n in range(40)]
    assert {row["cohort_quintile"] for row in rows} == set("12345")
    assert rows[0]["lacune_count"] == rows[0]["cohort_z_lacune_count"] == ""
    assert (rows[0]["cohort_z_markers"], rows[1]["cohort_z_markers"]) == ("3 of 4", "4 of 4")
    parts = [float(value) for name, value in rows[1].items() if name.startswith("cohort_z_") and name.endswith("count")]
    total = float(rows[1]["cohort_z_total_volume"]) + sum(parts)
    assert float(rows[1]["cohort_z_burden"]) == pytest.approx(total)
    assert rows[1]["truth_reference_ml"]
    told = capsys.readouterr()
    assert told.out.startswith("40 cases, 40 with Total WMH, volume (mL)\nPearson r: 0.9")
    assert "Not a medical device" in told.out
    assert told.err == ""
    page = (table.parent / "table.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "Total WMH, volume against reference_ml (n=40)" in page
    assert "Not a medical device" in page
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page).lower()


def test_json_is_all_there_is_on_standard_output(made, undrawn, capsys):
    folder, truths, table = made
    call = ["cohort", str(folder), "-o", str(table), "--truth", str(truths), "--truth-column", "reference_ml"]
    assert main([*call, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n"] == 40
    assert {row["name"] for row in told["statistics"]} == {
        "pearson", "concordance", "icc", "bias", "lower_limit", "upper_limit",
    }  # fmt: skip


def test_a_reference_file_replaces_the_cohort_s_own_means(made, undrawn, tmp_path):
    folder, _, table = made
    (tmp_path / "norm.csv").write_text("marker,mean,sd,n,transform,source\ntotal_volume,1,2,90,none,Our clinic\n")
    assert main(["cohort", str(folder), "-o", str(table), "--reference", str(tmp_path / "norm.csv"), "--quiet"]) == 0
    with table.open(encoding="utf-8") as stream:
        row = next(csv.DictReader(stream))
    assert float(row["cohort_z_burden"]) == pytest.approx((float(row["total_volume"]) - 1) / 2)
    assert "Our clinic" in (table.parent / "table.html").read_text(encoding="utf-8")


def test_pictures_of_an_earlier_run_go_away_and_other_files_stay(made, undrawn):
    folder, _, table = made
    table.parent.mkdir()
    for name in ("table_agreement.png", "table_of_mine.png"):
        (table.parent / name).write_bytes(b"of an earlier run")
    assert main(["cohort", str(folder), "-o", str(table), "--quiet"]) == 0
    assert names(table.parent) == {"table.csv", "table.html", "table_of_mine.png"}


def test_an_error_while_files_are_written_leaves_the_folder_as_it_was(made, undrawn, monkeypatch, capsys):
    folder, _, table = made

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "render", full)
    assert main(["cohort", str(folder), "-o", str(table)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not table.parent.exists()


@pytest.mark.parametrize(("call", "words"), [
    (["STUDY"], "--help"),
    (["STUDY", "-o", "table.txt"], "ends in .csv"),
    (["STUDY", "-o", "TRUTH", "--truth", "TRUTH"], "is read here and would be lost"),
    (["STUDY", "-o", "TRUTH/table.csv"], "is a file"),
    (["ABSENT", "-o", "TABLE"], "is not there"),
    (["STUDY", "-o", "TABLE", "--log1p", "--reference", "norm.csv"], "which transform"),
    (["STUDY", "-o", "TABLE", "--truth-column", "volume"], "give both"),
    (["STUDY", "-o", "TABLE", "--grade", "age"], "The grade age is unknown"),
    (["STUDY", "-o", "TABLE", "--reference", "absent.csv"], "absent.csv cannot be read"),
])  # fmt: skip
def test_a_wrong_call_is_one_line_exit_status_2_and_nothing_written(made, call, words, capsys):
    folder, truths, table = made
    before = truths.read_bytes()
    places = {"STUDY": folder, "TABLE": table, "ABSENT": folder / "absent", "TRUTH": truths}
    places["TRUTH/table.csv"] = truths / "table.csv"
    assert main(["cohort", *(str(places.get(part, part)) for part in call)]) == 2
    assert truths.read_bytes() == before
    told = capsys.readouterr()
    assert re.fullmatch(r"csvd: .+\n", told.err)
    assert words in told.err
    assert told.out == ""
    assert not table.parent.exists()


def test_without_matplotlib_a_sentence_says_how_to_get_it(made, monkeypatch, capsys):
    folder, _, table = made
    ordinary = builtins.__import__

    def without(name, *rest, **more):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return ordinary(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["cohort", str(folder), "-o", str(table)]) == 2
    assert "pip install csvd[cohort]" in capsys.readouterr().err
    assert not table.parent.exists()


def test_a_cohort_loads_no_torch():
    script = (
        "import sys; from csvd.cli import main; print(main(['cohort', 'no', '-o', 'x.csv']), 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == "2 False\n"
