"""A reference that a user declares: means and SDs in a file, or the results of a cohort."""

import pytest

from csvd.cohort.declared import declared_reference
from csvd.errors import InputError

DECLARED = "marker,mean,sd,n,transform,source\nlacune_count,0.5,0.8,250,none,Our clinic\n"


def written(folder, text):
    path = folder / "reference.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_means_and_sds_are_read_as_they_stand(tmp_path):
    lacunes = declared_reference(written(tmp_path, DECLARED)).markers["lacune_count"]
    assert (lacunes.mean, lacunes.sd, lacunes.n, lacunes.source) == (0.5, 0.8, 250, "Our clinic")


def test_a_table_of_results_is_a_reference_by_its_means_and_sample_sds(tmp_path):
    table = "id,total_volume,lacune_count,svd_score\na,2,0,1\nb,4,0,2\nc,6,,3\n"
    reference = declared_reference(written(tmp_path, table))
    wmh = reference.markers["total_volume"]
    assert (wmh.mean, wmh.sd, wmh.n, wmh.transform) == (4, 2, 3, "none")
    assert wmh.source == "The people in reference.csv"
    assert reference.unusable["lacune_count"] == "the same in all 2 cases of the cohort"
    assert reference.unusable["microbleed_count"] == "known in 0 cases of the cohort, so without a spread"


def test_a_table_may_be_read_on_a_logarithmic_scale(tmp_path):
    reference = declared_reference(written(tmp_path, "lacune_count\n0\n3\n"), log1p=True)
    assert reference.markers["lacune_count"].mean == pytest.approx(0.6931, abs=1e-4)  # (log 1 + log 4) / 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id,age\na,70\n", "lacks the column 'marker'"),
        ("", "lacks the column 'marker'"),
        ("id,lacune_count\na,many\n", "'many' in the column lacune_count: write a number, or nothing"),
        ("id,lacune_count\na,1\n", "has no reference in it: each marker needs two people or more"),
        ("id,lacune_count\na,-1\nb,2\n", "Lacunes is -1"),
    ],
)
def test_what_is_no_reference_is_refused_in_a_sentence(tmp_path, text, sentence):
    with pytest.raises(InputError, match=sentence):
        declared_reference(written(tmp_path, text))


def test_a_file_that_is_not_there_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        declared_reference(tmp_path / "nothing.csv")
