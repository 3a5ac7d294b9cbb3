"""The ledger of real scans: what is measured and how it is written. All are phantoms but in the last tests."""

import json
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import oriented_affine, ramp, world
from tiny_models import FAR, NEAR, ROOT, SHARED, Ellipsoid, inside, only_models_of, sharp_head, write_models

from csvd.bundle import load_bundle
from csvd.image import Image, read_image, write_image

pytest.importorskip("training.judge", reason="training is not beside the tests")

from training import change, judge, ledger, relations, tables

SPACING = (1.5, 1.5, 3.0)
GROWN = Ellipsoid((28, -30, 30), (8, 10, 9))  # FAR, larger


# Thick slices of real voxels


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_thick_slices_lie_where_their_voxels_were(axes):
    shape = [12, 14, 16]
    shape[axes.index(2)] = 11
    affine = oriented_affine(axes, (1, -1, -1), (1, 1, 1), shape)
    image = Image(ramp(*world(shape, affine)), affine)
    thick = judge.thickened(image, 3)
    axis = axes.index(2)
    assert thick.voxels.shape[axis] == 3  # of 11 slices two are left over
    assert thick.spacing_mm[axis] == pytest.approx(3)
    assert np.allclose(thick.voxels, ramp(*world(thick.voxels.shape, thick.affine)), atol=1e-3)


def test_slices_become_as_thick_as_whole_slices_allow():
    image = Image(np.zeros((20, 20, 30)), np.diag([0.95, 0.95, 1.0, 1.0]))
    assert judge.thickened(image, 6).spacing_mm == pytest.approx((0.95, 0.95, 6.0))
    already = Image(np.ones((20, 20, 10)), np.diag([1.0, 1.0, 5.0, 1.0]))
    assert judge.thickened(already, 6).voxels.shape == (20, 20, 10)


def test_a_thick_voxel_is_lesion_when_half_of_it_is(tmp_path):
    truth = np.zeros((8, 8, 12), np.uint8)
    truth[2, 2, 0:3] = 1  # three of six slices
    truth[4, 4, 0:2] = 1
    for name in ("FLAIR", "lesions"):
        write_image(Image(truth, np.eye(4)), tmp_path / f"{name}.nii.gz")
    thick = judge.Scan(tmp_path / "FLAIR.nii.gz", 6)
    assert thick.truth.shape == (8, 8, 2)
    assert np.argwhere(thick.truth).tolist() == [[2, 2, 0]]
    assert thick.flair.voxels[4, 4, 0] == pytest.approx(1 / 3)
    assert judge.Scan(tmp_path / "FLAIR.nii.gz").truth.sum() == 5


def test_lesions_are_counted_by_their_size():
    """Ten voxels of a microlitre are a small lesion, eleven are not, and any overlap is a hit."""
    truth, mask = np.zeros((2, 30, 30, 3), bool)
    for row, length in ((0, 10), (4, 10), (8, 11), (12, 25)):
        truth[row, :length, 0] = True
    truth[16:19, :17, 2] = True  # 51 voxels
    mask[4, 9, 0] = mask[16, 0, 2] = mask[25, 25, 1] = True
    assert judge.found_by_size(mask, truth, 0.0010000001) == [[1, 2], [0, 2], [1, 1]]
    assert judge.found_by_size(mask, np.zeros_like(truth), 0.001) == [[0, 0], [0, 0], [0, 0]]


# Change between visits


@pytest.mark.parametrize(
    ("more", "less", "said"),
    [(3, 0, "more"), (0, 2, "less"), (3, 1, "more"), (3, 1.1, "unclear"), (1.1, 3, "unclear"), (0, 0, "unclear")],
)
def test_a_change_has_a_sign_where_one_part_outweighs_the_other(more, less, said):
    assert change.sign(more, less) == said


def test_components_that_hardly_changed_are_neither_brighter_nor_darker():
    experts, difference = np.zeros((20, 10, 5), bool), np.zeros((20, 10, 5))
    for start, value in ((1, 0.2), (8, -0.1), (15, 0.04)):
        experts[start : start + 3, 2:4, 2] = True
        difference[start : start + 3, 2:4, 2] = value
    difference[1, 2, 2] = -0.1  # one dark voxel of a component that is brighter on the whole
    assert change.brighter_and_darker(experts, difference, 0.5) == (3.0, 3.0)
    assert change.brighter_and_darker(experts & False, difference, 0.5) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("experts", "difference", "same"),
    [("more", 2, "yes"), ("more", -2, "no"), ("less", -1, "yes"), ("unclear", 5, "unclear")],
)
def test_our_volume_agrees_with_the_experts_or_not(experts, difference, same):
    assert change.agreement_of_signs(experts, difference) == {"sign": experts, "same_sign": same}


def visit(lesions, shift_mm=0.0):
    """A phantom's result, its head moved along the patient's right; the masks are the truth."""
    head = sharp_head(spacing_mm=SPACING, lesions=lesions)
    mask = np.any([inside(lesion, head) for lesion in lesions], 0)
    affine = head.affine.copy()
    affine[0, 3] += shift_mm
    moved = Image(head.voxels, affine)
    total = SimpleNamespace(value=float(mask.sum() * moved.voxel_volume_ml))
    return SimpleNamespace(image=moved, mask=mask, brain=head.voxels > 0, measurements={"total_volume": total})


def write_pair(folder, shift_mm=0.0):
    """The experts' mask in the space of visit 1, and the transforms there: the second head lies ``shift_mm`` off."""
    folder.mkdir(parents=True, exist_ok=True)
    head = sharp_head(spacing_mm=SPACING)
    new = inside(GROWN, head) & ~inside(FAR, head)
    write_image(head.like(new.astype(np.uint8)), folder / "common_space_change.nii.gz")
    for i, offset in ((1, 0.0), (2, -shift_mm)):  # LPS: to the patient's right is negative
        transform = sitk.TranslationTransform(3, (offset, 0, 0))
        sitk.WriteTransform(transform, str(folder / f"study{i}_FLAIR_to_common_space.txt"))
    return new


def test_change_is_found_in_the_common_space_of_two_visits(tmp_path):
    new = write_pair(tmp_path, shift_mm=9.0)
    row = change.judge_change(tmp_path, [visit((NEAR, FAR)), visit((NEAR, GROWN), shift_mm=9.0)])
    new_ml = new.sum() * 1.5 * 1.5 * 3 / 1000
    assert row["aligned_r"] > 0.9  # all but the lesion that grew
    assert row["experts_change_ml"] == row["brighter_ml"] == pytest.approx(new_ml, abs=0.01)
    assert row["our_change_ml"] == row["net_inside_experts_ml"] == pytest.approx(new_ml, abs=0.01)
    assert (row["recall"], row["precision"], row["darker_ml"]) == (1, 1, 0)
    assert (row["sign"], row["same_sign"], row["experts_components"]) == ("more", "yes", 1)
    assert row["difference_ml"] == pytest.approx(new_ml, abs=0.02)


def test_lesions_that_went_are_a_change_to_less(tmp_path):
    write_pair(tmp_path)
    row = change.judge_change(tmp_path, [visit((NEAR, GROWN)), visit((NEAR, FAR))])
    assert (row["sign"], row["same_sign"], row["brighter_ml"]) == ("less", "yes", 0)


# The uncertainty index


def test_two_scans_are_too_few_for_a_correlation():
    assert relations.relation([0.2, 0.6], [0.8, 0.4]) == {"n": 2, "r": None, "critical_r": None}
    assert relations.relation([0.25, 0.25, 0.25], [0.8, 0.4, 0.5])["r"] is None


def test_three_scans_need_nearly_a_line():
    """One degree of freedom: t = 12.706, so |r| must exceed .997; with five it is .878 (any table of r)."""
    three = relations.relation([0.2, 0.35, 0.64], [0.86, 0.70, 0.41])
    assert three["r"] == pytest.approx(-1, abs=0.01)
    assert three["critical_r"] == pytest.approx(0.997, abs=5e-4)
    assert relations.relation([1, 2, 3, 4, 5], [2, 1, 4, 3, 6])["critical_r"] == pytest.approx(0.878, abs=5e-4)


def test_repeated_measures_of_the_same_people_are_not_tested():
    rows = [{"scan": f"p{i}", "uncertainty_index": 0.1 * i, "dice": 1 - 0.1 * i, "truth_ml": 9 - i} for i in (1, 2, 3)]
    rows = [{**row, "total_volume": 5.0 * row["dice"]} for row in rows]
    visits = [{**rows[0], "scan": f"v/study{i}"} for i in (1, 2)]
    found = relations.relations([{"scans": rows}, {"scans": rows}], [*rows, *visits])
    assert found["dice_native"]["r"] == -1
    assert found["dice_native"]["critical_r"] is not None
    assert (found["dice_all_slices"]["n"], found["dice_all_slices"]["people"]) == (6, 3)
    assert found["dice_all_slices"]["critical_r"] is None
    every = found["log_found_ml_every_native_scan"]
    assert (every["n"], every["people"], every["critical_r"]) == (5, 4, None)


def test_the_published_correlation_takes_a_dozen_patients():
    """r = -.753: Fisher's z .980, (2.802 / .980)^2 + 3 = 11.2."""
    assert ledger.patients_needed(-0.753) == 12


# The whole ledger, on phantoms


@pytest.fixture(scope="module")
def ledger_of_phantoms(tmp_path_factory):
    """A tiny model, and its scores on a folder like ../shared/data made of phantoms."""
    folder = tmp_path_factory.mktemp("ledger")
    data = folder / "data"
    head = sharp_head(spacing_mm=SPACING)
    truth = head.like((inside(NEAR, head) | inside(FAR, head)).astype(np.uint8))
    for name in ("patient01", "patient02", "patient03"):
        put(head, data / "flair_lesions" / name / "FLAIR.nii.gz")
        put(truth, data / "flair_lesions" / name / "lesions.nii.gz")
    plain = sharp_head(spacing_mm=SPACING, lesions=())
    for name in ("wholehead_FLAIR", "HC0001_FLAIR_brain"):
        put(plain, data / "healthy" / f"{name}.nii.gz")
    put(head, data / "multisequence_stroke" / "FLAIR.nii.gz")
    pair = data / "flair_longitudinal" / "patient01"
    write_pair(pair)
    for i, lesion in enumerate((FAR, GROWN), 1):
        put(sharp_head(spacing_mm=SPACING, lesions=(NEAR, lesion)), pair / f"study{i}_FLAIR.nii.gz")
    with only_models_of(write_models(folder / "models", members=1)):
        bundle = load_bundle("wmh-hybrid")
        rules = {mm: judge.plain_rule(data, mm) for mm in judge.LESION_SLICES}
        yield bundle, judge.judge(bundle, data, rules)


def put(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(image, path)


def test_the_ledger_of_phantoms_says_what_was_put_in(ledger_of_phantoms):
    bundle, scores = ledger_of_phantoms
    native, _, thick = tables.groups(scores, judge.WITH_TRUTH)
    assert [group["slices"] for group in (native, thick)] == ["native", "slices averaged to 6 mm"]
    for row in native["scans"]:
        assert row["dice"] > 0.9
        assert row["total_volume"] == pytest.approx(row["truth_ml"], rel=0.15)
        assert row["plain_rule"]["dice"] > 0.9  # lesions are the only bright thing
    assert native["mean_dice"] == pytest.approx(np.mean([row["dice"] for row in native["scans"]]), abs=1e-3)
    healthy = tables.groups(scores, judge.HEALTHY)
    assert [row["total_volume"] for group in healthy for row in group["scans"]] == [0, 0, 0, 0]
    (pairs,) = tables.groups(scores, judge.PAIRS)
    assert pairs["pairs"][0]["same_sign"] == "yes"

    schema = json.loads((ROOT / "csvd" / "model.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate({**bundle.card, "scores": scores}, schema)
    assert json.loads(json.dumps(scores)) == scores

    text = ledger.accuracy([(bundle, scores)], ["wmh-other"], ledger.read_ablations())
    assert "patient01 | averaged to 6 mm |" in text
    assert "slices averaged" in text
    assert "Not judged yet: `wmh-other`." in text
    assert "in 1 of the 1 pairs" in text
    assert "3 patients cannot confirm that gate" in text
    assert "other weights" not in text
    for lines in (block.splitlines() for block in text.split("\n\n") if block.startswith("| ")):
        assert len({line.count(" | ") for line in lines if "---" not in line}) == 1

    stale = [{**scores[0], "weights": ["00000000"]}, *scores[1:]]
    assert "other weights of this model" in ledger.one_model(bundle, stale)


def test_page_and_readme_are_written_from_the_scores_of_the_shipped_models(ledger_of_phantoms, tmp_path, monkeypatch):
    bundle, scores = ledger_of_phantoms
    monkeypatch.setattr(ledger, "shipped", lambda: [bundle])
    folder, page, readme = tmp_path / "scores", tmp_path / "accuracy.md", tmp_path / "README.md"
    put_text = {folder / f"{bundle.id}.json": json.dumps(scores), readme: README}
    folder.mkdir()
    for path, text in put_text.items():
        path.write_text(text)
    ledger.write(folder, page, readme)
    first = readme.read_text(encoding="utf-8")
    assert first.startswith("Before\n<!-- accuracy: begin -->\n| model |")
    assert first.endswith("<!-- accuracy: end -->\nAfter, honestly.\n")
    assert "| `wmh-hybrid` |" in first
    assert "| plain rule |" in first
    assert "an older table" not in first
    ledger.write(folder, page, readme)
    assert readme.read_text(encoding="utf-8") == first
    assert page.read_text(encoding="utf-8").startswith("# Accuracy on real scans")


README = "Before\n<!-- accuracy: begin -->\nan older table\n<!-- accuracy: end -->\nAfter, honestly.\n"


def test_a_text_without_its_markers_is_refused_and_nothing_else_is_touched():
    assert tables.between_markers(README, "accuracy", "\\1 new\n") == README.replace("an older table", r"\1 new")
    for text in ("no markers", README + README, README.replace("begin", "start")):
        with pytest.raises(ValueError, match="one pair of markers"):
            tables.between_markers(text, "accuracy", "new")


def test_the_readme_has_its_markers():
    assert "<!-- accuracy: begin -->" in (ROOT / "README.md").read_text(encoding="utf-8")
    tables.between_markers((ROOT / "README.md").read_text(encoding="utf-8"), "accuracy", "")


def test_what_was_tried_is_a_table(tmp_path):
    rows = ledger.read_ablations()
    text = ledger.ablations(rows)
    assert len(text.splitlines()) == len(rows) + 2
    tried = {
        "what": "a rule", "mean_dice_1mm": 0.5, "mean_dice_3mm": None, "mean_dice_6mm": 0.25,
        "controls_ml": [0.2, 1.26], "helped": False, "note": "why",
    }  # fmt: skip
    assert ledger.ablations([tried]).splitlines()[-1] == "| a rule | 0.500 / - / 0.250 | 0.2 and 1.3 | no | why |"
    assert "| 1.5 |" in ledger.ablations([{**tried, "controls_ml": 1.46}])
    (tmp_path / "rows.json").write_text(json.dumps([{"what": "half a row"}]))
    with pytest.raises(ValueError, match="half a row"):
        ledger.read_ablations(tmp_path / "rows.json")


# Real scans


@pytest.mark.skipif(
    not (SHARED / "flair_longitudinal").is_dir(), reason="the real scans are not part of the repository"
)
def test_the_transforms_carry_both_real_visits_to_one_place():
    folder = SHARED / "flair_longitudinal" / "patient12"
    space = sitk.ReadImage(str(folder / "common_space_change.nii.gz"))
    brain = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "common_space_brainmask.nii.gz"))) > 0
    carried = []
    for i in (1, 2):
        image = read_image(folder / f"study{i}_FLAIR.nii.gz")
        transform = sitk.ReadTransform(str(folder / f"study{i}_FLAIR_to_common_space.txt"))
        carried.append(change.carry(image.voxels, image, space, transform)[brain])
    assert np.corrcoef(*carried)[0, 1] > 0.95


@pytest.mark.skipif(not (SHARED / "flair_lesions").is_dir(), reason="the real scans are not part of the repository")
def test_thick_slices_of_a_real_reference_hold_its_volume():
    native, thick = (judge.Scan(SHARED / "flair_lesions" / "patient19" / "FLAIR.nii.gz", mm) for mm in (None, 6))
    assert native.truth.sum() / 1000 == pytest.approx(49.8, abs=0.1)
    assert thick.truth.sum() * 6 / 1000 == pytest.approx(49.8, rel=0.05)
