"""How the burden model is scored on synthetic patients: figures by hand, and a page that says so."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("training.heads", reason="training is not beside the tests")

from burden_models import FLAIR, SWI, T1, scan, write_burden_models

from csvd.bundle import Bundle, load_bundle
from csvd.focal_result import FocalResult
from csvd.image import Image, write_image
from csvd.measure.regions import MICROBLEED_REGIONS, Regions
from csvd.result import Result
from csvd.sequences import SEQUENCE_OF
from training import judge_burden, recipe, ship
from training.burden_page import as_markdown, asked
from training.findings import (
    THRESHOLDS,
    Found,
    Lesion,
    Marked,
    choose_threshold,
    compare_focal,
    compare_wmh,
    sensitivity,
    summary,
)

HEADS = ["08", "09", "14"]
SURE, FAINT, MISSED, BESIDE = (
    np.s_[2:6, 2:6, 2:6],
    np.s_[12:15, 2:5, 2:5],
    np.s_[2:5, 14:17, 2:5],
    np.s_[20:23, 14:17, 8:11],
)
SHAPE = (26, 20, 14)
IMAGE = Image(np.zeros(SHAPE, np.int16), np.eye(4))


def drawn_and_probability():
    """Three drawn cubes, found surely, faintly by two thirds, and never; one candidate beside them."""
    truth, probability = np.zeros(SHAPE, bool), np.zeros(SHAPE, np.float32)
    for place in (SURE, FAINT, MISSED):
        truth[place] = True
    probability[SURE] = 0.92
    probability[FAINT][:, :, :2] = 0.45
    probability[BESIDE] = 0.65
    return truth, probability


def microbleeds():
    truth, probability = drawn_and_probability()
    lobar = Regions(np.ones(SHAPE, np.uint8), MICROBLEED_REGIONS)
    found = FocalResult.from_probability(
        "microbleed", IMAGE, probability, brain=np.ones(SHAPE, bool), regions=lobar, midplane=None
    )
    return compare_focal(truth, found)


def test_a_drawn_lesion_is_found_by_a_candidate_that_meets_it_and_others_are_false():
    marked = microbleeds()
    assert [lesion.region for lesion in marked.lesions] == ["lobar"] * 3
    # Cubes of 4 and 3 mm have the volumes of balls of 4.96 and 3.72 mm.
    assert [lesion.size for lesion in marked.lesions] == ["3 to 5 mm"] * 3
    assert marked.ml == pytest.approx((64 + 27 + 27) / 1000)
    low, middle, high = (marked.at[key] for key in ("0.4", "0.5", "0.7"))
    assert sorted(low.covered) == [0, 0.667, 1]
    assert (low.false, low.count, low.ml) == (1, 3, pytest.approx((64 + 18 + 27) / 1000))
    assert (middle.false, middle.count) == (1, 2)
    assert sorted(middle.covered) == [0, 0, 1]
    assert (high.false, high.count, high.dice) == (0, 1, pytest.approx(2 * 64 / (64 + 118)))


def test_a_candidate_on_a_trace_of_a_drawn_lesion_is_not_false():
    truth, probability = drawn_and_probability()
    traces = truth.copy()
    traces[BESIDE] = True
    found = FocalResult.from_probability(
        "microbleed", IMAGE, probability, brain=np.ones(SHAPE, bool), midplane=None,
        regions=Regions(np.ones(SHAPE, np.uint8), MICROBLEED_REGIONS),
    )  # fmt: skip
    with_traces, without = compare_focal(truth, found, traces), compare_focal(truth, found)
    assert (with_traces.at["0.5"].false, without.at["0.5"].false) == (0, 1)
    assert with_traces.lesions == without.lesions
    assert with_traces.at["0.5"].covered == without.at["0.5"].covered


def test_hyperintensities_are_judged_by_tiantans_sizes_and_by_zone():
    truth, probability = drawn_and_probability()
    ventricles = np.zeros(SHAPE, bool)
    ventricles[0, 0, 0] = True
    brain = np.ones(SHAPE, bool)
    marked = compare_wmh(truth, Result.from_probability(IMAGE, probability, ventricles, brain, threshold=0.62))
    # 64 and 27 mm3 are medium; the first cube lies within 10 mm of the ventricle, the others mostly beyond.
    assert [(lesion.size, lesion.region) for lesion in marked.lesions] == [
        ("medium", "periventricular"), ("medium", "deep"), ("medium", "deep"),
    ]  # fmt: skip
    for threshold in ("0.6", "0.62"):  # the second is the result's own
        assert (marked.at[threshold].false, marked.at[threshold].count) == (1, 2)
    assert marked.at["0.6"].dice == pytest.approx(2 * 64 / (118 + 64 + 27))


def test_nothing_drawn_and_nothing_found_are_zeros():
    nothing = np.zeros(SHAPE, bool)
    found = FocalResult.from_probability(
        "lacune", IMAGE, nothing, brain=~nothing, regions=Regions(nothing.astype(np.uint8), ("",)), midplane=None
    )
    marked = compare_focal(nothing, found)
    assert marked.lesions == []
    assert marked.at["0.5"] == Found(covered=[], false=0, count=0, ml=0, dice=1)
    figures = summary("lacune", [marked], [], 0.5)
    assert figures["sensitivity"] == {"found": 0, "drawn": 0, "share": None}
    assert (figures["false_per_scan"], figures["false_per_well_scan"], figures["count_pearson"]) == (0, None, None)


def test_what_is_kept_as_json_comes_back():
    marked = microbleeds()
    kept = json.loads(json.dumps(judge_burden.asdict(marked)))
    assert Marked.read(kept) == marked


# Thresholds


def marked(at, lesions=2, size="3 to 5 mm", width_mm=2.0):
    """A scan with so many drawn lesions; ``at``: threshold to (found, false, Dice), the same at all lower ones."""
    rows, known = {}, sorted(at)
    for threshold in THRESHOLDS:
        found, false, score = at[next((k for k in known if k >= threshold), known[-1])]
        covered = [1.0] * found + [0.0] * (lesions - found)
        rows[str(threshold)] = Found(covered, false, found + false, float(found), score)
    return Marked([Lesion(size, "lobar", width_mm)] * lesions, float(lesions), rows)


def test_the_best_f1_within_the_false_candidates_that_are_asked_for_is_chosen_nearest_to_a_half():
    scans = [marked({0.3: (2, 5, 0), 0.6: (1, 2, 0), 0.95: (0, 0, 0)})] * 3
    assert choose_threshold("microbleed", scans) == 0.5  # two false ones a scan are allowed from .4 to .6
    assert choose_threshold("lacune", scans) == 0.7  # one is, and then none is found
    # F1: 8 / 16, 6 / 13.
    assert choose_threshold("microbleed", [marked({0.5: (4, 2, 0), 0.95: (3, 0, 0)}, lesions=10)]) == 0.5
    # 8 / 16, 8 / 14.
    assert choose_threshold("microbleed", [marked({0.5: (4, 2, 0), 0.95: (4, 0, 0)}, lesions=10)]) == 0.6


def test_what_finds_as_much_as_is_asked_for_is_chosen_before_a_better_f1():
    scans = [marked({0.5: (4, 2, 0), 0.95: (3, 0, 0)}, lesions=5)]  # F1: 8 / 11, 6 / 8; 4 of 5 are asked for
    assert choose_threshold("microbleed", scans) == 0.5
    assert choose_threshold("lacune", scans) == 0.6  # of which two false ones are too many


def test_where_all_thresholds_have_too_many_the_fewest_are_chosen():
    assert choose_threshold("lacune", [marked({0.8: (2, 9, 0), 0.9: (1, 7, 0), 0.95: (1, 8, 0)})]) == 0.9


def test_of_thresholds_that_find_alike_the_one_with_the_best_outlines_is_chosen():
    assert choose_threshold("lacune", [marked({0.5: (2, 0, 0.3), 0.9: (2, 0, 0.6), 0.95: (1, 0, 0.7)})]) == 0.6


def test_perivascular_spaces_have_the_asked_sensitivity_first_and_hyperintensities_the_best_dice():
    # F1: 8 / 16, 6 / 8, 4 / 6, of which the first two find enough; no false ones are asked for.
    scans = [marked({0.3: (4, 8, 0.2), 0.7: (3, 1, 0.4), 0.95: (2, 0, 0.6)}, lesions=4)]
    assert choose_threshold("perivascular_space", scans) == 0.5
    scans = [marked({0.3: (4, 12, 0.2), 0.95: (2, 0, 0.6)}, lesions=4)]  # 8 / 20, 4 / 6
    assert choose_threshold("perivascular_space", scans) == 0.3
    assert choose_threshold("wmh", scans) == 0.5


def test_the_asked_sensitivity_of_perivascular_spaces_is_of_wide_ones():
    wide, narrow = marked({0.95: (3, 0, 0)}, lesions=4), marked({0.95: (0, 0, 0)}, lesions=6, width_mm=1.4)
    figures = summary("perivascular_space", [wide, narrow], [], 0.5)
    assert figures["sensitivity"] == {"found": 3, "drawn": 4, "share": 0.75}
    assert sensitivity([wide, narrow], 0.5, lambda lesion: True)["share"] == 0.3
    # More were found where fewer were drawn: of two scans r is -1.
    assert [row["reached"] for row in asked("perivascular_space", figures)] == [True, False]


def test_summary_counts_false_ones_of_the_well_too():
    ill, well = [marked({0.95: (1, 1, 0.5)}), marked({0.95: (2, 0, 0.7)})], [marked({0.95: (0, 4, 0)}, lesions=0)]
    figures = summary("microbleed", ill, well, 0.5)
    assert figures["sensitivity"] == {"found": 3, "drawn": 4, "share": 0.75}
    assert figures["false_per_scan"] == pytest.approx(5 / 3, abs=1e-3)
    assert (figures["false_per_well_scan"], figures["mean_dice"]) == (4, 0.6)
    assert figures["by_region"] == {"lobar": {"found": 3, "drawn": 4, "share": 0.75}}
    assert [row["reached"] for row in asked("microbleed", figures)] == [False, True, False]


# Patients


def test_each_head_gives_as_many_to_either_half():
    known = judge_burden.patients(HEADS)
    for well, each in ((False, 3), (True, 1)):
        for head in HEADS:
            these = [p.choosing for p in known if p.head == head and p.well == well]
            assert (these.count(True), these.count(False)) == (each, each)
    assert len({p.name for p in known}) == 24
    assert set(judge_burden.patients(HEADS, 6, 3)) < set(known)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = write_burden_models(tmp_path_factory.mktemp("models"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CSVD_MODELS", str(folder))
        yield load_bundle(folder / "burden-mounet")


def write_patient(folder):
    """The hand-made head with what is bright in it as its truth."""
    for sequence, lesions in (("flair", FLAIR), ("t1", T1), ("swi", SWI)):
        image = scan(lesions)
        write_image(image, folder / f"{sequence}.nii.gz")
        level = 0.98 * image.voxels.max()
        for marker in (marker for marker, home in SEQUENCE_OF.items() if home == sequence):
            truth = (image.voxels >= level) if marker in lesions else np.zeros(image.voxels.shape, bool)
            write_image(image.like(judge_burden.OUTLINED * truth.astype(np.uint8)), folder / f"{marker}.nii.gz")


def test_a_patient_is_judged_through_the_whole_pipeline(bundle, tmp_path):
    pytest.importorskip("monai", reason="MONAI is not installed")
    write_patient(tmp_path)
    told = judge_burden.judge_patient(tmp_path, bundle)["markers"]
    found = {marker: Marked.read(row) for marker, row in told.items()}
    assert {marker: len(row.lesions) for marker, row in found.items()} == {
        "wmh": 2, "microbleed": 2, "lacune": 0, "perivascular_space": 1,
    }  # fmt: skip
    for marker in ("wmh", "microbleed", "perivascular_space"):
        at = found[marker].at["0.5"]
        assert min(at.covered) > 0.5, marker
        assert at.false == 0, marker
    assert found["lacune"].at["0.5"].count == 0


def test_what_was_judged_is_not_judged_again(tmp_path):
    calls = []
    for _ in range(2):
        assert judge_burden.kept(tmp_path / "a" / "one.json", lambda: calls.append(1) or {"n": 5}) == {"n": 5}
    assert len(calls) == 1


# The page and the card


def test_the_page_says_that_the_patients_are_synthetic_and_what_was_not_reached(bundle):
    known = judge_burden.patients(HEADS, 6, 6)
    scans = {patient: {"markers": {}} for patient in known}
    for patient in known:
        row = judge_burden.asdict(marked({0.95: (0, 3, 0)}, lesions=0 if patient.well else 2))
        scans[patient]["markers"] = dict.fromkeys(SEQUENCE_OF, row)
    figures = judge_burden.figures_of(scans, {"lacune": 0.7})
    assert figures["lacune"]["threshold"] == 0.7
    figures = judge_burden.figures_of(scans, {})
    real = judge_burden.real_rows(
        {
            "wholehead": {"warnings": [], "markers": {"wmh": judge_burden.asdict(microbleeds())}},
            "HC0001": {"warnings": [], "markers": dict.fromkeys(("wmh", "lacune"), row)},
        },
        figures,
    )
    assert [(line["wmh"], line["lacune"], line["microbleed"]) for line in real] == [(0.09, None, None), (0.0, 3, None)]
    other = Bundle(bundle.folder, bundle.card | {"id": "other"})
    page = as_markdown(bundle, {"microbleed": other}, known, figures, real)
    own = "White matter hyperintensities, Lacunes, Perivascular spaces by the decoders of burden-mounet 0.0.1."
    assert f"Microbleeds are found by other 0.0.1; {own}" in page
    assert "learned from other slices" not in page
    assert "hyperintensities have that of the model that outlines them." in page
    assert "**These patients are synthetic**" in page
    assert "| Microbleeds: sensitivity at least 0.80 | 0.00 (0 of 6) | **no** |" in page
    assert "| wholehead (control) | 0.09 | - | - | yes |" in page
    assert "| HC0001 (control) | 0.00 | 3 | - | **no** |" in page


def test_a_threshold_goes_into_the_card_of_the_model_that_finds_the_marker(bundle, training_folder, monkeypatch):
    monkeypatch.setattr(judge_burden, "HERE", training_folder)
    for folder in ("cards", "scores"):
        (training_folder / folder).mkdir()
    other = Bundle(bundle.folder, bundle.card | {"id": "other", "task": "foci", "labels": ["microbleed"]})
    for model in (bundle, other):
        text = json.dumps({"thresholds": dict.fromkeys(model.card["labels"], 0.5)})
        (training_folder / "cards" / f"{model.id}.json").write_text(text)
    figures = {marker: {"threshold": 0.8} for marker in SEQUENCE_OF}
    rows = [{"scan": "one", "control": True, "warnings": []} | dict.fromkeys(SEQUENCE_OF, 0) | {"microbleed": None}]
    (patient,) = judge_burden.patients(HEADS, 1, 0)
    judge_burden.write_scores(bundle, {"wmh": bundle, "microbleed": other}, {patient: {}}, figures, rows)
    own, foci = (
        json.loads((training_folder / "cards" / f"{model.id}.json").read_text())["thresholds"]
        for model in (bundle, other)
    )
    assert own == {"wmh": 0.5, "lacune": 0.8, "perivascular_space": 0.8, "microbleed": 0.5}
    assert foci == {"microbleed": 0.8}
    synthetic, *real = json.loads((training_folder / "scores" / "other.json").read_text())
    assert list(synthetic["markers"]) == ["microbleed"]
    assert real == []  # no real scan has this sequence
    assert judge_burden.mark([bundle]) != judge_burden.mark([bundle, bundle])


def test_the_card_ships_with_the_network_of_its_recipe(training_folder):
    pytest.importorskip("monai", reason="MONAI is not installed")
    import torch
    from safetensors.torch import save_file

    from csvd.networks import build

    home = judge_burden.HERE
    for folder in ("recipes", "cards"):
        shutil.copytree(home / folder, training_folder / folder)
    torch.manual_seed(0)
    for name in ("burden-encoder", "burden", "burden-dense", "burden-slices"):
        run = training_folder / "runs" / name
        run.mkdir(parents=True)
        (run / "log.tsv").write_text("step\tslices\tseconds\tlearning_rate\tloss\tsynthetic_dice\n1\t5\t1\t0\t1\t0\n")
        save_file(build(recipe.read_recipe(name)["network"]).state_dict(), run / "weights.safetensors")
    shipped = load_bundle(ship.ship("burden-mounet", training_folder / "models"))
    assert shipped.require("burden").thresholds.keys() == set(SEQUENCE_OF)
    assert shipped.card["weights"][0]["bytes"] < 2e6
    assert len(shipped.networks()[0].decoders) == 4
