"""The synthetic FLAIR, T1 and SWI that the networks of the four markers learn from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import ndimage

from csvd.bundle import widened
from csvd.image import resample

pytest.importorskip("training.heads", reason="training is not beside the tests")

from made_head import made_head

from training import recipe, ship, train
from training.burden import MARKERS, SEQUENCES, BurdenGenerator, BurdenSettings, Markers, outlined
from training.ct import nod
from training.heads import BRAIN, CODE, STEP_MM
from training.patients import Stack
from training.sample import by_slice
from training.synthesis import UNKNOWN, sample
from training.volumes import VolumeGenerator, VolumeSettings, measurable

SMALL = {"shape": (96, 128), "pixel_mm": 1.2}
NOTHING = dict.fromkeys(("microbleed", "lacune", "basal", "centrum"), 0)


@pytest.fixture(scope="module")
def head():
    """The head made by hand, with basal ganglia: a ball of putamen on the left, one of pallidum on the right."""
    made = made_head()
    tissue, grid = made.tissue.clone(), np.indices(made.tissue.shape)
    for centre, name in (((80, 80, 50), "putamen"), ((40, 80, 50), "pallidum")):
        away = np.sqrt(((grid - np.reshape(centre, (3, 1, 1, 1))) ** 2).sum(0))
        tissue[torch.from_numpy(away < 9)] = CODE[name]
    return type(made)(**{**vars(made), "tissue": tissue})


def generator(head, seed=0, **settings):
    well = {"healthy": 1.0, "infarct": 0.0, "low_slices": 0.0}
    return BurdenGenerator([head], [], head.brain_box, BurdenSettings(**{**SMALL, **well, **settings}), seed)


def whole(draws, head, spacing=1.0):
    """All points of the head, 1 mm apart, as it is."""
    stack = Stack((90, 120, 90), 1.0, spacing, spacing, nod(0))
    patient = draws.draw_patient(head, 0.0, 55.0)
    matrix, centre = torch.eye(3), torch.tensor([60.0, 76.0, 55.0])
    return draws.lay(type(patient)(head, matrix, centre, 0 * patient.warp), stack), stack


def pieces(slab, share):
    from scipy import ndimage

    return ndimage.label(slab.fill(share).numpy() > 0.5, np.ones((3, 3, 3)))


def test_a_slice_has_targets_of_its_own_sequence_only(head):
    draws = generator(head, none=0.0)
    for sequence, shown in SEQUENCES.items():
        image, targets = draws.slice_of(sequence)
        assert image.shape == (1, *SMALL["shape"])
        assert targets.shape == (len(MARKERS), *SMALL["shape"])
        for marker, target in zip(MARKERS, targets, strict=True):
            assert set(target.unique().tolist()) <= {0.0, 1.0, UNKNOWN}
            unknown = float((target == UNKNOWN).float().mean())  # of its own, what is too faint to be outlined
            assert unknown < 0.02 if marker in shown else unknown == 1
            assert marker != "wmh" or unknown in (0, 1)


def test_neighbouring_slices_are_of_one_head_and_one_scanner(head):
    draws = generator(head, none=1.0, slices=3, swi_mm=(3.0, 3.0), t1_mm=(1.0, 1.0))
    for sequence in ("t1", "swi"):
        planes, targets = draws.slice_of(sequence)
        assert planes.shape == (3, *SMALL["shape"])
        assert targets.shape == (len(MARKERS), *SMALL["shape"])
        inside = (planes > 0).all(0)
        below, middle, above = (plane[inside] for plane in planes)
        assert np.corrcoef(below, middle)[0, 1] > 0.2
        assert np.corrcoef(above, middle)[0, 1] > 0.2
        assert not torch.equal(below, middle)
        assert middle.median() == pytest.approx(1.0, abs=0.25)  # all are scaled by the brain of the one in the middle


def test_the_markers_are_those_of_the_slice_in_the_middle(head):
    draws = generator(head, none=0.0, slices=3, swi_mm=(2.0, 2.0))
    for first, seen in ((0, False), (2, True), (4, False)):
        draws.grow_microbleeds = lambda slab, count, first=first: layer(slab, first)
        _, targets = draws.slice_of("swi")
        assert (targets[MARKERS.index("microbleed")] > 0).any() == seen


def layer(slab, first):
    """1 in two of the six planes of three slices of 2 mm."""
    planes = torch.zeros(slab.keep.shape)
    planes[first : first + 2] = 1
    return planes[slab.keep]


def test_patches_take_the_same_place_of_every_slice_and_of_the_targets():
    images = torch.arange(2 * 3 * 8 * 10).reshape(2, 3, 8, 10).float()
    targets = images[:, 1:2]
    cut, marks = train.patches(images, targets, (4, 6), np.random.default_rng(0), each=3)
    assert cut.shape == (6, 3, 4, 6)
    assert marks.shape == (6, 1, 4, 6)
    assert torch.equal(cut[:, 1:2], marks)
    assert torch.equal(cut[:, 2] - cut[:, 1], torch.full((6, 4, 6), 80.0))
    assert len({float(patch[0, 0, 0]) for patch in cut}) > 3


def test_a_kernel_for_one_slice_sees_the_middle_one_of_three():
    kernel, wanted = torch.randn(4, 1, 3, 3), torch.empty(4, 3, 3, 3)
    images = torch.randn(2, 3, 8, 8)
    wide = train.seeing(kernel, wanted)
    ours, theirs = (torch.conv2d(x, k) for x, k in ((images, wide), (images[:, 1:2], kernel)))
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert train.seeing(kernel, kernel + 1) is kernel


def test_microbleeds_are_round_and_of_2_to_10_mm(head):
    draws = generator(head)
    slab, _ = whole(draws, head)
    labels, count = pieces(slab, draws.grow_microbleeds(slab, 12))
    assert 4 <= count <= 12  # those that touch are one
    sizes = np.bincount(labels.ravel())[1:]
    assert ((6 * sizes / np.pi) ** (1 / 3) < 14).all()
    assert np.median((6 * sizes / np.pi) ** (1 / 3)) == pytest.approx(3, abs=1.2)


def test_perivascular_spaces_are_longer_than_wide_and_lie_in_the_brain(head):
    draws = generator(head)
    slab, _ = whole(draws, head)
    share = draws.grow_perivascular(slab, 0, 6)
    assert 0 < share.sum() < 6 * 20 * np.pi * 1.5**2
    assert not share[slab.tissue == CODE["csf"]].any()
    basal = draws.grow_perivascular(slab, 6, 0)
    grey = torch.isin(slab.tissue, torch.tensor([CODE["putamen"], CODE["pallidum"]]))
    assert basal[grey].sum() > 0.3 * basal.sum()


def test_lacunes_are_dark_on_t1_and_flair_and_microbleeds_on_swi(head):
    draws = generator(head)
    slab, _ = whole(draws, head)
    none = torch.zeros(slab.tissue.shape)
    lacune, bleed = draws.grow_lacunes(slab, 5), draws.grow_microbleeds(slab, 5)
    white = (slab.tissue == CODE["white_matter"]) & (lacune < 0.01) & (bleed < 0.01)
    for sequence, marker in (("t1", "lacune"), ("flair", "lacune"), ("swi", "microbleed")):
        shown = {"lacune": lacune, "microbleed": bleed}[marker]
        markers = Markers(**{**dict.fromkeys(Markers.__annotations__, none), "infarct": none - 9, marker: shown})
        signal = draws.signal(sequence, slab, markers, len(slab.keep))[slab.keep]
        inside = (shown > 0.9) & (slab.tissue == CODE["white_matter"])
        assert signal[inside].median() < 0.75 * signal[white].median()


def test_the_phase_makes_black_what_a_slice_leaves_faint(head):
    draws = generator(head)
    slab, _ = whole(draws, head)
    none, bleed = torch.zeros(slab.tissue.shape), draws.grow_microbleeds(slab, 12)
    markers = Markers(none, bleed, none, none, none - 9)
    swi = {}
    for name, settings in {"weak": {}, "strong": {"phase": (0.4, 0.4)}, "echo": {"magnitude": 1.0}}.items():
        draws = generator(head, 3, **{"phase": (0.2, 0.2), **settings})
        swi[name] = draws.swi(slab, markers, 30)  # slices of 3 mm
    share = by_slice(slab, bleed, 30)
    faint = (share > 0.2) & (share < 0.6)
    weak, strong = ((swi[name] / swi["echo"])[faint].median() for name in ("weak", "strong"))
    assert strong < weak < 0.95
    tissue = (share < 0.001) & (swi["echo"] > 0)
    assert (swi["strong"] / swi["echo"])[tissue].median() == pytest.approx(1, abs=0.01)


def test_an_swi_is_acquired_sharper_than_a_flair_and_settings_stay(head):
    draws, peaks = generator(head, noise=0.0, grainy=0.0, coarse=1.0), {}
    settings = draws.settings
    point = torch.zeros(1, 96, 128)
    point[0, 48, 64] = 1
    for sequence in ("flair", "swi"):
        peaks[sequence] = np.mean([float(draws.acquired(point, sequence)[0].max()) for _ in range(10)])
    assert peaks["swi"] > 2 * peaks["flair"]
    assert draws.settings is settings


def test_a_spot_that_nowhere_fills_half_a_pixel_is_neither_marker_nor_background():
    share = torch.zeros(12, 12)
    share[1:3, 1:3] = torch.tensor([[0.3, 0.9], [0.2, 0.3]])  # outlined: its edge is background
    share[8:10, 8:10] = 0.4  # faint
    share[5, 5] = 0.05  # not to be seen
    target = outlined(share)
    assert target[1, 2] == 1
    assert target[1, 1] == target[2, 2] == target[5, 5] == 0
    assert (target[8:10, 8:10] == UNKNOWN).all()
    assert (target == UNKNOWN).sum() == 4


def test_what_the_brain_mask_cuts_away_is_no_target(head):
    draws = generator(head, none=0.0)
    draws.brain_only = lambda plane, brain, level: torch.zeros_like(plane)
    draws.grow_microbleeds = lambda slab, count: torch.ones(slab.tissue.shape)
    _, targets = draws.slice_of("swi")
    bleeds = targets[MARKERS.index("microbleed")]
    assert (bleeds == UNKNOWN).any()
    assert not (bleeds == 1).any()


def test_wide_veins_follow_sulci_and_ventricles_over_centimetres(head):
    draws = generator(head)
    points = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in head.tissue.shape), indexing="ij"))
    points = points.reshape(3, -1)
    surface = draws.pial_surface(head, 0.15)
    away = draws.noise.from_curves(points, 12.0, 1.5, draws.rng, surface)
    vein = away < 1
    tissue = head.tissue.reshape(-1)
    inside = torch.minimum(*(sample(getattr(head, name), points).float() for name in ("cortex_mm", "ventricle_mm")))
    deep = (inside * STEP_MM > 2) & (tissue == CODE["white_matter"])
    assert not vein[deep].any()
    assert vein[tissue == CODE["cortex"]].any()
    assert vein[tissue == CODE["lateral_ventricle"]].any()
    labels, _ = ndimage.label(vein.reshape(head.tissue.shape).numpy(), np.ones((3, 3, 3)))
    longest = [max(side.stop - side.start for side in box) for box in ndimage.find_objects(labels)]
    assert np.average(longest, weights=np.bincount(labels.ravel())[1:]) > 20


def test_veins_are_dark_on_swi_and_no_target(head):
    draws = generator(head, none=1.0)
    for _ in range(5):
        _, targets = draws.slice_of("swi")
        assert not (targets[MARKERS.index("microbleed")] > 0).any()
    slab, _ = whole(draws, head)
    assert 0.001 < float((draws.veins(slab, 0.8, 6.0) > 0.5).float().mean()) < 0.2


def test_every_swi_has_veins_on_the_pial_surface(head, monkeypatch):
    draws, surfaces = generator(head, none=1.0), []
    veins = BurdenGenerator.veins
    monkeypatch.setattr(BurdenGenerator, "veins", lambda *a, **k: surfaces.append(len(a) > 4) or veins(*a, **k))
    for _ in range(3):
        draws.slice_of("swi")
        assert True in surfaces
        assert False in surfaces  # and others of all directions
        surfaces.clear()


def test_the_sequences_of_a_patient_show_the_same_markers_each_on_its_own_grid(head):
    stacks = {
        "flair": Stack((80, 110, 16), 1.2, 5.0, 5.0, nod(0)),
        "t1": Stack((100, 130, 80), 1.0, 1.0, 1.0, nod(0)),
        "swi": Stack((100, 130, 40), 1.0, 2.0, 2.0, nod(0)),
    }
    draws = generator(head, 4, none=0.0, healthy=0.0)
    draws.draw_move = lambda: np.eye(4)
    scans = draws.patient_scans(head, stacks)
    assert set(scans) == set(stacks)
    for sequence, stack in stacks.items():
        assert scans[sequence].image.voxels.shape == stack.shape
        assert set(scans[sequence].truth) == set(MARKERS)
        for marker in MARKERS:  # what fills half of a voxel is also a trace
            assert not (scans[sequence].truth[marker].voxels & ~scans[sequence].traces[marker].voxels).any()
    fine, coarse = (scans[s].truth["wmh"] for s in ("t1", "swi"))
    there = resample(fine.voxels.astype(np.float32), fine.grid, coarse.grid) > 0.5
    both = 2 * (there & coarse.voxels).sum() / (there.sum() + coarse.voxels.sum())
    assert both > 0.75


def test_a_recipe_says_how_often_each_marker_is_drawn(head):
    rare = generator(head, none=0.0, often={**dict.fromkeys(NOTHING, 0.0), "lacune": 100.0})
    drawn = [rare.density(1.0) for _ in range(20)]
    assert {name for counts in drawn for name, count in counts.items() if count} == {"lacune"}


def test_a_torn_slice_lacks_about_half_of_the_whole(head):
    (torn,), picture = generator(head).torn_slice("t1")
    assert torch.equal(torn[torn != 0], picture[torn != 0])
    assert 0.2 < float((torn != 0).sum() / (picture != 0).sum()) < 0.8


@pytest.mark.parametrize("name", sorted(path.stem for path in (recipe.HERE / "recipes").glob("burden*.json")))
def test_recipes_name_every_sequence_and_hold_heads_back(name):
    known = recipe.read_recipe(name)
    assert {turn["sequence"] for turn in known["draw"]} == set(SEQUENCES)
    assert known["exclude"] == ["08", "09", "14"]
    assert known["network"]["architecture"] == "MOUNet"


def test_training_learns_from_every_sequence_and_goes_on_from_an_encoder(head, tmp_path, monkeypatch):
    pytest.importorskip("monai", reason="MONAI is not installed")
    monkeypatch.setattr(train, "HERE", tmp_path)
    monkeypatch.setattr(ship, "HERE", tmp_path)
    monkeypatch.setattr(train, "load_heads", lambda *_: [head])
    monkeypatch.setattr(train, "load_lesion_shapes", lambda *_: ([], head.brain_box))
    small = {"settings": {**SMALL, "shape": [64, 64], "pixel_mm": 2.4}, "steps": 1, "seed": 1}
    network = {"architecture": "MOUNet", "in_channels": 1, "markers": 4, "channels": [8, 8, 8, 4]}
    first = {**recipe.read_recipe("burden-encoder"), **small, "network": {**network, "markers": 1}, "batch": 3}
    encoder = load_file(train.train(first, tmp_path, torch.device("cpu")) / "weights.safetensors")
    second = {**recipe.read_recipe("burden"), **small, "network": network, "batch": 5, "learning_rate": 0.0}
    trained = load_file(train.train(second, tmp_path, torch.device("cpu")) / "weights.safetensors")
    kept = [name for name in encoder if name.startswith("encoder.") and "running" not in name and "num_" not in name]
    assert len(kept) > 100
    assert all(torch.allclose(encoder[name], trained[name]) for name in kept)


def test_a_marker_that_is_nowhere_in_a_batch_asks_for_no_dice():
    logits, target = torch.full((2, 2, 4, 4), -20.0), torch.zeros(2, 2, 4, 4)
    loss, score = train.burden_loss(logits, target)
    assert float(loss) < 1e-6
    assert np.isnan(score)
    target[0, 1, 0, 0], target[1, 1] = 1, UNKNOWN
    loss, score = train.burden_loss(
        logits, target
    )  # one voxel of 16 is missed: 10 x 20 / 32 beside Dice, of two markers
    assert float(loss) == pytest.approx((200 / 32 + 1 - 1 / 2) / 2, abs=1e-3)
    assert score == pytest.approx(0.5)  # 1 / (1 + 1): the soft Dice counts one voxel more
    logits[0, 1, 0, 0] = 20
    assert train.burden_loss(logits, target)[1] == 1


def test_a_small_lesion_counts_as_much_as_a_large_one_up_to_a_limit():
    target = torch.zeros(2, 1, 12, 12, 12)
    target[0, 0, :2, :3, :5], target[0, 0, 6:8, 6:11, 6:12], target[0, 0, 0, 0, 11] = 1, 1, 1  # of 30, 60 and 1 voxels
    target[1, 0, :10, :10, :10], target[1, 0, 11] = 1, UNKNOWN
    weights = train.evenly(target)
    assert weights[0, 0, 0, 0, 0] == 2
    assert weights[0, 0, 6, 6, 6] == 1
    assert weights[0, 0, 0, 0, 11] == train.UNEVEN
    assert weights[1, 0, 0, 0, 0] == 1 / train.UNEVEN
    assert (weights[target != 1] == 1).all()
    missed = torch.full_like(target, -20.0)
    small, large = missed.clone(), missed.clone()
    small[0, 0, :2, :3, :5], large[0, 0, 6:8, 6:11, 6:12] = 20, 20
    even, plain = (
        [float(loss(logits, target)[0]) for logits in (small, large)]
        for loss in (train.even_foci_loss, train.foci_loss)
    )
    assert even[0] == pytest.approx(even[1], rel=0.01)  # the same is lost, but for Dice
    assert plain[0] > plain[1] + 1


def test_small_hyperintensities_count_more_and_large_ones_no_less():
    target = torch.zeros(1, 1, 12, 12, 12)
    target[0, 0, :10, :10, :10], target[0, 0, 11, 11, 11] = 1, 1
    missed = torch.full_like(target, -20.0)
    small, large = missed.clone(), missed.clone()
    small[0, 0, 11, 11, 11], large[0, 0, :10, :10, :10] = 20, 20
    nothing, without_large, without_small = (
        float(train.even_lesions_loss(logits, target)[0]) for logits in (missed, small, large)
    )
    each = 20 / target.numel()  # of the mean cross-entropy, what a voxel that was missed costs
    assert without_small == pytest.approx(train.UNEVEN * each, abs=0.001)
    assert nothing - without_small == pytest.approx(1000 * each + 1, abs=0.01)
    assert without_large == pytest.approx(1000 * each + 1, abs=0.01)


def test_patches_lie_within_the_slice_and_many_hold_a_marker():
    images = torch.arange(40.0 * 50).reshape(1, 1, 40, 50).expand(300, -1, -1, -1)
    targets = torch.zeros(300, 2, 40, 50)
    targets[:, 0], targets[:, 1, 1, 48] = UNKNOWN, 1
    cut, marked = train.patches(images, targets, (8, 12), np.random.default_rng(0))
    assert cut.shape == (300, 1, 8, 12)
    assert marked.shape == (300, 2, 8, 12)
    assert set(cut[:, 0][marked[:, 1] == 1].tolist()) == {1 * 50 + 48.0}  # image and target are cut at the same place
    assert 0.6 < float((marked[:, 1] == 1).any(-1).any(-1).float().mean()) < 0.75
    assert len(cut[:, 0, 0, 0].unique()) > 50


# Blocks for networks that see in 3D


def volumes(head, seed=0, **settings):
    small = {
        "wide_mm": (90.0, 100.0), "high_mm": 60.0, "most_slices": 24, "block": (12, 24, 24),
        "healthy": 1.0, "infarct": 0.0, "mean_count": {"microbleed": 40},
    }  # fmt: skip
    return VolumeGenerator([head], [], head.brain_box, VolumeSettings(**{**small, **settings}), seed)


def test_blocks_hold_markers_as_often_as_asked_and_each_scan_gives_many(head):
    draws = volumes(head, each=40, on_marker=1.0)
    drawn = [draws.block(sequence="swi") for _ in range(41)]
    pictures, targets = (torch.stack(part) for part in zip(*drawn, strict=True))
    assert pictures.shape == (41, 1, 12, 24, 24)
    assert targets.shape == (41, 1, 12, 24, 24)
    assert len(draws.slabs) == 2
    marked = (targets == 1).flatten(1).any(1)
    assert marked.float().mean() > 0.9
    dark = [float(p[t == 1].mean() < p[(t == 0) & (p > 0)].median()) for p, t in zip(pictures, targets, strict=True)]
    assert np.mean([d for d, m in zip(dark, marked, strict=True) if m]) > 0.9  # picture and target were cut alike


def test_blocks_are_laid_around_lesions_of_one_marker_whatever_their_size(head):
    markers = np.zeros((2, 8, 20, 20), bool)
    markers[0, 1:6, 2:9, 2:9] = markers[0, 3, 15, 15] = markers[1, 7] = True
    assert len(volumes(head).marked(markers)) == 5 * 7 * 7 + 1 + 20 * 20
    assert volumes(head, aim=0).marked(markers).tolist() == [[3, 5, 5], [3, 15, 15]]
    assert volumes(head, aim=0).marked(0 & markers).shape == (0, 3)


def test_a_marker_that_does_not_count_by_its_sizes_is_neither_marker_nor_background(head):
    draws = volumes(head)
    scan, _ = draws.stripped_scan("swi")
    spacing = np.array(scan.image.spacing_mm)
    ball = np.indices(scan.image.voxels.shape) - np.reshape(np.array(scan.image.voxels.shape) // 2, (3, 1, 1, 1))
    away = np.sqrt(((ball * spacing.reshape(3, 1, 1, 1)) ** 2).sum(0))
    for radius_mm, counts in ((0.6 * spacing.min(), False), (3.0, True), (8.0, False)):
        seen = {"microbleed": scan.image.like(away <= radius_mm)}
        counted, faint = measurable("microbleed", type(scan)(scan.image, seen, seen, scan.brain))
        assert counted.any() == counts
        assert faint.any() != counts


def test_what_lies_in_gaps_of_the_brain_is_seen_where_the_recipe_fills_them(head):
    tissue = head.tissue.clone()
    tissue[56:64, :, 50:] = CODE["csf"]  # between the hemispheres
    cleft = type(head)(**{**vars(head), "tissue": tissue})
    (scan, left), (same, filled) = (volumes(cleft, 5, gaps_mm=mm).stripped_scan("swi") for mm in (0.0, 14.0))
    assert np.array_equal(scan.image.voxels, same.image.voxels)
    assert np.array_equal(filled[left > 0], left[left > 0])
    assert np.count_nonzero(filled) > 1.02 * np.count_nonzero(left)


def test_blocks_of_hyperintensities_hold_them_at_their_place(head):
    draws = volumes(head, voxel_mm=(1.0, None), healthy=0.0, each=8, on_marker=1.0)
    pictures, targets = (
        torch.stack(part) for part in zip(*(draws.block(sequence="flair") for _ in range(24)), strict=True)
    )
    bright = [float(p[t == 1].mean() > p[(t == 0) & (p > 0)].median()) for p, t in zip(pictures, targets, strict=True)]
    assert np.mean(bright) > 0.9
    assert {slab.seen.shape[0] for slab in draws.slabs} != {draws.slabs[0].seen.shape[0]}  # slices as they were drawn


def test_hyperintensities_start_at_the_share_of_a_voxel_that_is_asked_for(head):
    low, high = (volumes(head, 3, healthy=0.0, target_fraction=share).stripped_scan("flair")[0] for share in (0.1, 0.9))
    assert np.array_equal(low.image.voxels, high.image.voxels)
    assert 0 < high.truth["wmh"].voxels.sum() < 0.9 * low.truth["wmh"].voxels.sum()


def test_a_real_scan_is_cut_into_thick_slices_with_the_teachers_answer_and_silence_where_it_doubted(head):
    size = head.tissue.shape
    image = torch.where(torch.isin(head.tissue, torch.tensor(BRAIN)), 1.0, 0.3)
    lesion = torch.zeros(size, dtype=torch.uint8)
    for side, value, probability in ((-20, 1.6, 240), (20, 1.2, 60)):
        middle = head.centre + torch.tensor([side, 0, 0])
        away = torch.from_numpy(np.indices(size)) - middle.reshape(3, 1, 1, 1)
        here = (away / torch.tensor([6, 6, 12]).reshape(3, 1, 1, 1)).square().sum(0) < 1
        image[here], lesion[here] = value, probability
    draws = volumes(head, voxel_mm=(1.0, None), real=1.0, real_mm=(3.0, 6.0))
    draws.scans = [replace(head, image=image.half(), lesion=lesion)]
    bright, pale = [], []
    for _ in range(6):
        slab = draws.slab("flair")
        assert 10 <= len(slab.seen) <= 20
        bright += slab.seen[slab.targets[0] == 1].tolist()
        pale += slab.seen[slab.targets[0] == UNKNOWN].tolist()
        assert np.quantile(slab.seen[slab.targets[0] == 0].astype(float), 0.99) < 1.5
    assert np.median(bright) > 1.35 > np.median(pale) > 1.05


@pytest.mark.parametrize("name", sorted(path.stem for path in (recipe.HERE / "recipes").glob("*-unet3d*.json")))
def test_recipes_of_3d_networks_draw_what_their_network_tells_apart_and_hold_heads_back(name):
    known = recipe.read_recipe(name)
    sequence = known["draw"][0]["sequence"] if "draw" in known else "ct"
    assert known["network"].get("out_channels", 1) == (1 if sequence == "ct" else len(SEQUENCES[sequence]))
    assert known.get("exclude") == (None if sequence == "flair" else ["08", "09", "14"])


def test_a_3d_network_trains_on_blocks(head, tmp_path, monkeypatch):
    pytest.importorskip("monai", reason="MONAI is not installed")
    for module in (train, ship):
        monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(train, "load_heads", lambda *_: [head])
    monkeypatch.setattr(train, "load_lesion_shapes", lambda *_: ([], head.brain_box))
    small = {
        "network": {"architecture": "UNet3D", "channels": [2, 4], "in_plane_levels": 1}, "steps": 2, "seed": 1,
        "settings": {"wide_mm": [90, 100], "high_mm": 40, "most_slices": 12, "block": [8, 16, 16]},
    }  # fmt: skip
    known = {**recipe.read_recipe("microbleed-unet3d"), **small}
    trained = load_file(train.train(known, tmp_path, torch.device("cpu")) / "weights.safetensors")
    stored = ship.narrowed(trained, 31)
    kernel = next(name for name, values in trained.items() if values.ndim == 5)
    assert stored[kernel].dtype == torch.int8
    back = widened(stored)[kernel]
    assert torch.allclose(back, trained[kernel], atol=float(trained[kernel].abs().max()) / 31)
    still = {**known, "name": "still", "start": "microbleed-unet3d", "frozen_norm": True}
    moved = load_file(train.train(still, tmp_path, torch.device("cpu")) / "weights.safetensors")
    learned = {name for name, values in trained.items() if not torch.equal(values, moved[name])}
    assert kernel in learned
    assert not [name for name in learned if "running" in name]
