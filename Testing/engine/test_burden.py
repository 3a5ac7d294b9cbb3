"""Four markers on three sequences with a network made by hand: the right decoder, the right grid, the right score."""

import json

import numpy as np
import pytest
import torch
from burden_models import (
    DEEP,
    DEEP_BLEED,
    FLAIR,
    LACUNE,
    LIMITS,
    LOBAR_BLEED,
    NETWORK,
    PERIVENTRICULAR,
    SWI,
    T1,
    T1_WITH_LACUNE,
    TUBE,
    bright_network,
    let_bright_lacunes_count,
    scan,
    write_burden_models,
    write_foci_model,
)
from scipy.spatial.transform import Rotation
from test_registration import picture
from tiny_models import SHARED, only_models_of, requires_models, requires_monai, threshold_network, write_bundle

from csvd.anatomy import Anatomy
from csvd.bundle import Bundle, load_bundle
from csvd.cli import main
from csvd.errors import Cancelled, InputError, ModelError
from csvd.image import Grid, read_image, write_image
from csvd.measure.zscore import MarkerReference, Reference
from csvd.networks import build
from csvd.networks.mounet import MOUNet, Routed
from csvd.pipelines.burden import marker_models, measure_burden
from csvd.pipelines.laying import LEAST_SHARPNESS, sharpness
from csvd.pipelines.mimics import LIKE_FLUID, dark_lines, not_enclosed, unlike_fluid
from csvd.pipelines.wmh import segment_wmh
from csvd.registration import Quality
from csvd.sequences import SEQUENCE_OF, SEQUENCES

pytestmark = requires_monai
MOVE = np.eye(4)
MOVE[:3, :3] = Rotation.from_euler("xyz", [6, -4, 5], degrees=True).as_matrix()
MOVE[:3, 3] = [7, -4, 9]


@pytest.fixture(scope="module", autouse=True)
def models(tmp_path_factory):
    with only_models_of(write_burden_models(tmp_path_factory.mktemp("models"))) as folder:
        yield folder


@pytest.fixture(scope="module")
def given():
    """Three spacings, orientations and positions; the head lay differently for the SWI."""
    return {
        "flair": scan(FLAIR, (1.5, 1.5, 4.0), name="flair.nii.gz"),
        "t1": scan(T1, (3.0, 1.0, 1.0), axes=(2, 0, 1), signs=(-1, 1, 1), name="t1.nii.gz"),
        "swi": scan(SWI, (1.5, 1.5, 3.0), signs=(-1, -1, 1), move=MOVE, name="swi.nii.gz"),
    }


@pytest.fixture(scope="module")
def whole(models, given):
    told = []
    result = measure_burden(**given, device="cpu", progress=lambda done, what: told.append((done, what)))
    result.provenance["told"] = told
    return result


@pytest.fixture(scope="module")
def bleeds(models, given):
    return measure_burden(swi=given["swi"], device="cpu")


def value(result, name):
    return result.measurements[name].value


def moved(point):
    return MOVE[:3, :3] @ point + MOVE[:3, 3]


# Routing


def test_the_decoders_of_a_sequence_answer_as_in_the_whole_network_with_one_pass_of_the_encoder():
    torch.manual_seed(0)
    network = build(NETWORK).eval()
    images, passes = torch.randn(2, 1, 64, 96), []
    routed = Routed(network, [2, 3])
    network.encoder.register_forward_hook(lambda *_: passes.append(1))
    with torch.inference_mode():
        assert torch.equal(routed(images), network(images, decoders=[2, 3]))
        passes.clear()
        routed(images)
    assert len(passes) == 1
    assert routed.STRIDE == MOUNet.STRIDE


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_sequence_reaches_only_its_own_decoders(sequence, given, tmp_path, monkeypatch):
    network = bright_network()
    for number, marker in enumerate(("wmh", "microbleed", "lacune", "perivascular_space")):
        if SEQUENCE_OF[marker] != sequence:  # whatever this decoder saw would not be a number
            network.decoders[number].head.bias.data[:] = torch.nan
    monkeypatch.setenv("CSVD_MODELS", str(write_burden_models(tmp_path, [network])))
    result = measure_burden(**{sequence: given[sequence]}, device="cpu")
    assert set(result.markers) == set(SEQUENCES[sequence])
    for found in result.markers.values():
        assert np.isfinite(found.probability).all()
    assert {"flair": "total_volume", "swi": "microbleed_count", "t1": "perivascular_space_count"}[sequence] in {
        name for name, row in result.measurements.items() if row.value
    }


# Grids


def test_every_marker_lies_on_its_own_sequences_voxels(whole, given):
    for marker, found in whole.markers.items():
        image = given[SEQUENCE_OF[marker]]
        assert found.image is image
        assert found.mask.shape == found.probability.shape == image.voxels.shape
        assert np.array_equal(found.mask, found.probability >= 0.5) or marker != "wmh"


def test_bleeds_are_found_where_the_head_lay_in_the_regions_of_the_t1(whole):
    assert whole.provenance["anatomy"]["swi"]["from"] == "T1"
    found = np.array(whole.provenance["anatomy"]["swi"]["matrix"]) @ [*LOBAR_BLEED.centre, 1]
    assert found[:3] == pytest.approx(moved(LOBAR_BLEED.centre), abs=3.0)
    lobar, deep = (c for c in whole.focal["microbleed"].candidates)
    assert (lobar.region, lobar.hemisphere) == ("lobar", "right")
    assert (deep.region, deep.hemisphere) == ("deep", "left")
    assert lobar.centroid_mm == pytest.approx(moved(LOBAR_BLEED.centre), abs=1.0)
    assert deep.centroid_mm == pytest.approx(moved(DEEP_BLEED.centre), abs=1.0)


def test_hyperintensities_and_the_tube_are_found_where_they_are(whole):
    far, near = whole.wmh.lesions
    assert far.centroid_mm == pytest.approx(DEEP.centre, abs=1.0)
    assert near.centroid_mm == pytest.approx(PERIVENTRICULAR.centre, abs=1.0)
    (tube,) = whole.focal["perivascular_space"].candidates
    assert tube.centroid_mm == pytest.approx(TUBE.centre, abs=3.0)  # slices of 3 mm
    assert tube.shortest_mm < 3 < tube.longest_mm


@pytest.mark.parametrize("taken_for_ventricle", [False, True])
def test_a_lacune_is_found_and_nothing_else(taken_for_ventricle, tmp_path, monkeypatch):
    mask = Anatomy.mask

    def with_the_lacune(anatomy, group, grid):
        points = np.moveaxis(np.indices(grid.shape), 0, -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
        lacune = (np.linalg.norm(points - LACUNE.centre, axis=-1) < 8) & (group == "lateral_ventricles")
        return mask(anatomy, group, grid) | lacune

    let_bright_lacunes_count(monkeypatch)
    if taken_for_ventricle:
        monkeypatch.setattr(Anatomy, "mask", with_the_lacune)
    network = bright_network({**LIMITS, "perivascular_space": 10.0})
    monkeypatch.setenv("CSVD_MODELS", str(write_burden_models(tmp_path, [network])))
    result = measure_burden(t1=scan(T1_WITH_LACUNE), device="cpu")
    (lacune,) = result.focal["lacune"].candidates
    assert lacune.centroid_mm == pytest.approx(LACUNE.centre, abs=1.0)
    assert value(result, "lacune_count") == 1
    assert value(result, "svd_score") == "1-3 (WMH, microbleeds missing)"


@pytest.fixture(scope="module")
def own_outliner(models):
    """A bundle for csvd wmh beside that for the burden."""
    network = {"architecture": "SEUNet", "in_channels": 1, "out_channels": 1, "width": 1}
    return load_bundle(write_bundle(models / "wmh-one", [threshold_network()], network, threshold=0.35))


def test_hyperintensities_may_be_outlined_by_a_model_of_csvd_wmh(given, own_outliner):
    alone = segment_wmh(given["flair"], own_outliner, device="cpu")
    result = measure_burden(flair=given["flair"], swi=given["swi"], wmh_model="wmh-one", device="cpu")
    assert result.settings["threshold"] == {"wmh": 0.35, "microbleed": 0.5}
    assert "wmh-one" in [model["id"] for model in result.provenance["models"]]
    only = measure_burden(flair=given["flair"], wmh_model=own_outliner, device="cpu")
    assert alone.mask.any()
    assert np.array_equal(only.wmh.mask, alone.mask)
    assert value(only, "total_volume") == alone.measurements["total_volume"].value


def test_two_models_may_share_a_sequence(whole, given, tmp_path, monkeypatch):
    network = bright_network()
    network.decoders[2].head.bias.data[:] = torch.nan  # nobody asks the decoder for lacunes
    monkeypatch.setenv("CSVD_MODELS", str(write_burden_models(tmp_path, [network])))
    bundle = load_bundle("burden-mounet")
    write_foci_model(tmp_path / "lacunes-3d", LIMITS["lacune"], "lacune")
    naming = Bundle(bundle.folder, bundle.card | {"marker_models": {"lacune": "lacunes-3d"}})
    let_bright_lacunes_count(monkeypatch)
    result = measure_burden(t1=scan(T1_WITH_LACUNE), model=naming, device="cpu")
    assert result.settings["threshold"] == {"lacune": 0.6, "perivascular_space": 0.5}
    (lacune,) = result.focal["lacune"].candidates
    assert lacune.centroid_mm == pytest.approx(LACUNE.centre, abs=1.0)
    both = measure_burden(t1=given["t1"], model=naming, device="cpu")
    assert np.array_equal(both.focal["perivascular_space"].mask, whole.focal["perivascular_space"].mask)


def test_the_card_says_which_models_find_a_marker_and_the_caller_may_say_another(given, own_outliner, models):
    bundle = load_bundle("burden-mounet")
    in_3d = load_bundle(write_foci_model(models / "bleeds-3d", LIMITS["microbleed"]))
    naming = Bundle(bundle.folder, bundle.card | {"marker_models": {"wmh": "wmh-one", "microbleed": "bleeds-3d"}})

    def chosen(*arguments, **named):
        return {marker: model.id for marker, model in marker_models(*arguments, **named).items()}

    assert chosen(bundle) == {}
    assert chosen(naming) == {"wmh": "wmh-one", "microbleed": "bleeds-3d"}
    assert chosen(naming, ["flair"]) == {"wmh": "wmh-one"}
    assert chosen(naming, own_decoders=True) == {}
    assert chosen(naming, wmh_model="burden-mounet") == {"microbleed": "bleeds-3d"}
    assert chosen(naming, wmh_model="wmh-one", own_decoders=True) == {"wmh": "wmh-one"}
    assert marker_models(bundle, wmh_model=own_outliner) == {"wmh": own_outliner}
    with pytest.raises(ModelError, match="There is no model"):
        measure_burden(flair=given["flair"], wmh_model="absent", device="cpu")
    with pytest.raises(ModelError, match="not for wmh"):
        marker_models(bundle, wmh_model="anatomy")
    with pytest.raises(ModelError, match="not for foci"):
        marker_models(Bundle(bundle.folder, bundle.card | {"marker_models": {"microbleed": "wmh-one"}}))
    with pytest.raises(ModelError, match="names bleeds-3d for lacune, but that one finds microbleed"):
        marker_models(Bundle(bundle.folder, bundle.card | {"marker_models": {"lacune": "bleeds-3d"}}))
    assert measure_burden(swi=given["swi"], wmh_model="absent", device="cpu").wmh is None  # nobody asks for it
    assert in_3d.thresholds == {"microbleed": 0.6}


def test_a_network_that_sees_in_3d_finds_what_the_decoders_would(given, models, bleeds):
    write_foci_model(models / "bleeds-3d", LIMITS["microbleed"])
    bundle = load_bundle("burden-mounet")
    naming = Bundle(bundle.folder, bundle.card | {"marker_models": {"microbleed": "bleeds-3d"}})
    seen = measure_burden(swi=given["swi"], model=naming, device="cpu")
    assert seen.settings["threshold"]["microbleed"] == 0.6
    assert "bleeds-3d" in [model["id"] for model in seen.provenance["models"]]
    assert value(seen, "microbleed_count") == value(bleeds, "microbleed_count") == 2
    for ours, theirs in zip(seen.focal["microbleed"].candidates, bleeds.focal["microbleed"].candidates, strict=True):
        assert ours.region == theirs.region
        assert ours.centroid_mm == pytest.approx(theirs.centroid_mm, abs=1)
        assert ours.volume_mm3 == pytest.approx(theirs.volume_mm3, rel=0.3)
    own = measure_burden(swi=given["swi"], model=naming, own_decoders=True, device="cpu")
    assert np.array_equal(own.focal["microbleed"].mask, bleeds.focal["microbleed"].mask)
    given_one = measure_burden(swi=given["swi"], model=naming, thresholds={"microbleed": 0.7}, device="cpu")
    assert given_one.settings["threshold"]["microbleed"] == 0.7


def test_where_the_heads_do_not_fit_each_sequence_keeps_its_own_anatomy(given, monkeypatch):
    from csvd.pipelines import laying

    class Doubted:
        quality = Quality(1, 1, 0.5, mask_dice=0.5, doubts=("The brains overlap with a Dice of 0.50 only.",))
        matrix = np.eye(4)

    monkeypatch.setattr(laying, "register", lambda *_, **__: Doubted)
    result = measure_burden(flair=given["flair"], swi=given["swi"], device="cpu")
    assert any("SWI could not be laid over the FLAIR (The brains overlap" in text for text in result.warnings)
    assert result.provenance["anatomy"]["swi"]["from"] == "SWI"
    assert [c.region for c in result.focal["microbleed"].candidates] == ["lobar", "deep"]


@pytest.mark.parametrize(("dice", "sharp", "laid"), [(0.82, 2.0, True), (0.82, 1.4, False), (0.78, 2.0, False)])
def test_brains_that_overlap_little_are_laid_where_information_falls_steeply(given, monkeypatch, dice, sharp, laid):
    from csvd.pipelines import laying

    class Doubted:
        quality = Quality(1, 1, 0.5, mask_dice=dice, doubts=("The brains overlap too little.",))
        matrix = MOVE

    monkeypatch.setattr(laying, "register", lambda *_, **__: Doubted)
    monkeypatch.setattr(laying, "sharpness", lambda *_: sharp)
    result = measure_burden(flair=given["flair"], swi=given["swi"], device="cpu")
    assert (result.provenance["anatomy"]["swi"]["from"] == "FLAIR") == laid
    assert any("could not be laid" in text for text in result.warnings) != laid


def test_information_falls_steeply_beside_the_right_place_only():
    fixed, brain, *_ = picture("ct")
    moving, *_ = picture("flair")

    class Shifted:
        def __init__(self, mm):
            self.points = lambda points: points + np.array([mm, 0, 0])

    assert sharpness(fixed, moving, brain, Shifted(0)) > LEAST_SHARPNESS
    assert sharpness(fixed, moving, brain, Shifted(8)) < 1


def test_a_cavity_counts_in_white_matter_and_not_in_a_sulcus_or_beside_a_ventricle():
    grid = Grid((60, 40, 20), np.eye(4))

    def ball(x, y, z, radius):
        return np.linalg.norm(np.indices(grid.shape) - np.reshape((x, y, z), (3, 1, 1, 1)), axis=0) < radius

    inside, sulcus, edge = ball(12, 20, 10, 4), ball(44, 20, 10, 3), ball(30, 32, 10, 3)
    cistern = ball(30, 10, 10, 3)  # with as much tissue around it as the edge, but no ventricle
    tissue = np.zeros(grid.shape, bool)
    tissue[4:30] = True  # then comes a ventricle, or a cistern, then fluid
    ventricles = np.zeros(grid.shape, bool)
    ventricles[30:, 20:] = True
    probability = np.where(inside | sulcus | edge | cistern, 0.9, 0).astype(np.float32)
    probability[sulcus & ~ball(44, 20, 10, 2)] = 0.3  # its rim must not come back with a lower threshold
    dropped = not_enclosed(probability, tissue & ~inside, ventricles, grid)  # the cavity itself is called fluid
    assert not dropped[inside | cistern].any()
    assert dropped[sulcus].all()
    assert dropped[edge].all()


def test_a_lacune_is_about_as_dark_as_fluid_wherever_its_edge_is_grey():
    grid = Grid((40, 40, 20), np.eye(4))

    def ball(x, y, radius):
        return np.linalg.norm(np.indices(grid.shape) - np.reshape((x, y, 10), (3, 1, 1, 1)), axis=0) < radius

    ventricle, lacune, lesion = ball(20, 32, 6), ball(8, 10, 4), ball(30, 10, 4)
    t1 = np.ones(grid.shape, np.float32)
    for shown, value in ((ventricle, 0.2), (lacune, 0.6), (ball(8, 10, 3), 0.2), (lesion, 0.6)):
        t1[shown] = value
    t1[:, 38:] = 0  # outside the brain
    nothing = np.zeros(grid.shape, bool)
    probability = np.where(lacune | lesion, 0.9, 0).astype(np.float32)

    def dropped(t1=t1, tissue=~ventricle, ventricles=ventricle):
        return unlike_fluid(probability, t1, tissue, ventricles, grid)

    assert np.array_equal(dropped(), lesion)
    for value, grey in ((LIKE_FLUID + 0.02, False), (LIKE_FLUID - 0.02, True)):
        assert dropped(np.where(lesion, 1 - 0.8 * value, t1))[lesion].all() == grey
    assert not dropped(ventricles=nothing).any()  # no fluid in view
    assert not dropped(tissue=nothing).any()  # no tissue beside
    assert not dropped(np.where(ventricle, 1.2, t1)).any()  # fluid is not dark here


def test_a_dark_dot_is_a_bleed_though_a_thin_vein_touches_it_and_a_point_of_a_dark_line_is_a_vein():
    grid = Grid((80, 60, 20), np.diag([0.8, 0.8, 2.0, 1.0]))
    x, y, z = np.indices(grid.shape) * np.reshape(grid.spacing_mm, (3, 1, 1, 1))

    def ball(a, b, c, radius):
        return np.sqrt((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) < radius

    dot, faint_dot = ball(12, 24, 20, 2.5), ball(12, 12, 20, 2.5)
    upright = ((x - 28) ** 2 + (y - 24) ** 2 < 1.2**2) & (abs(z - 20) < 10)  # 20 mm through the slices
    lying = ((z - 20) ** 2 + (y - 36) ** 2 < 1.2**2) & (abs(x - 48) < 10)
    touched, thin = ball(10, 38, 20, 4), ((z - 20) ** 2 + (y - 38) ** 2 < 0.9**2) & (abs(x - 18) < 8)
    darker, vein = ball(44, 12, 20, 1.7), ((z - 20) ** 2 + (y - 12) ** 2 < 1.2**2) & (abs(x - 44) < 12)
    swi = np.ones(grid.shape, np.float32)
    for shown, value in ((dot, 0.3), (faint_dot, 0.7), (upright, 0.5), (lying, 0.4), (thin | touched, 0.3)):
        swi[shown] = value
    swi[vein], swi[darker] = 0.5, 0.1
    swi[:, :3] = 0  # outside the brain
    seen = upright & (abs(z - 20) < 3)  # the network saw a dot in three slices
    end = lying & (x > 54)
    bleeds = dot | faint_dot | touched | darker
    probability = np.where(bleeds | seen, 0.9, np.where(end, 0.3, 0)).astype(np.float32)
    dropped = dark_lines(probability, swi, grid)
    assert not dropped[bleeds].any()
    assert dropped[seen].all()
    assert dropped[end].all()  # below the threshold, and must not come back with a lower one


def test_a_bright_candidate_and_one_without_anything_around_are_part_of_no_dark_line():
    grid = Grid((9, 9, 3), np.eye(4))
    alone = np.zeros(grid.shape, np.float32)
    alone[4, 4, 1] = 0.5
    assert not dark_lines((alone > 0).astype(np.float32), alone, grid).any()
    bright = np.where(alone > 0, 2, 1).astype(np.float32)
    assert not dark_lines((alone > 0).astype(np.float32), bright, grid).any()


# Scores


def test_the_scores_are_those_worked_out_by_hand(whole):
    # Fazekas 1 + 2: one point in either score; two microbleeds: one point in either.
    assert (value(whole, "input_fazekas_periventricular"), value(whole, "input_fazekas_deep")) == (1, 2)
    assert (value(whole, "microbleed_count"), value(whole, "lacune_count")) == (2, 0)
    assert value(whole, "microbleed_pattern") == "mixed"
    assert value(whole, "svd_score") == 2
    assert value(whole, "amended_svd_score") == 2
    assert value(whole, "caa_svd_score") is None
    assert value(whole.with_siderosis("focal"), "caa_svd_score") == 2  # the siderosis, and deep WMH


def test_a_rejected_candidate_leaves_mask_count_and_score_and_can_come_back(whole):
    deep = whole.focal["microbleed"].candidates[1]
    before = int(whole.focal["microbleed"].mask.sum())
    one = whole.decide(deep.id, "microbleed", False)
    assert value(one, "microbleed_count") == 1
    assert value(one, "microbleed_pattern") == "strictly lobar"
    assert one.focal["microbleed"].mask.sum() == before - round(deep.volume_mm3 / 6.75)  # voxels of 1.5 x 1.5 x 3 mm
    none = one.decide(1, "microbleed", False)
    assert (value(none, "microbleed_count"), value(none, "svd_score")) == (0, 1)
    assert none.edited
    assert not whole.edited
    assert not none.decide(1, "microbleed", None).decide(deep.id, "microbleed", None).edited


def test_a_missing_sequence_makes_a_range_and_never_a_zero(bleeds):
    assert bleeds.missing == ("flair", "t1")
    assert value(bleeds, "total_volume") is None
    assert value(bleeds, "lacune_count") is None
    assert value(bleeds, "perivascular_space_count_basal_ganglia") is None
    assert value(bleeds, "svd_score") == "1-4 (WMH, lacunes, perivascular spaces missing)"
    assert value(bleeds.with_inputs(lacunes=2), "svd_score") == "2-4 (WMH, perivascular spaces missing)"
    assert value(bleeds.with_inputs(lacunes=2).with_inputs(lacunes=None), "input_lacunes") is None


def test_nothing_found_is_zero(models):
    nothing = measure_burden(flair=scan({"wmh": ()}), swi=scan({"microbleed": ()}, (1.5, 1.5, 4.0)), device="cpu")
    names = ("total_volume", "microbleed_count", "microbleed_volume", "microbleed_diameter", "wmh_points")
    assert [value(nothing, name) for name in names] == [0, 0, 0, 0, 0]
    assert value(nothing, "svd_score") == "0-2 (lacunes, perivascular spaces missing)"
    assert nothing.candidates == []


def test_z_is_measured_against_a_declared_reference_only(bleeds):
    assert not [name for name in bleeds.measurements if name.startswith("z_")]
    norm = MarkerReference(mean=0.5, sd=0.5, n=40, transform="none", source="made by hand")
    with_z = bleeds.with_reference(Reference({"microbleed_count": norm}, dict.fromkeys(("total_volume",), "")))
    assert value(with_z, "z_microbleed_count") == 3.0
    assert value(with_z, "z_burden") == 3.0
    assert "Sum over 1 of 4 markers" in with_z.measurements["z_burden"].source


# What is refused


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({}, "No sequence was given"),
        ({"thresholds": {"bleeds": 0.5}}, "'bleeds': use wmh, microbleed, lacune, perivascular_space"),
        ({"thresholds": {"microbleed": 1.0}}, "threshold of microbleed is 1"),
        ({"siderosis": "some"}, "give one of none, focal, disseminated"),
        ({"pvs_threshold": -1}, "limit of perivascular spaces is -1"),
        ({"reference": "nowhere.csv"}, "nowhere.csv cannot be read"),
    ],
)
def test_a_wrong_call_is_refused_in_a_sentence(call, words, given):
    sequences = {"swi": given["swi"]} if call else {}
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        measure_burden(**sequences, **call, device="cpu")


def test_a_model_for_another_task_is_refused(given):
    with pytest.raises(ModelError, match="anatomy is a model for anatomy, not for burden"):
        measure_burden(swi=given["swi"], model="anatomy")


def test_cancelling_keeps_nothing(given):
    with pytest.raises(Cancelled):
        measure_burden(swi=given["swi"], device="cpu", cancelled=lambda: True)


def test_progress_rises_from_nothing_to_all(whole):
    done = [share for share, _ in whole.provenance["told"]]
    assert done == sorted(done)
    assert 0 < done[0] < 0.1
    assert done[-1] == pytest.approx(1)
    assert list(dict.fromkeys(what for _, what in whole.provenance["told"])) == ["anatomy", "FLAIR", "T1", "SWI"]


# Files and the command


def test_all_files_are_written_on_their_own_grids(whole, given, tmp_path):
    written = whole.save(tmp_path / "out")
    for marker, sequence in SEQUENCE_OF.items():
        for what in ("mask", "probability"):
            stored = read_image(written[f"{marker}_{what}.nii.gz"])
            assert stored.grid.matches(given[sequence].grid)
        assert (read_image(written[f"{marker}_mask.nii.gz"]).voxels > 0).sum() == whole.markers[marker].mask.sum()
    rows = (tmp_path / "out" / "candidates.tsv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + len(whole.candidates)
    header = written["burden_t1.seg.nrrd"].read_bytes().split(b"\n\n")[0].decode()
    assert "Segment0_Name:=Lacunes" in header
    assert "Segment1_Name:=Perivascular spaces" in header
    assert "sizes: 2 " in header
    header = written["burden_swi.seg.nrrd"].read_bytes().split(b"\n\n")[0].decode()
    assert "dimension: 3" in header
    assert "50960005" in header
    page = written["report.html"].read_text(encoding="utf-8")
    assert page.count("data:image/png") == 32  # eight slices of each marker
    assert "Not a medical device" in page
    assert len(page) < 3e6


def test_what_was_missing_later_does_not_stay_from_an_earlier_run(whole, bleeds, tmp_path):
    whole.save(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    bleeds.save(tmp_path, report=False)
    left = {path.name for path in tmp_path.iterdir()}
    assert not {name for name in left if name.startswith(("wmh", "lacune", "t1", "flair", "report", "lesions"))}
    assert {"microbleed_mask.nii.gz", "notes.txt", "burden_swi.seg.nrrd", "swi_brain_mask.nii.gz"} <= left


def test_a_report_says_what_is_missing(bleeds, tmp_path):
    page = bleeds.decide(1, "microbleed", False).save(tmp_path)["report.html"].read_text(encoding="utf-8")
    assert "Without FLAIR and T1 some markers are missing, not 0" in page
    assert "Missing, since no T1 was given. That is not zero." in page
    assert "no, by a reader" in page
    assert "Edited by hand" in page


def test_the_command_measures_writes_and_can_be_collected(given, tmp_path, capsys):
    for case in ("a", "b"):
        write_image(given["swi"], tmp_path / f"{case}.nii.gz")
        call = ["burden", "--swi", str(tmp_path / f"{case}.nii.gz"), "-o", str(tmp_path / "study" / case)]
        call += ["--device", "cpu", "--siderosis", "none", "--no-report"]
        assert main(call + (["--threshold", "microbleed=0.99"] if case == "b" else [])) == 0
    told = capsys.readouterr().out
    assert "Total SVD score (0-4) 1-4 (WMH, lacunes, perivascular spaces missing)" in " ".join(told.split())
    stored = json.loads((tmp_path / "study" / "b" / "provenance.json").read_text(encoding="utf-8"))
    assert stored["parameters"]["threshold"] == {"microbleed": 0.99}
    pytest.importorskip("matplotlib", reason="csvd cohort draws with matplotlib")
    table = tmp_path / "cohort.csv"
    assert main(["cohort", str(tmp_path / "study"), "-o", str(table), "--measure", "microbleed_count"]) == 0
    header, *cases = table.read_text(encoding="utf-8").splitlines()
    assert "microbleed_count" in header
    assert len(cases) == 2
    assert "different thresholds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ([], "No sequence was given"),
        (["--swi", "{swi}", "--flair", "{swi}"], "One scan was given as FLAIR and as SWI"),
        (["--t1", "{swi}"], "cannot be a T1"),
        (["--swi", "{swi}", "--threshold", "0.4"], "write a marker and a number"),
        (["--swi", "{swi}", "--siderosis", "much"], "invalid choice"),
        (["--swi", "{swi}", "--reference", "absent.csv"], "The reference absent.csv cannot be read"),
        (["--swi", "{swi}", "--pvs-above", "-1"], "give a whole number from 0 on"),
        (["--swi", "{swi}", "--threshold", "iron=0.4"], "iron"),
        (["--swi", "{swi}", "--threshold", "microbleed=nan"], "between 0 and 1"),
        (["--swi", "{swi}", "--members", "0"], "members"),
    ],
)
def test_the_command_says_what_is_wrong_and_writes_nothing(call, words, given, tmp_path, capsys):
    write_image(given["swi"], tmp_path / "swi.nii.gz")
    call = [part.format(swi=tmp_path / "swi.nii.gz") for part in call]
    assert main(["burden", *call, "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


@requires_models
@pytest.mark.skipif(not (SHARED / "multisequence_stroke").exists(), reason="the real scans are not here")
def test_a_real_patients_sequences_are_laid_over_one_another_and_measured(models, monkeypatch):
    monkeypatch.delenv("CSVD_MODELS")
    scans = {name: read_image(SHARED / "multisequence_stroke" / f"{name.upper()}.nii.gz") for name in ("flair", "t1")}
    result = measure_burden(**scans, model=load_bundle(models / "burden-mounet"), device="cpu")
    assert result.warnings == []
    assert result.provenance["anatomy"]["flair"]["from"] == "T1"
    assert np.array(result.provenance["anatomy"]["flair"]["matrix"]) == pytest.approx(np.eye(4), abs=1.5)  # they were
    assert value(result, "total_volume") > 1  # of what is bright; this patient has many
    assert value(result, "microbleed_count") is None
