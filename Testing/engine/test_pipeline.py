"""From a FLAIR to a result: every voxel at its place in the world, every number what the picture says, or nothing."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from burden_models import bright_network_3d
from phantoms import OBLIQUE, ORIENTATIONS, oriented_affine, world
from tiny_models import (
    ANATOMY_LABELS,
    ARCHITECTURES,
    BRAIN,
    FAR,
    LESION_LIMIT,
    NEAR,
    VENTRICLE,
    Ellipsoid,
    centroid_mm,
    inside,
    read_card,
    requires_models,
    requires_monai,
    requires_sample,
    sample_scan,
    sharp_head,
    slices_for,
    threshold_network,
    write_bundle,
    write_card,
    write_models,
    write_random_bundle,
)
from tiny_models import PIXEL_MM as TINY_MM

import csvd.pipelines.wmh as pipeline
from csvd.anatomy import GROUPS, Anatomy
from csvd.bundle import Bundle, load_bundle
from csvd.errors import Cancelled, InputError, ModelError
from csvd.image import Image, axial_grid, read_image, write_image
from csvd.inference_volume import VolumePredictor
from csvd.measure.agreement import dice
from csvd.pipelines.wmh import cortex_folds, segment_wmh, slice_grid, unsure_below
from csvd.preprocessing import BACKGROUND

# Geometry: a head whose voxels are computed from their own place in the world, on every grid anew.

SPACING_MM, SIZE_MM = (2.4, 2.8, 5.0), 138.0
HEAD = Ellipsoid((3, -12, 20), (56, 66, 60))
SPOT, SPOT_MM = np.array([24.0, -36.0, 33.0]), 13.0  # right, behind and above: no axis can be mistaken
HORN = Ellipsoid((-14, 8, 24), (9, 20, 12))  # the ventricle, on the left
PIXEL_MM = 2.4
TOLERANCE_MM = 0.8


def soft_head(axes, signs, rotation, centre=SPOT, size_mm=SPOT_MM):
    """A FLAIR in one of the 48 orientations with one soft bright spot, twice as bright as the brain in its middle."""
    spacing_mm = np.array(SPACING_MM)
    shape = tuple(np.ceil(SIZE_MM / spacing_mm).astype(int))
    affine = oriented_affine(axes, signs, spacing_mm, shape, rotation)
    x, y, z = world(shape, affine)
    texture = 1 + 0.03 * np.sin(x / 6) * np.sin(y / 7 + 1) * np.sin(z / 8 + 2)
    distance = sum((p - c) ** 2 for p, c in zip((x, y, z), centre, strict=True)) / size_mm**2
    voxels = np.where(HEAD.holds(x, y, z), 1000 * (texture + np.exp(-distance)), 0)
    return Image(voxels.astype(np.int16), affine)


def known_anatomy(flair, whole=HEAD, **_):
    """What a perfect anatomy model would find in ``soft_head``, or where ``whole`` is all of the brain."""
    grid = axial_grid(flair.grid, PIXEL_MM)
    x, y, z = world(grid.shape, grid.affine)
    brain, horn = whole.holds(x, y, z), HORN.holds(x, y, z)
    masks = {"tissue": brain & ~horn, "brain": brain, "intracranial": brain, "lateral_ventricles": horn}
    masks["lesion_bearing"] = brain & ~horn
    shares = {group: np.where(masks[group], 255, 0).astype(np.uint8) for group in GROUPS}
    return Anatomy(grid, ANATOMY_LABELS, brain.astype(np.uint8), shares), []


@dataclass(frozen=True)
class BundleOf(Bundle):
    """A bundle whose networks are at hand."""

    modules: tuple[torch.nn.Module, ...] = ()

    def networks(self, members=None):
        return list(self.modules[:members])


def bundle_of(*modules, canvas=(64, 72), in_plane_mm=PIXEL_MM, **preprocessing):
    card = {
        "id": "by-hand", "version": "0.0.1", "task": "wmh", "network": {"architecture": "by hand"},
        "training": {}, "weights": [{"sha256": ""}] * len(modules),
        "preprocessing": preprocessing or {"in_plane_mm": in_plane_mm, "canvas": canvas},
    }  # fmt: skip
    return BundleOf(None, card, modules)


ORIENTED = [
    pytest.param(axes, signs, None, id="".join(("LR", "PA", "IS")[a][s > 0] for a, s in zip(axes, signs, strict=True)))
    for axes, signs in ORIENTATIONS
]
ORIENTED += [
    pytest.param((0, 1, 2), (1, 1, 1), OBLIQUE, id="oblique-RAS"),
    pytest.param((1, 2, 0), (-1, -1, 1), OBLIQUE, id="oblique-PIR"),
]


@pytest.mark.parametrize(("axes", "signs", "rotation"), ORIENTED)
def test_a_lesion_is_found_at_its_own_place_in_the_world(monkeypatch, axes, signs, rotation):
    monkeypatch.setattr(pipeline, "find_anatomy", known_anatomy)
    flair = soft_head(axes, signs, rotation)
    result = segment_wmh(flair, bundle_of(threshold_network()), device="cpu")
    assert result.mask.shape == flair.voxels.shape
    assert centroid_mm(result.mask, flair.affine) == pytest.approx(SPOT, abs=TOLERANCE_MM)
    assert centroid_mm(result.ventricles, flair.affine) == pytest.approx(HORN.centre, abs=TOLERANCE_MM)
    # 1 + exp(-r^2 / 13^2) is above 1.406 within 12.3 mm; linear interpolation of 5 mm slices lowers the peak a little
    radius_mm = SPOT_MM * np.sqrt(-np.log(LESION_LIMIT - 1))
    assert result.measurements["total_volume"].value == pytest.approx(4 / 3 * np.pi * radius_mm**3 / 1000, rel=0.08)
    assert result.lesions[0].centroid_mm == pytest.approx(SPOT, abs=TOLERANCE_MM)


@pytest.mark.parametrize(("axes", "signs", "rotation"), [*ORIENTED[::7], *ORIENTED[-2:]])
def test_networks_see_axis_0_towards_right_and_axis_1_towards_anterior(monkeypatch, axes, signs, rotation):
    """A network that moves its answer 4 pixels along axis 0 and 3 back along axis 1 moves it so many mm in the head."""
    monkeypatch.setattr(pipeline, "find_anatomy", known_anatomy)
    flair = soft_head(axes, signs, rotation)
    result = segment_wmh(flair, bundle_of(threshold_network(shift=(4, -3))), device="cpu")
    seen = axial_grid(flair.grid, PIXEL_MM).affine[:3, :3]
    assert np.diag(seen).min() > 0  # right, anterior, superior
    moved = SPOT + seen @ [4, -3, 0]
    assert centroid_mm(result.mask, flair.affine) == pytest.approx(moved, abs=TOLERANCE_MM)


def test_half_a_voxel_would_have_been_seen():
    """The tolerance of the tests above is below half of the smallest voxel side."""
    assert min(*SPACING_MM, PIXEL_MM) / 2 > TOLERANCE_MM


def test_the_networks_input_is_the_brain_over_its_median_and_background_elsewhere():
    flair = soft_head((0, 1, 2), (1, 1, 1), None)
    flair = flair.like(np.where(flair.voxels > 0, 640, 0))
    grid = axial_grid(flair.grid, PIXEL_MM)
    stack = slices_for(bundle_of(), flair, known_anatomy(flair)[0])
    x, y, z = world(grid.shape, grid.affine)
    deep = Ellipsoid(HEAD.centre, (45, 55, 50)).holds(x, y, z)
    far = ~Ellipsoid(HEAD.centre, (64, 74, 68)).holds(x, y, z)
    assert np.unique(stack[deep]).tolist() == pytest.approx([0.0])  # (1 - 1) / .25
    assert np.unique(stack[far]).tolist() == [BACKGROUND]
    doubled = slices_for(bundle_of(), flair.like(flair.voxels * 2), known_anatomy(flair)[0])
    assert np.allclose(doubled, stack)


def test_what_is_far_brighter_than_the_brain_is_cut_off_at_four_times_its_median():
    flair = soft_head((0, 1, 2), (1, 1, 1), None)
    voxels = np.where(flair.voxels > 0, 100, 0)
    voxels[30, 20:24, 12] = 30_000
    stack = slices_for(bundle_of(), flair.like(voxels), known_anatomy(flair)[0])
    assert stack.max() == pytest.approx((4 - 1) / 0.25)


def test_a_brain_without_signal_is_refused():
    flair = soft_head((0, 1, 2), (1, 1, 1), None)
    with pytest.raises(InputError, match="no signal in the brain"):
        slices_for(bundle_of(), flair.like(np.zeros_like(flair.voxels)), known_anatomy(flair)[0])


# The whole walk with tiny bundles: pixels are not interpolated, so every number can be counted in the picture.


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("CSVD_MODELS", str(write_models(tmp_path / "models")))
    return tmp_path / "models"


def never(*_, **__):
    raise AssertionError("the anatomy network ran")


def value(result, name):
    return result.measurements[name].value


def test_what_is_bright_in_the_picture_is_outlined_measured_and_split(models):
    head = sharp_head()
    result = segment_wmh(head, device="cpu")
    near, far = inside(NEAR, head), inside(FAR, head)
    assert np.array_equal(result.mask, near | far)
    assert np.array_equal(result.labels == 1, near)
    assert np.array_equal(result.labels == 2, far)
    assert value(result, "periventricular_volume") == pytest.approx(near.sum() * 0.009)
    assert value(result, "deep_volume") == pytest.approx(far.sum() * 0.009)
    assert value(result, "total_volume") == pytest.approx((near | far).sum() * 0.009)
    assert value(result, "lesion_count") == 2
    assert np.array_equal(result.ventricles, inside(VENTRICLE, head))
    assert value(result, "icv_volume") == pytest.approx(np.count_nonzero(head.voxels) * 0.009)


def test_no_lesion_is_zero_everywhere_and_no_error(models):
    result = segment_wmh(sharp_head(lesions=()), device="cpu")
    for name in ("total_volume", "periventricular_volume", "deep_volume", "lesion_count", "total_percent_icv"):
        assert value(result, name) == 0
    assert value(result, "fazekas_total") == 0
    assert value(result, "uncertainty_index") == "no WMH"
    assert result.lesions == []
    assert not result.mask.any()


def test_progress_never_falls_ends_at_one_and_says_what_is_done(models):
    told = []
    segment_wmh(sharp_head(), device="cpu", progress=lambda done, what: told.append((done, what)))
    done = [row[0] for row in told]
    assert done == sorted(done)
    assert 0 < done[0] < 0.25
    assert done[-1] == 1
    assert list(dict.fromkeys(row[1] for row in told)) == ["anatomy", "lesions"]


@pytest.mark.parametrize("after", [0, 2, 5])
def test_cancel_stops_within_one_network_run_and_keeps_nothing(models, monkeypatch, after):
    asked, runs = [], []
    forward = torch.nn.Module.__call__

    def counted(module, *inputs, **options):
        if hasattr(module, "STRIDE"):
            runs.append(module)
        return forward(module, *inputs, **options)

    monkeypatch.setattr(torch.nn.Module, "__call__", counted)
    with pytest.raises(Cancelled):
        segment_wmh(sharp_head(), device="cpu", cancelled=lambda: asked.append(1) or len(asked) > after)
    assert len(runs) == after


@pytest.mark.parametrize("members", [0, -1, 3, 100])
def test_more_members_than_there_are_or_none_are_refused(models, members):
    with pytest.raises(InputError, match=f"has 2 members; choose 1 to 2, not {members}"):
        segment_wmh(sharp_head(), members=members)


def test_members_takes_the_first_ones_and_the_result_says_how_many(models):
    card = read_card(models / "wmh-hybrid")
    networks = [threshold_network(limit=1.625), threshold_network(limit=100.0)]  # the second one finds nothing
    write_bundle(models / "wmh-hybrid", networks, card["network"])
    one = segment_wmh(sharp_head(), members=1, device="cpu")
    both = segment_wmh(sharp_head(), device="cpu")
    assert (one.parameters["members"], both.parameters["members"]) == (1, 2)
    assert one.probability.max() == pytest.approx(1, abs=0.01)
    assert both.probability.max() == pytest.approx(0.5, abs=0.01)


@pytest.fixture
def hybrid(models):
    """A bundle that sees in 3D and votes with four slice networks, of which the last finds nothing."""
    card = read_card(models / "wmh-hybrid")
    networks = [*(threshold_network() for _ in range(3)), threshold_network(limit=100.0)]
    write_bundle(models / "wmh-hybrid", networks, card["network"])
    network, description = bright_network_3d(1.4)
    changes = {"preprocessing": {"in_plane_mm": TINY_MM}, "votes_with": ["wmh-hybrid"]}
    return write_bundle(models / "hybrid", [network], description, **changes)


@requires_monai
def test_a_network_that_sees_in_3d_finds_what_slice_networks_do(models, hybrid):
    alone = segment_wmh(sharp_head(), "hybrid", members=1, device="cpu")
    slices = segment_wmh(sharp_head(), "wmh-hybrid", members=1, device="cpu")
    assert alone.probability.max() == pytest.approx(1, abs=0.01)
    assert dice(alone.mask, slices.mask) > 0.95
    assert [model["id"] for model in alone.provenance["models"]] == ["hybrid", "anatomy"]


@requires_monai
def test_a_card_shows_the_network_that_sees_in_3d_mirrored_volumes_too(models, hybrid, monkeypatch):
    seen, vote = [], VolumePredictor.vote

    def watched(predictor, *given):
        seen.append(predictor.views)
        return vote(predictor, *given)

    monkeypatch.setattr(VolumePredictor, "vote", watched)
    plain = segment_wmh(sharp_head(), "hybrid", members=1, device="cpu")
    write_card(hybrid, {**read_card(hybrid), "mirrored_along": ["R", "S"]})
    assert dice(segment_wmh(sharp_head(), "hybrid", members=1, device="cpu").mask, plain.mask) > 0.99
    assert seen == [[[]], [[], [3], [2]]]


@requires_monai
@pytest.mark.parametrize(("slab_mm", "averaged"), [(None, 1), (7, 1), (8, 2)])
def test_a_card_shows_the_network_that_sees_in_3d_slabs_of_thin_slices(models, hybrid, monkeypatch, slab_mm, averaged):
    """Slices of the head are 4 mm apart."""
    made, prepare = [], VolumePredictor.__init__

    def watched(predictor, *given, **named):
        made.append(named["slab"])
        prepare(predictor, *given, **named)

    monkeypatch.setattr(VolumePredictor, "__init__", watched)
    card = read_card(hybrid)
    if slab_mm:
        write_card(hybrid, {**card, "preprocessing": card["preprocessing"] | {"slab_mm": slab_mm}})
    found = segment_wmh(sharp_head(), "hybrid", members=1, device="cpu")
    assert found.mask.any()
    assert made == [averaged]


@requires_monai
@pytest.mark.parametrize(("members", "p"), [(1, 1), (2, 1), (5, 0.875), (None, 0.875)])
def test_bundles_that_vote_together_count_alike(models, hybrid, members, p):
    told = []
    result = segment_wmh(
        sharp_head(), "hybrid", members=members, device="cpu", progress=lambda done, _: told.append(done)
    )
    assert load_bundle("hybrid").members == 5
    assert result.parameters["members"] == (members or 5)
    assert result.probability.max() == pytest.approx(p, abs=0.01)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    assert [model["id"] for model in result.provenance["models"]] == ["hybrid", "wmh-hybrid", "anatomy"][
        :: 1 if members != 1 else 2
    ]


@requires_monai
@pytest.mark.parametrize(("sure", "found"), [(0.85, True), (0.9, False)])
def test_a_card_says_how_sure_a_lesion_has_to_be_somewhere(models, hybrid, sure, found):
    """The five agree to .875 at most."""
    write_card(hybrid, {**read_card(hybrid), "sure": sure})
    assert segment_wmh(sharp_head(), "hybrid", device="cpu").mask.any() == found


@requires_monai
def test_bundles_that_see_other_pixels_or_are_not_there_do_not_vote(models, hybrid):
    card = read_card(hybrid)
    write_card(hybrid, {**card, "preprocessing": {"in_plane_mm": 2 * TINY_MM}})
    with pytest.raises(ModelError, match="hybrid and wmh-hybrid cannot vote together: their pixels differ"):
        segment_wmh(sharp_head(), "hybrid", device="cpu")
    write_card(hybrid, {**card, "votes_with": ["anatomy"]})
    with pytest.raises(ModelError, match="anatomy is a model for anatomy, not for wmh"):
        segment_wmh(sharp_head(), "hybrid", device="cpu")
    write_card(hybrid, {**card, "votes_with": ["absent"]})
    with pytest.raises(ModelError, match="no model 'absent'"):
        segment_wmh(sharp_head(), "hybrid", device="cpu")


def test_the_threshold_is_the_bundles_own_unless_one_is_given(models):
    card = read_card(models / "wmh-hybrid")
    split = [threshold_network(), threshold_network(), threshold_network(limit=100.0)]  # p = 2/3 in every lesion
    write_bundle(models / "wmh-hybrid", split, card["network"], threshold=0.7)
    assert segment_wmh(sharp_head(), device="cpu").mask.sum() == 0
    lower = segment_wmh(sharp_head(), threshold=0.6, device="cpu")
    assert lower.mask.sum() > 0
    assert lower.parameters["threshold"] == 0.6
    assert value(lower, "uncertainty_index") == 1  # the members are split over every voxel


def test_a_bright_spot_in_the_ventricle_is_no_lesion(monkeypatch):
    """It is flow or choroid plexus; white matter is near only at the ventricle's edge."""
    monkeypatch.setattr(pipeline, "find_anatomy", known_anatomy)
    spots = [soft_head((0, 1, 2), (1, 1, 1), None, centre=c, size_mm=6) for c in (SPOT, HORN.centre)]
    outside, within = (segment_wmh(spot, bundle_of(threshold_network()), device="cpu") for spot in spots)
    assert value(outside, "total_volume") > 0.4  # a ball of 5.7 mm, .77 mL, in slices of 5 mm
    assert value(within, "total_volume") == 0


def test_the_pv_distance_and_rule_reach_the_measures(models):
    strict = segment_wmh(sharp_head(), pv_distance_mm=4, device="cpu")
    cluster = segment_wmh(sharp_head(), pv_distance_mm=4, pv_rule="cluster", device="cpu")
    assert 0 < value(strict, "periventricular_volume") < value(cluster, "periventricular_volume")
    assert value(cluster, "periventricular_volume") == pytest.approx(inside(NEAR, sharp_head()).sum() * 0.009)


@pytest.mark.parametrize(
    ("name", "wrong"), [("threshold", 0), ("threshold", 1), ("pv_distance_mm", 0), ("pv_distance_mm", 60)]
)
def test_a_parameter_out_of_its_range_is_refused_before_any_network_runs(monkeypatch, models, name, wrong):
    monkeypatch.setattr(pipeline, "find_anatomy", never)
    with pytest.raises(InputError, match=r"threshold|distance"):
        segment_wmh(sharp_head(), **{name: wrong})


def test_provenance_names_the_input_the_models_and_the_software(models, tmp_path):
    write_image(sharp_head(), tmp_path / "flair.nii.gz")
    result = segment_wmh(read_image(tmp_path / "flair.nii.gz"), device="cpu")
    origin = result.provenance
    assert origin["input"]["sha256"] == hashlib.sha256((tmp_path / "flair.nii.gz").read_bytes()).hexdigest()
    lesions, anatomy = origin["models"]
    assert (lesions["id"], anatomy["id"]) == ("wmh-hybrid", "anatomy")
    for row, folder in ((lesions, "wmh-hybrid"), (anatomy, "anatomy")):
        files = sorted((models / folder).glob("*.safetensors"))
        assert row["sha256"] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert origin["device"] == "cpu"
    assert {"csvd", "torch"} <= set(origin["software"])
    assert min(origin["times_s"].values()) >= 0


def test_a_model_for_something_else_is_refused(models):
    with pytest.raises(ModelError, match="anatomy is a model for anatomy, not for wmh"):
        segment_wmh(sharp_head(), model="anatomy")


def test_what_cannot_be_a_flair_is_refused_before_any_network_runs(monkeypatch, models):
    monkeypatch.setattr(pipeline, "find_anatomy", never)
    head = sharp_head()
    with pytest.raises(InputError, match="mask or label map"):
        segment_wmh(head.like((head.voxels > 0).astype(np.uint8)))


def test_the_input_is_not_changed(models):
    head = sharp_head()
    before = head.voxels.copy()
    segment_wmh(head, device="cpu")
    assert np.array_equal(head.voxels, before)


# Models of other papers: each with its own slices and grey values, all with the same rules and measures after it.

NATIVE = (80, 96)  # pixels of sharp_head, whose brain is 64 x 83 of them
VUNO = {"matrix": [96, 96], "rule": "resize", "intensity": "min_max_255", "skull_strip": True}
TIANTAN = {"matrix": [64, 96], "rule": "crop_or_resize", "intensity": "z_score", "skull_strip": False}
PUBLISHED = {"SEUNet": {"in_plane_mm": 1.5, "canvas": [64, 80]}, "UNet": {"in_plane_mm": 1.5, "canvas": [64, 80]}}
PUBLISHED |= {"ResNet34UNet": VUNO, "TiantanCNN": TIANTAN}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_runs_from_the_scan_to_the_result(models, architecture):
    folder = write_random_bundle(models / "tiny", architecture, 2, preprocessing=PUBLISHED[architecture], threshold=0.2)
    head = sharp_head()
    result = segment_wmh(head, "tiny", device="cpu")
    assert result.mask.shape == head.voxels.shape
    assert np.isfinite(result.probability).all()
    assert 0 < result.probability.max() <= 1
    assert not result.probability[result.ventricles].any()
    assert (result.parameters["model"], result.parameters["members"]) == ("tiny", 2)
    origin = result.provenance["models"][0]
    files = sorted(folder.glob("*.safetensors"))
    assert (origin["id"], origin["version"]) == ("tiny", "0.0.1")
    assert origin["sha256"] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


@pytest.mark.parametrize(
    ("intensity", "limit"), [("brain_median", 1.625), ("min_max_255", 255 * LESION_LIMIT / (340 / 200))]
)
@pytest.mark.parametrize(
    ("matrix", "rule"), [((72, 88), "crop_or_resize"), (NATIVE, "crop_or_resize"), (NATIVE, "resize")]
)
def test_on_the_native_pixels_every_model_finds_exactly_what_is_bright(models, intensity, limit, matrix, rule):
    """A network that cuts grey values at 1.41 of the brain's median, in the unit that the card asks for."""
    card = read_card(models / "wmh-hybrid")
    preprocessing = {"matrix": list(matrix), "rule": rule, "intensity": intensity}
    networks = [threshold_network(slope=8.0 if intensity == "brain_median" else 0.5, limit=limit)]
    write_bundle(models / "bright", networks, card["network"], preprocessing=preprocessing)
    head = sharp_head()
    result = segment_wmh(head, "bright", device="cpu")
    lesions = inside(NEAR, head) | inside(FAR, head)
    slices = lesions.any(axis=(0, 1))  # min_max_255 makes the brightest pixel of any slice 255, lesion or not
    assert np.array_equal(result.mask[..., slices], lesions[..., slices])
    assert intensity == "min_max_255" or not result.mask[..., ~slices].any()
    assert result.warnings == segment_wmh(head, device="cpu").warnings


def test_on_resized_pixels_the_volume_stays(models):
    card = read_card(models / "wmh-hybrid")
    write_bundle(
        models / "bright", [threshold_network()], card["network"], preprocessing=VUNO | {"intensity": "brain_median"}
    )
    head = sharp_head()
    result = segment_wmh(head, "bright", device="cpu")
    lesions = inside(NEAR, head) | inside(FAR, head)
    assert value(result, "total_volume") == pytest.approx(lesions.sum() * 0.009, rel=0.1)
    assert dice(result.mask, lesions) > 0.9


def test_a_crop_that_would_cut_off_brain_becomes_a_resize_and_says_so(models):
    card = read_card(models / "wmh-hybrid")
    crop = {"matrix": [64, 88], "rule": "crop_or_resize"}  # the brain just reaches beyond 64 pixels
    write_bundle(models / "bright", [threshold_network()], card["network"], preprocessing=crop)
    usual, wide = sharp_head(), sharp_head(brain=Ellipsoid(BRAIN.centre, (52, 62, 44)))
    narrow, resized = (segment_wmh(head, "bright", device="cpu") for head in (usual, wide))
    assert not [text for text in narrow.warnings if "64 x 88" in text]
    assert np.array_equal(narrow.mask, inside(NEAR, usual) | inside(FAR, usual))
    (told,) = [text for text in resized.warnings if "64 x 88" in text]
    assert told.endswith("the slices were resized to 64 x 88 instead.")
    assert dice(resized.mask, inside(NEAR, wide) | inside(FAR, wide)) > 0.85


SLICES = {
    "512 is cropped": ((512, 512), 0.5, (0.5, 0.5)),
    "384 is left alone": ((384, 384), 0.6, (0.6, 0.6)),
    "256 is resized": ((256, 256), 0.9, (0.6, 0.6)),
    "320 x 384 is resized": ((320, 384), 0.6, (0.5, 0.6)),
    "200 x 180 is resized": ((200, 180), 1.152, (0.6, 0.54)),
}


@pytest.mark.parametrize(("native", "pixel_mm", "seen_mm"), SLICES.values(), ids=SLICES)
def test_slices_of_384_pixels_and_more_are_cropped_and_smaller_ones_resized(native, pixel_mm, seen_mm):
    shape = (*native, 5)
    affine = oriented_affine((0, 1, 2), (-1, -1, 1), (pixel_mm, pixel_mm, 20), shape, centre_mm=HEAD.centre)
    flair = Image(np.zeros(shape, np.int16), affine)
    bundle = bundle_of(matrix=[384, 384], rule="crop_or_resize")
    small = Ellipsoid(HEAD.centre, (40, 45, 40))
    grid, told = slice_grid(flair, known_anatomy(flair, small)[0], bundle)
    assert grid.shape == (384, 384, 5)
    assert grid.spacing_mm == pytest.approx((*seen_mm, 20))
    assert told == []


def test_a_whole_head_is_shown_with_its_scalp_and_in_z_scores_of_each_slice_with_brain():
    flair = soft_head((0, 1, 2), (1, 1, 1), None)
    flair = flair.like(flair.voxels + 300)  # air and scalp are not 0
    native = flair.voxels.shape[:2]
    anatomy, _ = known_anatomy(flair, Ellipsoid(HEAD.centre, (40, 45, 30)))
    options = {"matrix": list(native), "rule": "resize", "intensity": "z_score"}
    whole, stripped = (slices_for(bundle_of(**options, skull_strip=strip), flair, anatomy) for strip in (False, True))
    with_brain = anatomy.mask("brain", flair.grid).any(axis=(0, 1))
    assert 0 < np.count_nonzero(with_brain) < flair.voxels.shape[2]
    for stack in (whole, stripped):
        assert not stack[..., ~with_brain].any()
        assert stack[..., with_brain].mean(axis=(0, 1)) == pytest.approx(0, abs=1e-4)
        assert stack[..., with_brain].std(axis=(0, 1)) == pytest.approx(1, abs=1e-4)
    middle = flair.voxels.shape[2] // 2
    voxels = flair.voxels[..., middle].astype(float)
    assert np.allclose(whole[..., middle], (voxels - voxels.mean()) / voxels.std(), atol=1e-3)
    assert np.unique(stripped[:3, :, middle]).size == 1


@pytest.mark.parametrize("rule", ["resize", "crop_or_resize"])
@pytest.mark.parametrize(("axes", "signs", "rotation"), [*ORIENTED[::9], *ORIENTED[-2:]])
def test_on_a_matrix_too_a_lesion_is_found_at_its_own_place(monkeypatch, axes, signs, rotation, rule):
    monkeypatch.setattr(pipeline, "find_anatomy", known_anatomy)
    flair = soft_head(axes, signs, rotation)
    bundle = bundle_of(threshold_network(), matrix=[47, 48] if rule == "crop_or_resize" else [64, 72], rule=rule)
    grid, _ = slice_grid(flair, known_anatomy(flair)[0], bundle)
    result = segment_wmh(flair, bundle, device="cpu")
    assert centroid_mm(result.mask, flair.affine) == pytest.approx(SPOT, abs=TOLERANCE_MM)
    assert np.diag(grid.affine[:3, :3]).min() > 0


# With the trained models.


def turned(flair, axes, signs):
    """The same scan stored along other axes."""
    voxels, affine = flair.voxels.transpose(axes), flair.affine[:, [*axes, 3]].copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            voxels = np.flip(voxels, axis)
            affine[:, 3] += affine[:, axis] * (voxels.shape[axis] - 1)
            affine[:, axis] *= -1
    return Image(np.ascontiguousarray(voxels), affine)


def turned_back(array, axes, signs):
    return np.flip(array, [axis for axis, sign in enumerate(signs) if sign < 0]).transpose(np.argsort(axes))


@requires_models
@requires_sample
def test_how_a_scan_is_stored_does_not_change_what_is_found():
    flair, _ = sample_scan()
    usual = segment_wmh(flair, members=1, device="cpu")
    assert 0.5 < value(usual, "total_volume") < 100
    axes, signs = (2, 0, 1), (-1, 1, -1)
    other = segment_wmh(turned(flair, axes, signs), members=1, device="cpu")
    assert dice(turned_back(other.mask, axes, signs), usual.mask) > 0.99
    assert dice(turned_back(other.ventricles, axes, signs), usual.ventricles) > 0.99
    assert value(other, "total_volume") == pytest.approx(value(usual, "total_volume"), rel=0.01)


@requires_models
@requires_sample
def test_the_ensemble_finds_lesions_in_the_brain_and_outside_the_ventricles():
    flair, anatomy = sample_scan()
    bundle = load_bundle("wmh-seunet")
    assert bundle.members == 5
    result = segment_wmh(flair, bundle, device="cpu")
    assert result.mask.any()
    assert not (result.mask & ~result.brain).any()
    assert not (result.mask & result.ventricles).any()
    assert 0 <= value(result, "uncertainty_index") <= 1
    assert anatomy.brain_ml < value(result, "icv_volume") < 2 * anatomy.brain_ml


# Folds of cortex: on a 2 mm grid, a ribbon of cortex around white matter, a ventricle in the middle.

FOLD_AT, LESION_AT, NEAR_VENTRICLE_AT = (15, 30), (45, 30), (30, 39)


def folded_brain(brightness, coil=0.0):
    """Brain, anatomy and grid; ``brightness`` maps the middle (i, j) of a 5 x 5 pixel blob to its level over 1."""
    shape, affine = (61, 61, 6), np.diag([2.0, 2.0, 5.0, 1.0])
    grid = Image(np.zeros(shape), affine).grid
    i, j, _ = np.indices(shape)
    radius = np.hypot(i - 30, j - 30)
    labels = np.zeros(shape, np.uint8)
    labels[radius <= 27] = ANATOMY_LABELS.index("cortex")
    labels[radius <= 24] = ANATOMY_LABELS.index("white_matter")
    ventricle = radius <= 5
    relative = np.where(labels == ANATOMY_LABELS.index("cortex"), 1.2, 1.0) * (labels > 0)
    for (a, b), level in brightness.items():
        relative[a - 2 : a + 3, b - 2 : b + 3, 2:4] = level
    relative *= 1 + coil * (i - 30) / 30  # one side nearer to the coil
    shares = dict.fromkeys(GROUPS, np.where(labels > 0, 255, 0).astype(np.uint8))
    shares["lateral_ventricles"] = np.where(ventricle, 255, 0).astype(np.uint8)
    return relative.astype(np.float32), Anatomy(grid, ANATOMY_LABELS, labels, shares), grid


def found(probabilities, rim=0.0):
    """A probability map with blobs of so many pixels, and a faint rim of one pixel around each."""
    probability = np.zeros((61, 61, 6), np.float32)
    for (a, b), p in probabilities.items():
        probability[a - 3 : a + 4, b - 3 : b + 4, 2:4] = rim
        probability[a - 2 : a + 3, b - 2 : b + 3, 2:4] = p
    return probability


def still_there(brightness, probability, coil=0.0):
    brain, anatomy, grid = folded_brain(brightness, coil)
    kept = np.where(cortex_folds(probability, brain, anatomy, grid, 0.5), 0, probability)
    return {at for at in brightness if kept[(*at, 2)] > 0}, kept


def test_a_blob_as_bright_as_cortex_is_a_fold_and_a_brighter_one_a_lesion():
    brightness = {FOLD_AT: 1.2, LESION_AT: 1.4}
    kept, _ = still_there(brightness, found(dict.fromkeys(brightness, 0.9)))
    assert kept == {LESION_AT}


def test_near_the_ventricle_nothing_is_a_fold():
    brightness = {NEAR_VENTRICLE_AT: 1.2}
    kept, _ = still_there(brightness, found({NEAR_VENTRICLE_AT: 0.9}))
    assert kept == {NEAR_VENTRICLE_AT}


@pytest.mark.parametrize("coil", [-0.2, 0.2])
def test_brightness_is_compared_with_the_tissue_around(coil):
    brightness = {FOLD_AT: 1.2, LESION_AT: 1.4}
    kept, _ = still_there(brightness, found(dict.fromkeys(brightness, 0.9)), coil)
    assert kept == {LESION_AT}


def test_no_faint_rim_of_a_dropped_fold_comes_back_at_a_lower_threshold():
    _, kept = still_there({FOLD_AT: 1.2}, found({FOLD_AT: 0.9}, rim=0.3))
    assert not kept.any()


def test_a_faint_candidate_is_judged_too():
    brightness = {FOLD_AT: 1.2, LESION_AT: 1.4}
    kept, _ = still_there(brightness, found(dict.fromkeys(brightness, 0.2)))
    assert kept == {LESION_AT}


def test_a_lesion_keeps_its_faint_rim():
    probability = found({LESION_AT: 0.9}, rim=0.3)
    _, kept = still_there({LESION_AT: 1.4}, probability)
    assert np.array_equal(kept, probability)


def test_without_candidates_or_cortex_nothing_is_a_fold():
    brain, anatomy, grid = folded_brain({})
    assert not cortex_folds(found({}), brain, anatomy, grid, 0.5).any()
    no_cortex = replace(anatomy, labels=np.zeros_like(anatomy.labels))
    assert not cortex_folds(found({FOLD_AT: 0.9}), brain, no_cortex, grid, 0.5).any()


def test_a_candidate_of_which_no_vote_is_sure_falls_below_the_threshold_with_all_its_voxels():
    probability = found({FOLD_AT: 0.7, LESION_AT: 0.9}, rim=0.4)
    lowered = unsure_below(probability, 0.3, 0.8)
    doubtful = lowered != probability
    assert doubtful[(*FOLD_AT, 2)]
    assert not doubtful[(*LESION_AT, 2)]
    assert np.count_nonzero(doubtful) == 7 * 7 * 2  # with its rim; the other keeps its own
    assert (lowered[doubtful] < 0.3).all()


def test_an_unsure_candidate_comes_back_whole_at_a_lower_threshold():
    probability = found({FOLD_AT: 0.35}, rim=0.25)
    assert np.array_equal(unsure_below(probability, 0.3, 0.8) >= 0.2, probability >= 0.2)


def test_nothing_is_unsure_where_nothing_was_found():
    assert not unsure_below(found({}), 0.3, 0.8).any()
