"""The Z-score burden against a declared reference: sums by hand, and a sentence wherever there is none."""

import math

import pytest

from csvd.errors import InputError
from csvd.measure.zscore import MARKERS, burden, measure_burden, read_reference, reference_of

COHORT = {
    "total_volume": [1.0, 2.0, 3.0],  # mean 2, SD 1
    "microbleed_count": [0, 0, 6],  # mean 2, SD sqrt(12)
    "lacune_count": [0, 2, 4],  # mean 2, SD 2
    "perivascular_space_count": [10, 20, 30],  # mean 20, SD 10
}
HEADER = "marker,mean,sd,n,transform,source\n"


def case(n):
    return {marker: values[n] for marker, values in COHORT.items()}


def written(tmp_path, *rows, header=HEADER, encoding="utf-8"):
    path = tmp_path / "reference.csv"
    path.write_text(header + "".join(f"{row}\n" for row in rows), encoding=encoding)
    return path


# Within a cohort


def test_z_is_the_distance_from_the_mean_of_the_cohort_in_its_sample_sd():
    reference = reference_of(COHORT)
    last = burden(case(2), reference)
    assert last.z == pytest.approx({
        "total_volume": 1, "microbleed_count": 4 / math.sqrt(12), "lacune_count": 1, "perivascular_space_count": 1,
    })  # fmt: skip
    assert last.total == pytest.approx(3 + 4 / math.sqrt(12))
    assert last.note == "Sum over 4 of 4 markers"
    assert burden(case(1), reference).total == pytest.approx(-2 / math.sqrt(12))


def test_the_burdens_of_a_cohort_add_up_to_zero():
    reference = reference_of(COHORT, log1p=True)
    assert sum(burden(case(n), reference).total for n in range(3)) == pytest.approx(0)


def test_log1p_takes_the_logarithm_before_mean_and_sd():
    e = math.e
    reference = reference_of({"total_volume": [0, e - 1, e**2 - 1]}, log1p=True)  # log1p: 0, 1, 2
    norm = reference.markers["total_volume"]
    assert (norm.mean, norm.sd, norm.n, norm.transform) == pytest.approx((1, 1, 3, "log1p"))
    assert burden({"total_volume": e**2 - 1}, reference).z["total_volume"] == pytest.approx(1)


def test_a_missing_marker_is_left_out_and_named_and_never_taken_for_zero():
    reference = reference_of(COHORT)
    found = burden({"total_volume": 3.0, "lacune_count": None, "perivascular_space_count": 30}, reference)
    assert found.total == pytest.approx(2)
    assert set(found.missing) == {"microbleed_count", "lacune_count"}
    assert found.note == "Sum over 2 of 4 markers (Microbleeds: missing; Lacunes: missing)"
    assert burden(case(0) | {"lacune_count": None}, reference).total != burden(case(0), reference).total


def test_each_marker_has_the_reference_of_the_cases_that_have_it():
    reference = reference_of(COHORT | {"microbleed_count": [None, 1, 3]})
    norm = reference.markers["microbleed_count"]
    assert (norm.mean, norm.sd, norm.n) == (2, pytest.approx(math.sqrt(2)), 2)
    assert reference.markers["lacune_count"].n == 3


@pytest.mark.parametrize(("values", "reason"), [
    ([], "known in 0 cases of the cohort, so without a spread"),
    ([None, None], "known in 0 cases of the cohort, so without a spread"),
    ([4.0], "known in 1 case of the cohort, so without a spread"),
    ([0, 0, 0], "the same in all 3 cases of the cohort"),
    ([0.1 + 0.2, 0.3], "the same in all 2 cases of the cohort"),
    ([1e6 + 0.1] * 7, "the same in all 7 cases of the cohort"),
])  # fmt: skip
@pytest.mark.parametrize("log1p", [False, True])
def test_an_empty_cohort_a_cohort_of_one_and_no_variance_are_a_sentence_and_not_nan(values, reason, log1p):
    reference = reference_of({"total_volume": values}, log1p=log1p)
    assert reference.unusable["total_volume"] == reason
    alone = burden({"total_volume": 5.0}, reference)
    assert alone.total is None
    assert alone.missing["total_volume"] == reason
    measured = measure_burden({"total_volume": 5.0}, reference)
    assert measured["z_burden"].value is None
    assert measured["z_burden"].source.startswith(
        f"Sum over 0 of 4 markers (WMH volume: {reason}; Microbleeds: missing"
    )


def test_a_marker_without_variance_leaves_the_others():
    reference = reference_of(COHORT | {"microbleed_count": [0, 0, 0]})
    assert burden(case(2) | {"microbleed_count": 0}, reference).total == pytest.approx(3)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_a_value_that_cannot_be_is_refused(value):
    with pytest.raises(InputError, match="WMH volume is"):
        reference_of({"total_volume": [1, 2, value]})
    with pytest.raises(InputError, match="WMH volume is"):
        burden({"total_volume": value}, reference_of(COHORT))


# Against a file


def test_a_reference_file_gives_z_and_its_source(tmp_path):
    path = written(
        tmp_path, 'total_volume,1.0,0.5,250,log1p,"Our clinic, controls"', "lacune_count,0.5,1.5,90,none,Register"
    )
    reference = read_reference(path)
    measured = measure_burden({"total_volume": math.e**2 - 1, "lacune_count": 2, "microbleed_count": 1}, reference)
    assert measured["z_total_volume"].value == pytest.approx(2)
    assert measured["z_lacune_count"].value == pytest.approx(1)
    assert measured["z_burden"].value == pytest.approx(3)
    assert measured["z_total_volume"].source == "(log(1 + value) - 1) / 0.5. Our clinic, controls, n=250"
    assert measured["z_lacune_count"].source == "(value - 0.5) / 1.5. Register, n=90"
    assert measured["z_microbleed_count"].value is None
    assert measured["z_microbleed_count"].source == "None: not in the reference"
    assert "Microbleeds: not in the reference; Perivascular spaces: missing" in measured["z_burden"].source
    assert set(measured) == {f"z_{marker}" for marker in MARKERS} | {"z_burden"}


def test_a_spreadsheet_s_byte_order_mark_and_spaces_do_no_harm(tmp_path):
    path = written(tmp_path, " lacune_count , 1 , 2 , 9 , none , Register ", encoding="utf-8-sig")
    assert read_reference(path).markers["lacune_count"].z(5) == 2


ROW = "lacune_count,1,2,9,none,Register"
WRONG = {
    "no column": ([ROW.removesuffix(",Register")], HEADER.replace(",source", ""), "lacks the column 'source'"),
    "no row": ([], HEADER, "lacks any row"),
    "unknown marker": ([ROW.replace("lacune_count", "atrophy")], HEADER, "has the marker 'atrophy'"),
    "twice": ([ROW, ROW], HEADER, "'lacune_count' twice"),
    "no number": ([ROW.replace(",1,", ",one,")], HEADER, "that is no number"),
    "no variance": ([ROW.replace(",2,", ",0,")], HEADER, "sd and n must be above 0"),
    "endless mean": ([ROW.replace(",1,", ",inf,")], HEADER, "sd and n must be above 0 and all finite"),
    "nan": ([ROW.replace(",2,", ",nan,")], HEADER, "sd and n must be above 0"),
    "nobody": ([ROW.replace(",9,", ",0,")], HEADER, "sd and n must be above 0"),
    "transform": ([ROW.replace("none", "sqrt")], HEADER, "the transform 'sqrt': use none or log1p"),
    "no source": ([ROW.replace("Register", "")], HEADER, "fill in the column source"),
    "short row": (["lacune_count,1"], HEADER, "that is no number"),
}


@pytest.mark.parametrize(("rows", "header", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_reference_file_is_refused_in_one_sentence(tmp_path, rows, header, words):
    path = written(tmp_path, *rows, header=header)
    with pytest.raises(InputError, match=words) as error:
        read_reference(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_absent_or_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_reference(tmp_path / "absent.csv")
    (tmp_path / "reference.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="no CSV file in UTF-8"):
        read_reference(tmp_path / "reference.csv")
