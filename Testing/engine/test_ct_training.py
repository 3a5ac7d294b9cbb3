"""The synthetic head CTs that the leukoaraiosis networks learn from: tissues, disease, scanner, pairs, training."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import ndimage
from torch import nn

from csvd.errors import InputError
from csvd.image import Grid, resample
from csvd.measure.agreement import dice
from csvd.preprocessing import hounsfield_window

pytest.importorskip("training.heads", reason="training is not beside the tests")

from made_head import made_head

from training import ct_from_mri, ct_physics, ct_volumes, heads, recipe, synthesis, train
from training.ct import CTGenerator, CTSettings, Stack, nod, thin_rims, whole_height
from training.ct_physics import AIR_HU, draw_scanner, expose, stored, tissue_hu, with_skull
from training.ct_volumes import CTVolumeGenerator, CTVolumeSettings
from training.heads import CODE, STEP_MM
from training.synthesis import UNKNOWN, Generator, Settings

SMALL = {"shape": (96, 112), "pixel_mm": 1.5}
ILL = {
    "healthy": 0.0,
    "infarct": 0.0,
    "priors": {"halo": 0.0, "confluent": 0.0, "punctate": 0.0, "map": 1.0, "shape": 0},
}
WELL = {"healthy": 1.0, "infarct": 0.0}


@pytest.fixture(scope="module")
def head():
    return made_head()


@pytest.fixture(autouse=True)
def small_noise(monkeypatch):
    monkeypatch.setattr(synthesis.SmoothNoise, "SIDE", 64)
    monkeypatch.setattr(synthesis.SmoothNoise, "SIGMAS", (2.0, 4.0, 8.0))


def generator(head, seed=0, **settings):
    return CTGenerator([head], [], head.brain_box, CTSettings(**{**SMALL, **settings}), seed)


def quiet(seed=0):
    """A scanner that adds nothing."""
    scanner = draw_scanner(np.random.default_rng(seed), (0, 0))
    nothing = {
        "kernel_mm": 0.0,
        "sharpen": 0.0,
        "hardening": 0.0,
        "glow_hu": 0.0,
        "starvation_hu": 0.0,
        "offset_hu": 0.0,
    }
    return replace(scanner, **nothing, gain=1.0, background=AIR_HU, cut=False)


def middle_slab(draws, head, thickness=5.0):
    """A slice through the lateral ventricles of the head as it is."""
    patient = draws.draw_patient(head, 0.0, 58.0)
    patient = replace(patient, matrix=torch.eye(3), warp=0 * patient.warp)
    return draws.lay(patient, Stack((*SMALL["shape"], 1), SMALL["pixel_mm"], thickness, thickness, nod(0)))


# Tissues and disease


def test_a_rim_that_stays_near_the_ventricles_is_neither_learned_nor_unlearned():
    lesion, from_ventricles = torch.zeros(12, 12, dtype=bool), torch.arange(12.0).repeat(12, 1)
    lesion[2, 1:5] = lesion[5, 3:7] = lesion[9, 9] = True  # as far as 4, 6 and 9 mm; a band of 4.5 mm is no lesion
    rims = thin_rims(lesion, from_ventricles, 4.5)
    assert rims.nonzero().tolist() == [[2, column] for column in range(1, 5)]


def test_in_a_stack_a_rim_is_a_lesion_where_another_slice_of_it_reaches_farther():
    lesion, from_ventricles = torch.zeros(3, 12, 12, dtype=bool), torch.arange(12.0).repeat(3, 12, 1)
    lesion[0, 2, 1:5] = lesion[1, 2, 4:8] = lesion[1, 9, 1:5] = True
    assert thin_rims(lesion, from_ventricles, 4.5).nonzero().tolist() == [[1, 9, column] for column in range(1, 5)]


def test_only_a_recipe_that_names_a_rim_leaves_it_unknown(head):
    _, plain = generator(head, **ILL).ct()
    _, spared = generator(head, **ILL, rim_mm=1000.0).ct()
    assert set(plain.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(spared == UNKNOWN, plain == 1)


def test_every_tissue_has_its_attenuation_and_grey_matter_is_above_white():
    for seed in range(300):
        hu = tissue_hu(np.random.default_rng(seed).uniform)
        assert 25 <= hu["white_matter"] <= 33
        assert 34 <= hu["cortex"] <= 46
        assert 4 <= hu["cortex"] - hu["white_matter"] <= 16
        assert all(33 <= hu[name] <= 47 for name in ("caudate", "putamen"))
        assert 0 <= hu["csf"] <= 12
        assert 5 <= hu["lateral_ventricle"] <= 12
        assert 40 <= hu["artery"] <= 80
        assert hu["bone"] > 700
        assert hu["bone"] > hu["marrow"] > 200
        assert -100 <= hu["skin"] <= 60
        assert hu["air"] == -1000


def test_a_slice_without_noise_shows_every_tissue_within_its_range(head):
    for seed in range(4):
        draws = generator(head, seed, **WELL)
        slab = middle_slab(draws, head)
        hu = draws.hu_signal(slab, torch.zeros(slab.tissue.shape), SMALL["pixel_mm"])
        inner = synthesis.sample(head.cortex_mm, slab.points) * STEP_MM > 8
        medians = {
            name: float(hu[(slab.tissue == CODE[name]) & (inner | (name != "white_matter"))].median())
            for name in ("white_matter", "cortex", "lateral_ventricle", "bone")
        }
        assert 21 <= medians["white_matter"] <= 34
        assert 33 <= medians["cortex"] <= 47
        assert medians["cortex"] > medians["white_matter"]
        assert 5 <= medians["lateral_ventricle"] <= 12
        assert medians["bone"] > 700


def test_leukoaraiosis_is_5_to_15_hu_below_white_matter_and_nowhere_else(head):
    for seed in range(3):
        slab = middle_slab(generator(head, seed), head)
        lesion, _ = generator(head, seed, **ILL).disease(slab)
        well, ill = (generator(head, seed).hu_signal(slab, share, SMALL["pixel_mm"]) for share in (0 * lesion, lesion))
        darker = well - ill
        assert darker.min() >= 0
        assert not darker[slab.tissue != CODE["white_matter"]].any()
        assert not lesion[slab.tissue != CODE["white_matter"]].any()
        assert 5 <= darker.max() <= 15
        assert darker[lesion > 0.8].median() > 0.6 * darker.max()


def test_leukoaraiosis_is_never_as_dark_as_the_ventricles(head):
    darkest, possible = [], []
    for seed in range(8):
        slab = middle_slab(generator(head, seed), head)
        lesion = (slab.tissue == CODE["white_matter"]).float()
        dark = {"leukoaraiosis_hu": (15, 15)}
        well, ill = (
            generator(head, seed, **dark).hu_signal(slab, share, SMALL["pixel_mm"]) for share in (0 * lesion, lesion)
        )
        mean = tissue_hu(generator(head, seed).uniform)  # the first that is drawn
        darkest.append(float((well - ill).max()))
        possible.append(0.75 * (mean["white_matter"] - mean["lateral_ventricle"]))
    assert darkest == pytest.approx([min(15, most) for most in possible], rel=1e-3)
    assert min(possible) < 15 < max(possible)


def test_what_is_thin_is_fainter_than_what_is_thick(head):
    draws = generator(head)
    slab = middle_slab(draws, head)
    right = slab.points[0]
    thin, thick = ((right > 90) & (right < 90 + width) for width in (1.6, 8))
    fainter = []
    for _ in range(10):
        state = draws.rng.bit_generator.state
        shown = []
        for sheet in (thin, thick):
            draws.rng.bit_generator.state = state
            shown.append(
                float(draws.softened(slab, (sheet & (slab.tissue == CODE["white_matter"])).float(), 1.5).max())
            )
        fainter.append(shown[0] < 0.97 * shown[1])
    assert sum(fainter) >= 7


def test_infarcts_are_16_to_24_or_5_to_14_hu_and_no_target(head):
    draws = generator(head, infarct=1.0, healthy=0.0)
    slab = middle_slab(draws, head)
    depth = torch.where(slab.points[0] > 60, 20.0, -20.0)
    plain = torch.where(slab.tissue == CODE["white_matter"], 30.0, 38.0)
    brain = draws.is_parenchyma[slab.tissue] > 0
    kinds = {"acute": 0, "old": 0}
    for _ in range(20):
        shown = draws.show_infarct_hu(plain, depth, slab.tissue)
        assert torch.allclose(shown[depth < 0], plain[depth < 0], atol=0.01)
        inside = shown[brain & (depth > 0)]
        assert inside.max() - inside.min() < 0.01  # grey and white matter are alike
        kind = "acute" if 16 <= inside.mean() <= 24 else "old"
        assert kind == "acute" or 5 <= inside.mean() <= 14
        kinds[kind] += 1
    assert min(kinds.values()) > 3
    draws.grow_infarct = lambda slab: torch.full(slab.tissue.shape, 20.0)
    assert not any(draws.ct()[1].any() for _ in range(4))


def test_lesions_are_where_the_slice_is_darker_than_white_matter(head):
    draws = generator(head, 4, **ILL, leukoaraiosis_hu=(14.9, 15), noise_hu=(0, 0), low_slices=0.0, stripped=1.0)
    inside, outside = [], []
    for _ in range(10):
        image, target = draws.ct()
        white = (image > 22) & (image < 34)
        core = torch.from_numpy(ndimage.binary_erosion(target.numpy() > 0, iterations=2))
        inside += image[core].tolist()
        outside += image[white & (target == 0)].tolist()
    assert len(inside) > 100
    assert np.median(inside) < np.median(outside) - 7


# What a slice is


def test_a_slice_is_a_brain_in_air_or_a_whole_head_and_a_mask_of_the_same_pixels(head):
    for stripped in (1.0, 0.0):
        draws = generator(head, 1, low_slices=0.0, stripped=stripped, healthy=1.0)
        for _ in range(4):
            image, target = draws.ct()
            assert image.shape == target.shape == SMALL["shape"]
            assert set(target.unique().tolist()) <= {0.0, 1.0}
            assert torch.isfinite(image).all()
            brain = image[(image > 10) & (image < 60)]
            assert 20 < brain.median() < 45
            assert bool((image > 600).sum() > 300) != bool(stripped)


def test_a_seed_repeats_every_slice_and_another_seed_does_not(head):
    first, again, other = (generator(head, seed) for seed in (3, 3, 4))
    for _ in range(2):
        image, target = first.ct()
        same_image, same_target = again.ct()
        assert torch.equal(image, same_image)
        assert torch.equal(target, same_target)
        assert not torch.equal(image, other.ct()[0])


def test_a_generator_of_cts_draws_the_flair_slices_of_any_generator(head):
    draws = Generator([head], [], head.brain_box, Settings(**SMALL), 3)
    same = {f.name: getattr(Settings(), f.name) for f in fields(Settings) if f.name not in SMALL}
    of_ct = CTGenerator([head], [], head.brain_box, CTSettings(**SMALL, **same), 3)
    for _ in range(6):
        image, target = draws.flair()
        again = of_ct.flair()
        assert torch.equal(image, again[0])
        assert torch.equal(target, again[1])


def test_fine_pixels_show_the_same_head_and_the_same_lesions(head):
    sizes = {}
    for pixel_mm, shape in ((0.82, (160, 192)), (0.41, (320, 384))):
        draws = generator(head, 5, **ILL, shape=shape, pixel_mm=pixel_mm, low_slices=0.0, stripped=1.0)
        drawn = [draws.ct() for _ in range(3)]
        assert drawn[0][0].shape == shape
        masks = (torch.cat([image > -500 for image, _ in drawn]), torch.cat([target for _, target in drawn]))
        sizes[pixel_mm] = [float(mask.sum()) * pixel_mm**2 for mask in masks]
    assert sizes[0.41] == pytest.approx(sizes[0.82], rel=0.03)
    assert sizes[0.41][1] > 100


# The scanner


def test_noise_is_2_to_4_hu_in_5_mm_less_in_thick_slices_and_correlated():
    water = torch.zeros(128, 128)
    random = torch.Generator().manual_seed(0)
    for seed in range(5):
        scanner = replace(quiet(), noise_hu=draw_scanner(np.random.default_rng(seed), (2, 4)).noise_hu, grain_mm=0.5)
        thick, usual, thin = (expose(water, scanner, mm, 0.82, 1, random) for mm in (8, 5, 1.25))
        assert 1.8 < usual.std() < 4.6
        assert float(thin.std() / usual.std()) == pytest.approx(2, rel=0.1)
        assert float(thick.std() / usual.std()) == pytest.approx(0.79, rel=0.1)
        neighbours = np.corrcoef(usual[:-1].ravel().numpy(), usual[1:].ravel().numpy())[0, 1]
        assert neighbours > 0.2


def test_the_bar_between_two_petrous_bones_is_dark():
    hu = torch.full((150, 150), 30.0)
    hu[35:60, 70:80] = hu[90:115, 70:80] = 1500
    artefact = ct_physics.beam_hardening(hu, 1.0, 0.006)
    between, elsewhere = artefact[70:80, 72:78].mean(), artefact[70:80, 20:40].mean()
    assert -40 < between - elsewhere < -3
    assert not ct_physics.beam_hardening(torch.full((60, 60), 30.0), 1.0, 0.006).any()


def test_the_table_lies_behind_the_head_in_air_only():
    hu, head = torch.full((200, 260), AIR_HU), torch.zeros(200, 260)
    head[60:140, 120:220], hu[60:140, 120:220] = 1, 40
    for seed in range(20):
        scanner = draw_scanner(np.random.default_rng(seed), (2, 4))
        shown = ct_physics.add_table(hu, head, ct_physics.head_box(head, 1.0), scanner, 1.0)
        changed = shown != hu
        assert changed.sum() > 200
        assert not changed[head > 0].any()
        assert changed.nonzero()[:, 1].max() < 160
        assert shown[changed].max() <= 250


def test_the_table_is_no_leukoaraiosis(head):
    draws = generator(head, 2, **WELL, stripped=0.0)
    assert not any(draws.ct()[1].any() for _ in range(6))


def test_every_background_is_drawn_and_negative_values_may_be_cut():
    hu = torch.full((120, 120), -1000.0)
    hu[40:80, 40:80] = 31.4
    seen, cut = set(), 0
    for seed in range(120):
        scanner = replace(draw_scanner(np.random.default_rng(seed), (2, 4)), circle_mm=50)
        written = stored(hu, scanner, 1.0)
        assert written[60, 60] == 31
        seen.add(float(written[0, 0]))
        cut += scanner.cut
        assert written.min() >= 0 or not scanner.cut
    assert seen == {-1000, -1024, -2000, -3024, 0}
    assert 10 < cut < 60


def test_a_skull_is_closed(head):
    broken = head.tissue.clone()
    broken[55:65, 139:150, 50:60] = CODE["air"]
    closed = with_skull(replace(head, tissue=broken)).tissue
    ring = closed[60, :, 55]
    last_fluid = int((ring == CODE["csf"]).nonzero().max())
    assert (ring[last_fluid + 1 : last_fluid + 3] == CODE["bone"]).all()
    kept = torch.isin(broken, torch.tensor([*heads.BRAIN, CODE["csf"]], dtype=torch.uint8))
    assert torch.equal(closed[kept], broken[kept])


# Whole scans and pairs


def test_a_tilted_gantry_keeps_the_lesions_volume(head):
    volumes, sheared = [], []
    for tilt in (0.0, 25.0):
        draws = generator(head, 6, **ILL)
        patient = draws.draw_patient(head, 0.0, whole_height(head))
        stack = Stack((*SMALL["shape"], 30), SMALL["pixel_mm"], 5.0, 5.0, nod(tilt), along_table=True)
        scan = draws.volume(patient, stack)
        volumes.append(scan.lesion.voxels.sum() * scan.lesion.voxel_volume_ml)
        axes = stack.affine[:3, :3] / np.linalg.norm(stack.affine[:3, :3], axis=0)
        sheared.append(float(axes[:, 1] @ axes[:, 2]))
    assert volumes[0] > 5
    assert volumes == pytest.approx([volumes[0]] * 2, rel=0.05)
    assert sheared == pytest.approx(np.sin(np.deg2rad([0, 25])))


def test_ct_and_flair_of_a_pair_show_the_same_lesions(head):
    settings = {**ILL, "leukoaraiosis_hu": (14, 15), "lesion_contrast": (1.7, 1.8)}
    ct_stack = Stack((104, 128, 28), 1.2, 5.0, 5.0, nod(0))
    flair_stack = Stack((96, 112, 36), 1.4, 4.0, 4.0, nod(10))
    ct, flair, ct_to_flair = generator(head, 7, **settings).pair(head, ct_stack, flair_stack)
    assert ct.image.voxels.shape == (104, 128, 28)
    assert np.allclose(ct_to_flair[:3, :3] @ ct_to_flair[:3, :3].T, np.eye(3))
    on_ct = Grid(flair.image.voxels.shape, np.linalg.inv(ct_to_flair) @ flair.image.affine)
    there = resample(flair.lesion.voxels.astype(np.float32), on_ct, ct.image.grid) > 0.5
    assert dice(there, ct.lesion.voxels) > 0.75
    volumes = [scan.lesion.voxels.sum() * scan.lesion.voxel_volume_ml for scan in (ct, flair)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.1)
    for scan, sign in ((ct, -1), (flair, 1)):
        inner = ndimage.binary_erosion(scan.brain.voxels, iterations=5) & ~scan.ventricles.voxels
        inner &= ~ndimage.binary_dilation(scan.ventricles.voxels | scan.lesion.voxels)
        core = ndimage.binary_erosion(scan.lesion.voxels, np.ones((3, 3, 1)))
        difference = np.median(scan.image.voxels[core]) - np.median(scan.image.voxels[inner])
        assert sign * difference > 5


def test_the_volumes_of_a_seed_repeat(head):
    stack = Stack((64, 80, 6), 2.0, 5.0, 6.0, nod(5), along_table=True)
    scans = []
    for _ in range(2):
        draws = generator(head, 8)
        scans.append(draws.volume(draws.draw_patient(head, 5.0, 58.0), stack))
    assert np.array_equal(scans[0].image.voxels, scans[1].image.voxels)
    assert np.array_equal(scans[0].lesion.voxels, scans[1].lesion.voxels)
    assert scans[0].image.voxels.dtype == np.int16


# What the network sees, and training


def test_a_hounsfield_unit_means_the_same_everywhere():
    hu = np.array([[-3024.0, -1000, 0, 20], [30, 40, 80, 1500]], np.float32)
    expected = [[-3, -3, -3, -1], [0, 1, 5, 5]]
    assert hounsfield_window(hu).tolist() == expected
    assert hounsfield_window(torch.from_numpy(hu)).tolist() == expected
    assert hounsfield_window(hu, 10, 45)[0].tolist() == [-2, -2, -2, -1]
    assert hounsfield_window(hu).dtype == np.float32


class Tiny(nn.Module):
    """Two levels: a list of logits while it is trained, the fine ones in use."""

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, stride=2, padding=1)

    def forward(self, x):
        return [self.fine(x), self.coarse(x)] if self.training else self.fine(x)


def test_levels_count_half_of_the_one_above_and_keep_small_lesions():
    target = torch.zeros(2, 16, 16)
    target[:, 5, 5] = 1
    truths = [nn.functional.adaptive_max_pool2d(target, n) for n in (16, 8, 4)]
    right = [40 * truth[:, None] - 20 for truth in truths]
    loss, score = train.ct_loss(right, target)
    assert float(loss) < 0.01
    assert score == pytest.approx(1)
    for n in range(3):
        wrong = float(train.ct_loss([*right[:n], -right[n], *right[n + 1 :]], target)[0])
        assert wrong == pytest.approx(float(train.wmh_loss(-right[n], truths[n])[0]) * 0.5**n / 1.75, rel=0.01)
    assert float(train.ct_loss(right[0], target)[0]) == pytest.approx(float(train.wmh_loss(right[0], target)[0]))


def test_a_ct_recipe_trains_a_network_of_several_levels(head, training_folder, monkeypatch):
    monkeypatch.setattr(train, "build", lambda description: Tiny())
    monkeypatch.setattr(train, "load_heads", lambda *_: [head])
    monkeypatch.setattr(train, "load_lesion_shapes", lambda data: ([head.lesion], head.brain_box))
    settings = {**SMALL, "shape": list(SMALL["shape"]), "noise_hu": [2, 4]}
    run = {
        "name": "tiny",
        "task": "leukoaraiosis",
        "intensity": "hounsfield",
        "seed": 5,
        "settings": settings,
        "network": {},
    }
    folder = train.train({**run, "batch": 1, "steps": 2, "learning_rate": 0.01}, None, torch.device("cpu"))
    weights = load_file(folder / "weights.safetensors")
    assert set(weights) == set(Tiny().state_dict())
    assert all(torch.isfinite(values).all() for values in weights.values())


def test_the_ct_recipes_fit_their_network():
    coarse, fine = recipe.read_recipe("ct-coarse"), recipe.read_recipe("ct")
    for run in (coarse, fine):
        settings = CTSettings(**{k: tuple(v) if isinstance(v, list) else v for k, v in run["settings"].items()})
        halvings = 2 ** (len(run["network"]["features"]) - 1)
        assert settings.pixel_mm == 0.82  # twice the 0.41 mm of Ryu et al.
        assert not any(n % halvings for n in settings.shape)
        assert train.TASKS[run["task"]].settings is CTSettings
        assert run["intensity"] in train.PREPARE
    assert fine["network"] == coarse["network"]
    assert fine["start"] == "ct-coarse"
    assert fine["exclude"] == recipe.read_recipe("anatomy")["exclude"]


# Blocks for networks that see in 3D


def blocks(head, seed=0, **settings):
    small = {
        **SMALL, "block": (8, 24, 24), "each": 8,
        "thickness_mm": (4.0, 7.0), "noise_hu": (2.0, 2.0),
    }  # fmt: skip
    return CTVolumeGenerator([head], [], head.brain_box, CTVolumeSettings(**{**small, **settings}), seed)


def test_blocks_of_a_ct_hold_leukoaraiosis_at_its_place_and_nothing_outside_the_brain(head):
    draws = blocks(head, **ILL, on_marker=1.0)
    drawn = [draws.block() for _ in range(24)]
    assert {part.shape for pair in drawn for part in pair} == {(1, 8, 24, 24)}
    assert len(draws.slabs) == 3
    darker = [
        float(hu[target == 1].mean() < hu[(target == 0) & (hu > AIR_HU)].mean()) for hu, target in drawn
        if (target == 1).any()
    ]  # fmt: skip
    assert len(darker) > 20
    assert np.mean(darker) > 0.9
    for slab in draws.slabs:
        outside = slab.seen == AIR_HU
        assert outside[:, 0].all()  # no table, no skull at the rim of the field of view
        assert not (slab.targets[0][outside] == 1).any()


def test_blocks_of_a_ct_leave_rims_unknown(head):
    plain, spared = (blocks(head, **ILL, rim_mm=rim_mm).slab().targets for rim_mm in (0.0, 1000.0))
    assert (plain == 1).any()
    assert set(np.unique(spared)) == {UNKNOWN, 0}
    assert np.array_equal(spared == UNKNOWN, plain == 1)


def test_neighbouring_slices_of_a_ct_come_with_the_leukoaraiosis_of_the_one_in_the_middle(head):
    shape = SMALL["shape"]
    draws = blocks(head, **ILL, on_marker=1.0, block=(3, *shape), mirrored=(0,))
    for _ in range(8):
        slices, target = draws.neighbours()
        assert slices.shape == (3, *shape)
        assert target.shape == shape
        assert (target == 1).any()  # the slice in the middle is the one that holds the voxel it was laid around
        (slab,) = draws.slabs
        places = [k for k, plane in enumerate(slab.targets[0]) if np.array_equal(plane, target)]
        assert any(np.array_equal(slab.seen[k], slices[1]) for k in places)


def test_slices_that_overlap_are_more_and_hold_some_of_their_neighbours(head):
    alike = {"thickness_mm": (6.0, 6.0), "noise_hu": (0.0, 0.0)}
    beside, over = (blocks(head, 3, **alike, apart=(share, share)).slab() for share in (1.0, 0.5))
    assert len(over.seen) == 2 * len(beside.seen)
    steps = [np.abs(np.diff(slab.seen.astype(float).clip(0, 80), axis=0)).mean() for slab in (beside, over)]
    assert steps[1] < 0.8 * steps[0]


def test_the_median_of_white_matter_is_brought_to_its_level_in_blocks_of_a_ct(head):
    levels = [
        np.median(slab.seen[slab.seen > AIR_HU].astype(float))
        for slab in (blocks(head, healthy=1.0, white_hu=hu).slab() for hu in (20.0, 40.0))
    ]
    assert levels[1] - levels[0] == pytest.approx(20, abs=0.1)


def test_the_level_of_a_block_is_that_of_white_matter_alone(head, monkeypatch):
    """Whatever the contrast: not of brain tissue as a whole."""
    seen = []
    monkeypatch.setattr(ct_volumes, "levelled", lambda hu, white, level: seen.append((hu, white, level)) or hu)
    draws = blocks(head, healthy=1.0, white_hu=30.0)
    draws.slab()
    ((hu, white, level),) = seen
    brain = hu > AIR_HU
    assert level == 30
    assert 0.1 < (white & brain).sum() / brain.sum() < 0.7
    assert np.median(hu[white & brain]) < np.median(hu[brain & ~white])


# The label of a real CT, from its FLAIR


class KnownAnatomy:
    """What ``find_anatomy`` answers, from the truth of a synthetic scan."""

    def __init__(self, scan):
        self.masks = {"brain": scan.brain, "intracranial": scan.brain, "lateral_ventricles": scan.ventricles}

    def mask(self, group, grid):
        return resample(self.masks[group].voxels, self.masks[group].grid, grid, order=0)


def test_the_lesions_of_a_flair_come_to_lie_on_those_of_the_ct(head, tmp_path, monkeypatch):
    draws = generator(head, 9, **ILL, size_sd=0.0, leukoaraiosis_hu=(12, 15))
    ct, flair, _ = draws.pair(
        head, Stack((80, 96, 24), 1.7, 5.0, 5.0, nod(0)), Stack((90, 104, 28), 1.5, 4.0, 4.5, nod(6))
    )
    scans = {scan.image.voxels.shape: scan for scan in (ct, flair)}
    monkeypatch.setattr(ct_from_mri, "find_anatomy", lambda image, **_: (KnownAnatomy(scans[image.voxels.shape]), []))
    label = ct_from_mri.carry_label(ct.image, flair.image, lesions=flair.lesion.voxels, threshold=0.5, model="rigid")
    assert dice(label.leukoaraiosis.voxels, ct.lesion.voxels) > 0.7
    assert label.ventricle_dice > ct_from_mri.LEAST_VENTRICLE_DICE
    paper = ct_from_mri.carry_label(ct.image, flair.image, lesions=flair.lesion.voxels, model="rigid")
    assert paper.leukoaraiosis.voxels.sum() > label.leukoaraiosis.voxels.sum()
    label.save(tmp_path / "out")
    names = {"leukoaraiosis.nii.gz", "flair_on_ct.nii.gz", "ct_to_flair.tfm", "ct_to_flair.tfm.json", "quality.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    facts = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert facts["good"] == (not facts["doubts"])
    assert facts["mutual_information_after"] > facts["mutual_information_before"]
    shifted = flair.ventricles.like(np.roll(flair.ventricles.voxels, 12, 0))
    scans[flair.image.voxels.shape] = replace(flair, ventricles=shifted)
    wrong = ct_from_mri.carry_label(ct.image, flair.image, lesions=flair.lesion.voxels, model="rigid")
    assert any("ventricles" in doubt for doubt in wrong.doubts)
    with pytest.raises(InputError, match="below 1"):
        ct_from_mri.carry_label(ct.image, flair.image, lesions=flair.lesion.voxels, threshold=1)
