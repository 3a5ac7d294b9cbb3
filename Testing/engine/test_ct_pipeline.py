"""From a head CT to a result: every voxel at its place on the scan's own grid, whatever scanner and converter wrote."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from burden_models import bright_network_3d
from ct_phantom import BRAIN, CENTRE, SHAPE, SPACING_MM, head_ct, slanted, stored_as, write_ct_models
from phantoms import world, write_dicom_series
from scipy import ndimage
from tiny_models import (
    FAR,
    NEAR,
    PIXEL_MM,
    SHARED,
    VENTRICLE,
    Ellipsoid,
    centroid_mm,
    inside,
    only_models_of,
    read_card,
    requires_models,
    requires_monai,
    threshold_network,
    write_bundle,
    write_card,
)

from csvd.bundle import load_bundle
from csvd.errors import Cancelled, InputError, ModelError
from csvd.image import Image, read_image
from csvd.marker import LEUKOARAIOSIS
from csvd.measure.agreement import dice
from csvd.networks import build
from csvd.pipelines.ct import AMONG_TISSUE, levelled, over_or_under, pale, rims, segment_leukoaraiosis, superficial
from csvd.pipelines.walk import vote

VOXEL_ML = PIXEL_MM**2 * 5 / 1000


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    with only_models_of(write_ct_models(tmp_path_factory.mktemp("models"))) as folder:
        yield folder


def value(result, name):
    return result.measurements[name].value


def segmented(ct, **options):
    return segment_leukoaraiosis(ct, device="cpu", **options)


@pytest.fixture(scope="module")
def result(folder):
    return segmented(head_ct())


def test_what_is_dark_in_white_matter_is_outlined_measured_and_split(result):
    ct = head_ct()
    near, far = inside(NEAR, ct), inside(FAR, ct)
    assert np.array_equal(result.mask, near | far)
    assert np.array_equal(result.labels == 1, near)
    assert np.array_equal(result.labels == 2, far)
    assert value(result, "total_volume") == pytest.approx((near | far).sum() * VOXEL_ML)
    assert np.array_equal(result.ventricles, inside(VENTRICLE, ct))
    assert result.marker == LEUKOARAIOSIS
    assert result.warnings == []


def test_no_bone_is_in_the_brain_mask_and_no_brain_is_missing(result):
    ct = head_ct()
    assert not (result.brain & (ct.voxels > 300)).any()
    assert value(result, "icv_volume") == pytest.approx(inside(BRAIN, ct).sum() * VOXEL_ML, rel=0.01)


def test_hemispheres_are_told_apart(result):
    """The periventricular lesion is on the left, the deep one on the right."""
    assert value(result, "left_volume") == pytest.approx(value(result, "periventricular_volume"))
    assert value(result, "right_volume") == pytest.approx(value(result, "deep_volume"))
    a, _, _, d = result.parameters["midplane"]
    assert a > 0.999
    assert abs(d) < 0.5


def test_no_leukoaraiosis_is_zero_and_no_error():
    result = segmented(head_ct(lesions=()))
    for name in ("total_volume", "deep_volume", "lesion_count", "asymmetry_index", "fazekas_volume_grade"):
        assert value(result, name) == 0
    assert value(result, "burden_class") == "<= 10 mL"


def test_a_rim_beside_the_ventricles_is_no_leukoaraiosis_but_what_reaches_beyond_it_is_whole():
    ct = Image(np.zeros((30, 30, 3), np.int16), np.diag([1.0, 1.0, 5.0, 1.0]))
    ventricles, rim, lesion = np.zeros((3, 30, 30, 3), bool)
    ventricles[10, :, 1] = True
    rim[8:10, :, 1] = True  # a band as far as 2 mm
    rim[11:15, 2:5, 1] = True  # a cap as far as 4 mm
    lesion[11:16, 10:13, 1] = True  # as far as 5 mm
    lesion[13, 10:13, 2] = True  # and on in the next slice, 2.5 mm above the slab of the ventricle
    dropped = np.zeros_like(rim)
    dropped[rims(rim | lesion, ventricles, ct)] = True
    assert np.array_equal(dropped, rim)
    assert not len(rims(rim, np.zeros_like(rim), ct)[0])  # where no ventricle is seen, nothing lies beside one


@pytest.mark.parametrize(
    ("slice_mm", "slices", "radii_mm", "kept"),
    [(8.0, 15, (14, 14, 7), False), (8.0, 15, (26, 26, 7), True), (5.0, 24, (14, 14, 7), True)],
)
def test_a_small_cap_over_a_ventricle_is_in_a_thick_slice_partly_ventricle(slice_mm, slices, radii_mm, kept):
    cap = Ellipsoid((-10, -6, 36), radii_mm)
    shape = (*SHAPE[:2], slices)
    ct = head_ct(slanted(0, shape, (*SPACING_MM[:2], slice_mm), CENTRE), shape, lesions=(cap,))
    result = segmented(ct)
    upwards = ndimage.binary_dilation(result.ventricles, np.ones((1, 1, 3)))
    over = upwards & ~result.ventricles & inside(cap, ct)
    beside = inside(cap, ct) & ~over & ~result.ventricles
    assert over.sum() > 50
    assert result.mask[over].all() if kept else not result.mask[over].any()
    assert result.mask[beside].mean() > 0.95


def test_over_and_under_are_the_next_slices_only_and_only_of_lesions_that_lie_mostly_there():
    grid = Image(np.zeros((3, 8, 5), np.int16), np.diag([8.0, 1, 1, 1])).grid  # sagittal slices
    ventricles, lesions = np.zeros((2, 3, 8, 5), bool)
    ventricles[1, (2, 6), 2] = True
    lesions[0, 2, 2:4] = True  # half of it
    lesions[2, 5:8, 2:4] = True  # a sixth of it
    assert np.transpose(over_or_under(lesions, ventricles, grid)).tolist() == [[0, 2, 2]]
    assert not len(over_or_under(np.zeros_like(lesions), ventricles, grid)[0])


@pytest.mark.parametrize("name", ["-3024", "0", "cut at 0, unsigned"])  # the others: test_head_ct.py
def test_every_way_to_store_air_gives_the_same_mask(result, name):
    again = segmented(stored_as(head_ct(table=True), name))
    assert np.array_equal(again.labels, result.labels)
    assert np.array_equal(again.brain, result.brain)
    assert np.array_equal(again.ventricles, result.ventricles)


def test_a_stripped_brain_gives_the_same_mask(result):
    again = segmented(head_ct(skull=False, air=0))
    assert dice(again.mask, result.mask) > 0.99
    assert any("No skull" in warning for warning in again.warnings)


@pytest.mark.parametrize("degrees", [20, -25])
def test_a_tilted_scan_keeps_every_voxel_in_its_place(degrees):
    ct = head_ct(slanted(degrees))
    result = segmented(ct)
    truth = inside(NEAR, ct) | inside(FAR, ct)
    assert result.mask.shape == ct.voxels.shape
    assert result.image is ct
    assert dice(result.mask & grown(truth), truth) > 0.95
    for lesion in (NEAR, FAR):
        there = inside(lesion, ct)
        moved = np.argwhere(result.mask & grown(there)).mean(0) - np.argwhere(there).mean(0)
        assert np.abs(moved).max() < 0.5
    found = result.mask & grown(truth)  # a ventricle's edge between two pixels is as dark as a lesion, for this rule
    assert np.count_nonzero(found) == pytest.approx(truth.sum(), rel=0.06)
    assert dice(result.ventricles, inside(VENTRICLE, ct)) > 0.95
    assert not (result.brain & (ct.voxels > 500)).any()


def grown(mask):
    return ndimage.binary_dilation(mask, iterations=2)


def test_thin_slices_are_averaged_and_the_mask_is_on_the_thin_ones():
    shape = (96, 108, 96)
    ct = head_ct(slanted(0, shape, (PIXEL_MM, PIXEL_MM, 1.25)), shape)
    result = segmented(ct)
    truth = inside(NEAR, ct) | inside(FAR, ct)
    assert result.mask.shape == shape
    assert dice(result.mask & grown(truth), truth) > 0.85
    for lesion in (NEAR, FAR):
        there = result.mask & grown(inside(lesion, ct))
        assert centroid_mm(there, ct.affine) == pytest.approx(lesion.centre, abs=0.8)


def test_a_tilted_dicom_series_is_one_with_its_nifti(tmp_path):
    ct = head_ct(slanted(18))
    tags = {"0028|1052": "-1024", "0028|1053": "1"}
    write_dicom_series(tmp_path / "ct", ct.voxels, ct.affine, modality="CT", description="head", tags=tags)
    series = read_image(tmp_path / "ct", slanted=True)
    assert series.grid.matches(ct.grid, 1e-2)
    assert np.array_equal(segmented(series).labels, segmented(ct).labels)


def test_files_keep_the_slant(tmp_path):
    ct = head_ct(slanted(18))
    result = segmented(ct)
    result.save(tmp_path / "out", report=False)
    mask = read_image(tmp_path / "out" / "leukoaraiosis_mask.nii.gz", slanted=True)
    assert mask.grid.matches(ct.grid)
    assert np.array_equal(mask.voxels, result.labels)


def test_the_vote_is_also_taken_mirrored_unless_it_is_not_wanted(result):
    assert result.parameters["mirror"] is True
    once = segmented(head_ct(), mirror=False)
    assert once.parameters["mirror"] is False
    assert np.array_equal(once.mask, result.mask)


@requires_monai
@pytest.mark.parametrize(("members", "most"), [(1, 1.0), (None, 0.5)])
def test_a_network_that_sees_in_3d_has_half_of_the_vote(folder, result, members, most):
    """Its partner finds nothing."""
    dark, description = bright_network_3d(1 + 0.25 * 0.6)  # of input: 6 HU
    dark.down[0].conv1.conv.weight.data *= -1
    slices = {"in_plane_mm": PIXEL_MM, "slice_mm": 5, "intensity": "hounsfield"}
    blind = {"architecture": "UNet", "in_channels": 1, "out_channels": 1, "width": 1}
    of_ct = {"task": "leukoaraiosis", "inputs": ["CT"]}
    write_bundle(
        folder / "blind", [threshold_network("UNet", limit=100.0)], blind, **of_ct,
        preprocessing=slices | {"canvas": [64, 80]},
    )  # fmt: skip
    write_bundle(folder / "both", [dark], description, **of_ct, preprocessing=slices, votes_with=["blind"])
    found = segmented(head_ct(), model="both", members=members, threshold=0.4)
    assert found.probability.max() == pytest.approx(most, abs=0.01)
    assert dice(found.mask, result.mask) > 0.95
    assert [model["id"] for model in found.provenance["models"]] == ["both", "blind", "anatomy"][:: 3 - (members or 2)]


def test_a_network_with_several_channels_sees_neighbouring_slices(folder, tmp_path):
    """It looks at the slice below."""
    plain = threshold_network("UNet", limit=0.6)
    description = {"architecture": "UNet", "in_channels": 3, "out_channels": 1, "width": 1}
    looking_down = build(description)
    weights = plain.state_dict()
    first = "encoder.0.0.weight"
    below = torch.cat([weights[first], torch.zeros_like(weights[first]).repeat(1, 2, 1, 1)], 1)
    looking_down.load_state_dict(weights | {first: below})
    bundles = [
        load_bundle(write_bundle(tmp_path / name, [network], description | {"in_channels": channels}))
        for name, network, channels in (("plain", plain, 1), ("looking-down", looking_down, 3))
    ]
    stack = np.random.default_rng(0).uniform(0, 1.2, (64, 80, 6)).astype(np.float32)
    found, moved = (vote(bundle, 1, stack, 5.0, "cpu", True, None, None)[0] for bundle in bundles)
    assert 0.1 < (found > 0.5).mean() < 0.9
    assert moved[..., 1:] == pytest.approx(found[..., :-1], abs=1e-6)


def test_bundles_that_average_other_slices_do_not_vote(folder):
    card = read_card(folder / "leukoaraiosis-nnunet")
    network = {"architecture": "UNet", "in_channels": 1, "out_channels": 1, "width": 1}
    finer = card["preprocessing"] | {"slice_mm": 3}
    changes = {"preprocessing": finer, "votes_with": ["leukoaraiosis-nnunet"], "task": card["task"], "inputs": ["CT"]}
    write_bundle(folder / "finer", [threshold_network("UNet")], network, **changes)
    with pytest.raises(ModelError, match="cannot vote together: their pixels differ, or their slices"):
        segmented(head_ct(), model="finer")


@pytest.mark.parametrize("offset_hu", [-8, 8])
def test_a_scanner_that_measures_higher_or_lower_changes_nothing_where_the_card_names_a_level(
    folder, result, offset_hu
):
    other = head_ct()
    other = other.like(np.where(other.voxels > -500, other.voxels + offset_hu, other.voxels).astype(np.int16))
    card = read_card(folder / "leukoaraiosis-nnunet")
    levelled_card = card | {"preprocessing": card["preprocessing"] | {"white_hu": 30}}
    try:
        write_card(folder / "leukoaraiosis-nnunet", levelled_card)
        assert dice(segmented(other).mask, result.mask) > 0.95
    finally:
        write_card(folder / "leukoaraiosis-nnunet", card)
    assert dice(segmented(other).mask, result.mask) < 0.5


@pytest.mark.parametrize("grey_hu", [34, 44])
def test_white_matter_comes_to_its_level_however_dense_grey_matter_is(grey_hu):
    hu = np.array([-1000, 28, 28, 18, grey_hu, grey_hu, grey_hu, grey_hu], np.float32)
    white = np.array([0, 1, 1, 1, 0, 0, 0, 0], bool)
    assert levelled(hu, white, 31).tolist() == [-1000, 31, 31, 21, *[grey_hu + 3] * 4]
    assert levelled(hu, 0 * white > 0, 31) is hu  # no white matter


def test_a_lesion_is_5_hu_darker_than_white_matter_on_average():
    ct = head_ct(lesions=(NEAR, FAR), levels={"lesion": 28})
    darker = ct.like(np.where(inside(FAR, ct), ct.voxels - 4, ct.voxels))  # by 8 and not by 4
    lesions, white = inside(NEAR, ct) | inside(FAR, ct), inside(BRAIN, ct) & ~inside(VENTRICLE, ct)
    known, without = (SimpleNamespace(labelled=lambda *_, where=where: where) for where in (white, 0 * lesions > 0))
    dropped = np.zeros(lesions.shape, bool)
    dropped[pale(lesions, darker, known, ct)] = True  # what the averaged slices say counts, and not the thin ones
    assert np.array_equal(dropped, inside(NEAR, ct))
    assert not pale(lesions, darker, without, ct)[0].size  # no white matter to compare with


def test_a_lesion_lies_among_white_matter_and_not_among_cortex_and_sulci():
    ct = Image(np.zeros((40, 40, 12), np.int16), np.diag([0.9, 0.9, 5.0, 1.0]))
    mask, tissue = np.zeros(ct.voxels.shape, bool), np.zeros(ct.voxels.shape, bool)
    mask[8:12, 8:12, 4:6] = mask[28:32, 8:12, 4:6] = mask[37:, 30:, 11] = True
    mask[18:20, 28:32, 4] = True
    tissue[:24] = True
    tissue[mask] = False  # whatever the anatomy network calls the lesion itself
    among = mask & (np.indices(mask.shape)[0] < 24)
    assert np.array_equal(superficial(mask, tissue, ct), mask & ~among)
    for share, dropped in ((AMONG_TISSUE - 0.05, True), (AMONG_TISSUE + 0.05, False)):
        some = np.random.default_rng(0).random(mask.shape) < share
        assert superficial(mask & among, some, ct)[8, 8, 4] == dropped
    assert not superficial(np.ones_like(mask), tissue, ct).any()  # nothing around it


def test_a_small_lesion_as_dark_as_fluid_is_a_horn_or_a_sulcus_and_no_leukoaraiosis(monkeypatch):
    small = Ellipsoid(FAR.centre, (5, 5, 8))  # .8 mL
    for level, found in ((19, True), (16, False)):
        ct = head_ct(lesions=(small,), levels={"lesion": level})
        assert segmented(ct).mask[inside(small, ct)].any() == found
    assert segmented(head_ct(levels={"lesion": 16})).mask[inside(FAR, ct)].mean() > 0.9  # a large one may be as dark
    monkeypatch.setattr("csvd.pipelines.ct.SMALL_ML", 0.0)
    assert segmented(ct).mask[inside(small, ct)].mean() > 0.5


def test_no_lesion_is_as_bright_as_white_matter_whatever_the_networks_say(folder, monkeypatch):
    keen = threshold_network("UNet", slope=60.0, limit=0.05)  # .5 HU below 30
    keen.encoder[0][0].weight.data *= -1
    network = {"architecture": "UNet", "in_channels": 1, "out_channels": 1, "width": 1}
    slices = {"in_plane_mm": PIXEL_MM, "canvas": [64, 80], "slice_mm": 5, "intensity": "hounsfield"}
    write_bundle(folder / "keen", [keen], network, task="leukoaraiosis", inputs=["CT"], preprocessing=slices)
    hardly = head_ct(levels={"lesion": 28})  # 4 HU below white matter
    far = inside(FAR, hardly)  # not beside the ventricle, whose rim is dark
    assert segmented(hardly, model="keen").mask[far].mean() < 0.1
    monkeypatch.setattr("csvd.pipelines.ct.DARKER_HU", 0.0)
    assert segmented(hardly, model="keen").mask[far].mean() > 0.5


def test_wrong_arguments_are_told_before_any_work():
    for options, error, words in (
        ({"members": 2}, InputError, "1 members"),
        ({"threshold": 1.0}, InputError, "between 0 and 1"),
        ({"pv_distance_mm": 40}, InputError, "below 30"),
        ({"model": "anatomy"}, ModelError, "not for leukoaraiosis"),
    ):
        with pytest.raises(error, match=words):
            segmented(head_ct(), **options)
    with pytest.raises(InputError, match="not MR"):
        segmented(Image(np.abs(head_ct().voxels) * 3, head_ct().affine, "mr.nii"))


def test_who_cancels_gets_nothing():
    with pytest.raises(Cancelled):
        segmented(head_ct(), cancelled=lambda: True)


def test_nnu_net_s_network_runs_with_its_list_of_features(folder):
    slices = {"in_plane_mm": 2.0, "canvas": [64, 80], "slice_mm": 5, "intensity": "hounsfield"}
    description = {"architecture": "PlainConvUNet2d", "in_channels": 1, "out_channels": 1, "features": [4, 6, 8]}
    torch.manual_seed(1)
    networks = [build(description).eval()]
    write_bundle(folder / "ct-random", networks, description, task="leukoaraiosis", preprocessing=slices)
    assert load_bundle(folder / "ct-random").slice_mm == 5
    result = segmented(head_ct(), model="ct-random")
    assert ((result.probability >= 0) & (result.probability <= 1)).all()
    assert result.parameters["model"] == "ct-random"


@requires_models
@pytest.mark.skipif(not SHARED.exists(), reason="the elderly CT template is not here")
def test_on_the_elderly_template_brain_and_ventricles_are_right_and_white_matter_is_no_lesion(monkeypatch):
    """With the trained networks; its white matter is much darker than its cortex."""
    monkeypatch.delenv("CSVD_MODELS")
    template = read_image(next((SHARED / "ct_template").glob("*.nii.gz")), slanted=True)
    result = segmented(template)
    assert 1300 < value(result, "icv_volume") < 1900
    ventricles_ml = np.count_nonzero(result.ventricles) * template.voxel_volume_ml
    assert 20 < ventricles_ml < 60
    assert np.median(template.voxels[result.ventricles]) < 8
    assert np.median(template.voxels[result.mask]) > 8  # no fluid
    assert value(result, "total_volume") < 30
    assert abs(result.parameters["midplane"][3]) < 3
    x, _, _ = world(template.voxels.shape, template.affine)
    assert abs(np.median(x[result.ventricles])) < 12


def test_the_image_s_own_warnings_stay():
    ct = replace(head_ct(), warnings=("A doubt.",))
    assert segmented(ct).warnings == ["A doubt."]
