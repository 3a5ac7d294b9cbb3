"""The synthetic slices that the models learn from, their training, and that training and use look at the same thing."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import load_file
from scipy import ndimage
from tiny_models import ANATOMY_LABELS, ROOT, SHARED, ball_in

from csvd.bundle import load_bundle
from csvd.grid import Grid
from csvd.networks import build
from csvd.pipelines.walk import BRAIN_EDGE, BRAIN_EDGE_MM
from csvd.preprocessing import BACKGROUND, foreground_scaled, standardise

pytest.importorskip("training.heads", reason="training is not beside the tests")

from made_head import SHAPE, head_of, shells

from training import heads, recipe, scans, ship, synthesis, train
from training.heads import ANATOMY, CODE, STEP_MM
from training.synthesis import Generator, Settings

SMALL = {"shape": (96, 112), "pixel_mm": 1.5}


ball = partial(ball_in, SHAPE)


@pytest.fixture(scope="module")
def head():
    """The shells; the thalamus lies, for once, in front right."""
    tissue = shells()
    tissue[ball((74, 116, 55), (12, 10, 25))] = CODE["thalamus"]
    return head_of(tissue, ball((60, 45, 60), (8, 5, 8)))


@pytest.fixture(autouse=True)
def small_noise(monkeypatch):
    monkeypatch.setattr(synthesis.SmoothNoise, "SIDE", 32)


def generator(head, seed=0, shapes=(), **settings):
    return Generator([head], list(shapes), head.brain_box, Settings(**SMALL, **settings), seed)


# What a slice is


def test_a_seed_repeats_every_slice_and_another_seed_does_not(head):
    first, again, other = (generator(head, seed) for seed in (3, 3, 4))
    for _ in range(2):
        image, target = first.flair()
        same_image, same_target = again.flair()
        assert torch.equal(image, same_image)
        assert torch.equal(target, same_target)
        assert not torch.equal(image, other.flair()[0])
    image, labels = first.anatomy()
    assert all(torch.equal(a, b) for a, b in zip((image, labels), again.anatomy(), strict=True))


def test_a_flair_slice_is_a_brain_near_one_on_zeros_and_a_mask_of_the_same_pixels(head):
    draws = generator(head, seed=1)
    for _ in range(4):
        image, target = draws.flair()
        assert image.shape == target.shape == SMALL["shape"]
        assert set(target.unique().tolist()) <= {0.0, 1.0}
        assert torch.isfinite(image).all()
        assert image.min() >= 0
        assert 0.8 < image[image > 0.5].median() < 1.25
        assert (image == 0).float().mean() > 0.2
        assert ((image == 0) & (target > 0)).sum() <= 0.05 * target.sum()


def test_healthy_slices_have_no_lesion_and_the_others_have(head):
    healthy = generator(head, healthy=1.0)
    assert not any(healthy.flair()[1].any() for _ in range(5))
    priors = dict.fromkeys(("halo", "confluent", "punctate", "map", "shape"), 1.0)
    ill = generator(head, healthy=0.0, priors=priors, low_slices=0)
    assert sum(bool(ill.flair()[1].any()) for _ in range(5)) >= 4


def test_lesions_grow_in_white_matter_only_but_real_shapes_may_touch_the_cortex(head):
    white = torch.tensor(synthesis.WHITE)
    everywhere = torch.full(SHAPE, 255, dtype=torch.uint8)
    cortex = 0
    for shapes in ([], [everywhere]):
        draws = generator(head, shapes=shapes, healthy=0.0, priors=dict.fromkeys(Settings().priors, 1.0))
        for _ in range(6):
            slab = draws.lay_slab(draws.is_brain + draws.is_csf, draws.heads)
            lesion = draws.grow_lesions(slab)
            assert lesion.min() >= 0
            assert lesion.max() <= 1
            grown = slab.tissue[lesion > 0].unique()
            allowed = torch.cat([white, torch.tensor([CODE["cortex"]] if shapes else [], dtype=white.dtype)])
            assert torch.isin(grown, allowed).all()
            cortex += int(CODE["cortex"] in grown)
        assert (cortex > 0) == bool(shapes)


def test_lesions_lie_where_the_target_says(head):
    """The bright pixels match the target best where they are, and worse by any shift of two pixels."""
    settings = {"healthy": 0.0, "lesion_contrast": (2.5, 2.6), "cortex": (1.0, 1.01), "low_slices": 0.0}
    draws = generator(head, seed=5, priors={**Settings().priors, "confluent": 1.0}, **settings)
    shifts = [(r, a) for r in (-2, 0, 2) for a in (-2, 0, 2)]
    match = dict.fromkeys(shifts, 0.0)
    for _ in range(8):
        image, target = draws.flair()
        for shift in shifts:
            match[shift] += float((torch.roll(image, shift, (0, 1)) * target).sum())
    assert max(match, key=match.get) == (0, 0)


def test_axis_0_is_right_and_axis_1_anterior_as_in_use(head):
    """The head is longer than wide, and its thalamus lies in front; sides are mirrored in about half of the draws."""
    draws = generator(head, seed=2, low_slices=0.0)
    sides, longer = [], []
    for _ in range(16):
        _, labels = draws.anatomy()
        brain = ((labels > 0) & (labels != ANATOMY.index("csf"))).nonzero().float()
        extent = brain.max(0).values - brain.min(0).values
        longer.append(float(extent[1] / extent[0]))
        landmark = (labels == ANATOMY.index("deep_grey")).nonzero().float()
        if len(landmark) > 20:
            right, anterior = (landmark.mean(0) - brain.mean(0)).tolist()
            assert anterior > 10
            sides.append(right > 0)
    assert len(sides) >= 8
    assert 0.2 < np.mean(sides) < 0.8
    assert np.median(longer) == pytest.approx(58 / 44, rel=0.1)


def test_a_slice_covers_what_its_pixel_size_says(head):
    """Brain of 88 x 116 mm; heads vary by 7 % and are tilted and warped a little."""
    for pixel_mm, shape in ((1.0, (144, 168)), (1.5, (96, 112))):
        draws = Generator([head], [], head.brain_box, Settings(shape, pixel_mm, low_slices=0.0), 7)
        areas = []
        for _ in range(8):
            labels = draws.anatomy()[1]
            areas.append(float(((labels > 0) & (labels != ANATOMY.index("csf"))).sum()) * pixel_mm**2)
        assert max(areas) == pytest.approx(np.pi * 44 * 58, rel=0.3)


def test_slices_beside_are_channels_around_the_one_that_is_labelled(head):
    """A ball of brain: the channel in the middle fits the labels best, and only one setting asks for neighbours."""
    draws = generator(head, seed=6, low_slices=0.0, thin=0.0, beside_mm=4.0)
    apart = np.zeros(3)
    for _ in range(8):
        image, labels = draws.anatomy()
        assert image.shape == (3, *labels.shape)
        apart += [float(((channel > 0.05) ^ (labels > 0)).sum()) for channel in image]
    assert apart.argmin() == 1
    assert generator(head).anatomy()[0].ndim == 2


# Real scans among them


@pytest.fixture(scope="module")
def scan(head):
    """The same head as a real scan: flat, but for a bright ball that the teacher found and a paler one it doubted."""
    image = torch.where(torch.isin(head.tissue, torch.tensor(heads.BRAIN)), 1.0, 0.3)
    lesion = torch.zeros(SHAPE, dtype=torch.uint8)
    for centre, value, probability in (((60, 45, 60), 1.6, 240), ((40, 100, 60), 1.2, 60)):
        image[ball(centre, (6, 6, 25))] = value
        lesion[ball(centre, (6, 6, 25))] = probability
    return replace(head, image=image.half(), lesion=lesion)


def test_a_real_slice_is_its_picture_with_the_teachers_answer_and_silence_where_it_doubted(head, scan):
    draws = generator(head, healthy=1.0, real=1.0, low_slices=0.0, thin=1.0)
    draws.scans = [scan]
    bright, pale = [], []
    for _ in range(12):
        image, target = draws.flair()
        assert set(target.unique().tolist()) <= {0.0, 1.0, synthesis.UNKNOWN}
        bright += image[target == 1].tolist()
        pale += image[target == synthesis.UNKNOWN].tolist()
        assert image[target == 0].quantile(0.99) < 1.5
    assert np.median(bright) > 1.35 > np.median(pale) > 1.05


def test_lesions_pasted_into_a_real_slice_are_bright_and_in_the_target(head, scan):
    plain = replace(scan, image=torch.where(scan.image > 1, 1.0, scan.image.float()), lesion=scan.lesion * 0)
    draws = generator(head, healthy=0.0, real=1.0, low_slices=0.0, priors={**Settings().priors, "halo": 1.0})
    draws.scans = [plain]
    pasted = [draws.flair() for _ in range(16)]
    values = torch.cat([image[target == 1] for image, target in pasted])
    assert len(values) > 100
    assert values.median() > 1.15
    assert (
        values.median() > torch.cat([image[(target == 0) & (image > 0.5)] for image, target in pasted]).median() + 0.1
    )


def test_the_share_of_real_slices_is_as_set_and_none_without_scans(head, scan):
    draws = generator(head, real=0.5, healthy=1.0)
    assert not any((draws.flair()[1] == synthesis.UNKNOWN).any() for _ in range(3))
    laid = []
    draws.scans, lay = [scan], draws.lay_slab
    draws.lay_slab = lambda wanted, heads: laid.append(heads is draws.scans) or lay(wanted, heads)
    for _ in range(30):
        draws.flair()
    assert 5 < sum(laid) < len(laid) - 5


def test_an_infarct_is_a_bright_or_dark_wedge_at_the_cortex_and_no_lesion(head):
    draws = generator(head, seed=3, healthy=0.0, low_slices=0.0, priors=dict.fromkeys(Settings().priors, 1.0))
    for _ in range(200):
        slab = draws.lay_slab(draws.is_brain + draws.is_csf, draws.heads)
        depth = draws.grow_infarct(slab)
        if depth.max() > 5:
            break
    assert depth.max() > 5
    plain = torch.ones_like(depth)
    shown = draws.show_infarct(plain, depth)
    assert (shown[depth > 3] - 1).abs().median() > 0.05
    assert torch.allclose(shown[depth < -8], plain[depth < -8], atol=0.01)
    draws.grow_infarct = lambda slab: torch.full(slab.tissue.shape, 20.0)
    assert not draws.synthetic_slice(slab)[1].any()


def test_a_whole_head_has_its_scalp(head):
    draws = generator(head, low_slices=0.0, healthy=1.0)
    skin = [
        float((draws.flair(whole_head=whole)[0] > 0.05).float().mean()) for whole in (True, False) for _ in range(8)
    ]
    assert np.median(skin[:8]) > 1.15 * np.median(skin[8:])


def test_what_is_unknown_takes_no_part_in_the_loss():
    target = torch.zeros(1, 8, 8)
    target[:, 2:5, 2:5] = 1
    doubted = target.clone()
    doubted[:, 6] = synthesis.UNKNOWN
    logits = (target * 8 - 4)[:, None].requires_grad_()
    loss, _ = train.wmh_loss(logits, doubted)
    loss.backward()
    assert not logits.grad[:, :, 6].any()
    assert logits.grad[:, :, :6].all()


def test_a_scan_is_brought_to_cubes_of_1_mm_over_the_same_box():
    grid = Grid((200, 180, 11), np.diag([0.7, 0.8, 6.0, 1.0]))
    cubes = scans.cubic_grid(grid)
    assert cubes.spacing_mm == pytest.approx((1, 1, 1))
    assert cubes.shape == (140, 144, 66)
    for ends in ((-0.5, 1), (-0.5 + 66, -1)):
        assert (cubes.affine @ [0, 0, ends[0], 1])[2] == pytest.approx(
            (grid.affine @ [0, 0, -0.5 if ends[1] > 0 else 10.5, 1])[2]
        )


@pytest.mark.skipif(not (SHARED / "flair_longitudinal").is_dir(), reason="the scans are not part of the repository")
def test_the_scans_that_judge_the_models_are_never_learned_from():
    found = {path for pattern in scans.SCANS for path in SHARED.glob(pattern)}
    assert len(found) == 9
    assert not any("flair_lesions" in str(path) or "healthy" in str(path) for path in found)


# Training and use look at the same thing


class Still:
    """Random numbers that change nothing: no gamma, no gain; of ranges, one given value after another."""

    def __init__(self, *values):
        self.values = iter(values)

    def normal(self, mean, _):
        return mean

    def random(self):
        return 1.0

    def uniform(self, low, high):
        value = next(self.values)
        assert low <= value <= high
        return value


def brain_disc(size=120, radius=40):
    r, a = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return ((r - size / 2) ** 2 + (a - size / 2) ** 2 < radius**2).float()


def test_the_network_is_trained_on_the_intensities_that_it_is_given_in_use(head):
    draws, brain = generator(head), brain_disc()
    draws.rng = Still(2.0, 0.3)
    torch.manual_seed(0)
    image = 317 * brain * (1 + 0.1 * torch.randn(brain.shape))
    trained = train.SCALINGS["brain_median"](draws.brain_only(image, brain))
    used = standardise((image / image[brain > 0.5].median()).clip(0, 4))
    core = brain_disc(radius=34) > 0
    assert torch.allclose(trained[core], used[core], atol=1e-5)
    assert trained[core].median() == pytest.approx(0, abs=0.05)
    assert set(trained[brain_disc(radius=52) == 0].unique().tolist()) == {BACKGROUND}


def test_the_edge_of_the_brain_in_use_lies_within_those_of_training(head):
    draws, brain = generator(head), brain_disc()
    areas = []
    for sigma_mm, limit in ((1.5, 0.5), (4.0, 0.15)):  # the tightest and the widest that is drawn
        draws.rng = Still(sigma_mm, limit)
        areas.append(int((draws.brain_only(torch.ones_like(brain), brain) > 0).sum()))
    used = int((ndimage.gaussian_filter(brain.numpy(), BRAIN_EDGE_MM) > BRAIN_EDGE).sum())
    assert areas[0] < used < areas[1]


def test_the_anatomy_network_sees_the_same_scale_as_array_and_as_tensor():
    image = np.random.default_rng(0).gamma(2, 40, (30, 40)).astype(np.float32)
    seen = foreground_scaled(image)
    assert np.allclose(foreground_scaled(torch.from_numpy(image)).numpy(), seen)
    bright = image > image.mean()
    assert (image * (0.5 / image[bright].mean()))[bright].mean() == pytest.approx(0.5)
    assert seen.max() <= 2
    assert np.allclose(foreground_scaled(image * 7), seen, atol=1e-6)
    assert not foreground_scaled(np.zeros((4, 4), np.float32)).any()


CARDS = sorted(path.stem for path in (ROOT / "training" / "cards").glob("*.json"))


def test_the_bundles_say_what_their_cards_and_scores_say_now():
    made = {"runs", "levels", "packed", "training"}  # what ship turns into something else
    for folder, told in ship.shipped():
        card, scores = ship.read_card(folder.name), ship.HERE / "scores" / f"{folder.name}.json"
        assert {key: told.get(key) for key in card.keys() - made} == {key: card[key] for key in card.keys() - made}
        assert told["training"] == card["training"] | {"runs": told["training"]["runs"]}
        assert told["scores"] == (json.loads(scores.read_text(encoding="utf-8")) if scores.exists() else [])


@pytest.mark.parametrize("model", CARDS)
def test_a_card_has_all_that_ship_does_not_add(model):
    """Teachers too, which are shipped only for the training."""
    card = json.loads((ROOT / "training" / "cards" / f"{model}.json").read_text(encoding="utf-8"))
    required = set(json.loads((ROOT / "csvd" / "model.schema.json").read_text(encoding="utf-8"))["required"])
    assert required - {"network", "weights", "scores"} <= set(card)


@pytest.mark.parametrize("model", CARDS)
def test_the_cards_say_how_the_networks_were_trained(model):
    card = json.loads((ROOT / "training" / "cards" / f"{model}.json").read_text())
    networks = set()
    for run in card["runs"]:
        run = recipe.read_recipe(run)
        kind = train.TASKS[run["task"]].settings
        settings = kind(**{**run["settings"], "shape": tuple(run["settings"].get("shape", kind.shape))})
        if kind is train.VolumeSettings:
            size_mm = (card["preprocessing"]["in_plane_mm"], card["preprocessing"].get("slice_mm"))
            assert tuple(settings.voxel_mm) == size_mm
        elif "in_plane_mm" in card["preprocessing"]:
            assert settings.shape == tuple(card["preprocessing"]["canvas"])
            assert settings.pixel_mm == card["preprocessing"]["in_plane_mm"]
        assert run.get("intensity") == card["preprocessing"].get("intensity", run.get("intensity"))
        tasks = {"lesions": "wmh", "even_lesions": "wmh", "even_foci": "foci", "leukoaraiosis_slices": "leukoaraiosis"}
        assert tasks.get(run["task"], run["task"]) == card["task"]
        assert run["network"].get("out_channels", run["network"].get("markers", 1)) == len(card["labels"])
        networks.add(json.dumps(run["network"]))
    assert len(networks) == 1
    if model == "anatomy":
        assert tuple(card["labels"]) == ANATOMY == ANATOMY_LABELS


def test_a_recipe_changes_some_settings_of_its_base_or_replaces_them_all(training_folder):
    (training_folder / "recipes").mkdir()
    recipes = {
        "first": {"settings": {"real": 0.4, "thin": 0.1}},
        "second": {"base": "first", "change": {"thin": 0.5}},
        "third": {"base": "second", "settings": {"thin": 0.7}},
    }
    for name, content in recipes.items():
        (training_folder / "recipes" / f"{name}.json").write_text(json.dumps(content))
    assert recipe.read_recipe("second") == {"name": "second", "settings": {"real": 0.4, "thin": 0.5}}
    assert recipe.read_recipe("third") == {"name": "third", "settings": {"thin": 0.7}}


def test_members_of_the_ensemble_differ_in_seed_and_in_what_they_see():
    runs = json.loads((ROOT / "training" / "cards" / "wmh-seunet.json").read_text())["runs"]
    recipes = [recipe.read_recipe(run) for run in runs]
    assert len(recipes) == 5
    assert len({run["seed"] for run in recipes}) == 5
    assert len({json.dumps([run["settings"], run.get("data_share", 1.0)]) for run in recipes}) == 5
    items = [train.subset(list(range(20)), 0.9, run["seed"]) for run in recipes]
    assert all(len(set(chosen)) == 18 for chosen in items)
    assert len({tuple(chosen) for chosen in items}) > 1


# Heads and shapes from files


def test_a_label_map_becomes_tissues_and_distances_in_ras(tmp_path):
    labels = np.zeros((60, 50, 40), np.uint16)  # (R, A, S) before it is stored otherwise
    labels[15:45, 12:38, 14:26] = 2
    labels[15:17, 12:38, 14:26] = 3  # cortex on the left end
    labels[30:34, 20:30, 18:22] = 4
    labels[10:15, 12:38, 14:26] = 24
    labels[40:42, 20:22, 20] = 25
    labels[5, 5, 5] = 511
    image = sitk.GetImageFromArray(labels.transpose(2, 1, 0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(sitk.DICOMOrient(image, "LIA"), str(tmp_path / "map.nii.gz"))
    made = heads.prepare_head(tmp_path / "map.nii.gz")
    tissue = made["tissue"]
    # the brain's box is cropped with 37, 37 and 12 mm around it, as far as the map goes
    assert tissue.shape == (60, 50, 36)
    here = {name: np.argwhere(tissue == CODE[name]) for name in ("white_matter", "cortex", "lateral_ventricle", "csf")}
    assert here["cortex"].min(0).tolist() == [15, 12, 12]
    assert here["cortex"].max(0).tolist() == [16, 37, 23]
    assert here["lateral_ventricle"].min(0).tolist() == [30, 20, 16]
    assert tissue[40, 20, 18] == CODE["lesion"]
    assert made["lesion"][40:42, 20:22, 18].min() > 60
    # 5 mm to the right of the ventricle's last voxel, and 10 mm from the last voxel of cortex
    assert made["ventricle_mm"][38, 25, 18] == 5 / STEP_MM
    assert made["cortex_mm"][26, 25, 18] == 10 / STEP_MM
    assert made["ventricle_mm"][59, 0, 0] == 255


def test_the_lesions_of_the_scans_that_judge_the_models_are_never_drawn(tmp_path):
    for folder in ("lesion_masks_mni", "mars_atlas"):
        (tmp_path / folder).mkdir()
    for n in (1, 7, 19, 26, 30):
        mask = np.zeros((12, 12, 12), np.uint8)
        mask[2 : 2 + n % 9 + 1, 5, 5] = 1
        sitk.WriteImage(sitk.GetImageFromArray(mask), str(tmp_path / f"lesion_masks_mni/patient{n:02d}.nii.gz"))
    regions = np.zeros((12, 12, 12), np.uint8)
    regions[2:10, 3:9, 1:11] = 4
    sitk.WriteImage(sitk.GetImageFromArray(regions), str(tmp_path / "mars_atlas/regions.nii.gz"))
    shapes, box = heads.load_lesion_shapes(tmp_path)
    assert len(shapes) == 2
    assert box == ((1, 10), (3, 8), (2, 9))


@pytest.mark.skipif(not (SHARED / "label_maps").is_dir(), reason="the label maps are not part of the repository")
def test_every_label_of_a_real_map_is_a_tissue():
    path = min((SHARED / "label_maps").glob("training_seg_*.nii.gz"))
    known = {label for row in heads.TISSUES.values() for label in row["labels"]}
    assert set(np.unique(heads.read_ras(path)).tolist()) <= known


def test_distances_from_random_curves_are_millimetres_and_curves_are_lines():
    from scipy import ndimage

    points = torch.from_numpy(np.indices((60, 60, 60)).reshape(3, -1).astype(np.float32))
    noise = synthesis.SmoothNoise(np.random.default_rng(0), torch.device("cpu"))
    away = noise.from_curves(points, 8.0, 3.0, np.random.default_rng(1)).reshape(60, 60, 60).numpy()
    outside_1_mm = ndimage.distance_transform_edt(away > 1)
    between = (away > 2) & (away < 2.5)
    assert np.median(outside_1_mm[between]) == pytest.approx(2.25 - 1, abs=0.5)
    labels, _ = ndimage.label(away < 1.5, np.ones((3, 3, 3)))
    longest = [max(side.stop - side.start for side in box) for box in ndimage.find_objects(labels)]
    voxels = np.bincount(labels.ravel())[1:]
    assert np.average(longest, weights=voxels) > 20
    assert 0.003 < (away < 1.5).mean() < 0.05


# Training


RECIPE = {
    "name": "tiny", "task": "wmh", "seed": 5, "settings": {}, "batch": 2, "steps": 2, "learning_rate": 0.01,
    "network": {"architecture": "SEUNet", "in_channels": 1, "out_channels": 1, "width": 2},
}  # fmt: skip


@pytest.fixture
def training(training_folder, monkeypatch, head):
    """Training in a folder of its own; the generator knows one small head. Returns its seeds."""
    seeds = []

    def make(recipe, data, seed, device):
        seeds.append(seed)
        return generator(head, seed)

    monkeypatch.setattr(train, "make_generator", make)
    return seeds


def run(**changes):
    return train.train({**RECIPE, **changes}, None, torch.device("cpu"))


def test_training_leaves_weights_of_the_recipe_s_network_a_log_and_a_curve(training):
    folder = run()
    network = build(RECIPE["network"])
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    assert all(torch.isfinite(p).all() for p in network.parameters())
    assert (folder / "log.tsv").read_text().startswith("step\t")
    assert (folder / "curve.png").stat().st_size > 1000


def test_a_worker_draws_ahead_what_training_would_have_drawn(training):
    alone = load_file(run() / "weights.safetensors")
    (train.HERE / "runs" / "tiny" / "checkpoint.pt").unlink()
    helped = load_file(train.train(RECIPE, None, torch.device("cpu"), workers=1) / "weights.safetensors")
    assert len(training) == 1  # the second generator was made in the worker
    assert all(torch.allclose(alone[name], helped[name], atol=1e-5) for name in alone)


def test_training_goes_on_where_it_was_stopped_with_slices_it_has_not_seen(training, monkeypatch):
    monkeypatch.setattr(train, "CHECKPOINT_EVERY", 1)
    task = train.TASKS["wmh"]
    drawn = []

    def stopped_in_the_second_step(source):
        drawn.append(1)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return task.draw(source)

    monkeypatch.setitem(train.TASKS, "wmh", task._replace(draw=stopped_in_the_second_step))
    with pytest.raises(KeyboardInterrupt):
        run(steps=3)
    folder = train.HERE / "runs" / "tiny"
    after_one = load_file(folder / "weights.safetensors")
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] == 1
    run(steps=3)
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] == 3
    assert len(drawn) == 4 + 2 * 2  # two steps of two slices were left
    assert training == [5_000_015, 5_000_016]
    after_three = load_file(folder / "weights.safetensors")
    assert any(not torch.equal(after_one[name], after_three[name]) for name in after_one)


def test_weights_of_a_step_and_of_the_end_are_blended_once(training):
    folder = run(steps=3, blend=1)
    early, blended = (load_file(folder / f"{name}.safetensors") for name in ("blend", "weights"))
    late = torch.load(folder / "checkpoint.pt", weights_only=True)["average"]
    assert any(not torch.equal(early[name], late[name]) for name in late)
    weights = [name for name in late if late[name].is_floating_point()]
    assert all(torch.allclose(blended[name], (early[name] + late[name]) / 2) for name in weights)
    assert all(torch.equal(blended[name], late[name]) for name in set(late) - set(weights))  # counters
    again = load_file(run(steps=3, blend=1) / "weights.safetensors")  # nothing is left to do
    assert all(torch.equal(again[name], blended[name]) for name in late)


def test_the_average_of_the_weights_goes_on_from_the_checkpoint(training):
    folder = run(steps=1)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    former = float(state["average"]["head.bias"])
    state["average"]["head.bias"] += 1000
    torch.save(state, folder / "checkpoint.pt")
    resumed = load_file(run(steps=2, learning_rate=0.0) / "weights.safetensors")
    assert float(resumed["head.bias"]) > former + 50


def test_a_member_starts_from_the_weights_that_its_recipe_names(training):
    run()
    folder = run(name="member", start="tiny", steps=1, learning_rate=0.0)
    start, member = (load_file(train.HERE / "runs" / name / "weights.safetensors") for name in ("tiny", "member"))
    assert folder.name == "member"
    assert torch.allclose(start["head.weight"], member["head.weight"], atol=1e-6)


def test_the_loss_is_small_for_the_truth_and_large_for_its_opposite():
    target = torch.zeros(2, 8, 8)
    target[:, 2:5, 2:5] = 1
    right, dice = train.wmh_loss((target * 40 - 20)[:, None], target)
    wrong, no_dice = train.wmh_loss((20 - target * 40)[:, None], target)
    assert float(right) < 0.01
    assert float(wrong) > 10
    assert dice == pytest.approx(1)
    assert no_dice < 0.1
    labels = torch.randint(0, 3, (2, 8, 8))
    logits = 40.0 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2)
    loss, dice = train.anatomy_loss(logits, labels)
    assert float(loss) < 0.01
    assert dice == pytest.approx(1)


def test_the_learning_rate_rises_then_falls_to_almost_nothing():
    rates = [train.learning_rate(step, 1000, 0.002) for step in range(1000)]
    assert int(np.argmax(rates)) in (train.WARM_UP_STEPS - 1, train.WARM_UP_STEPS)
    assert max(rates) == pytest.approx(0.002)
    assert rates[0] < 0.001 * 0.02 + 1e-5
    assert rates[-1] == pytest.approx(0.00001, rel=0.01)


@pytest.fixture
def card_of_tiny(training, training_folder):
    """The card of a bundle of ``RECIPE``; returns a function that changes its entries."""
    for folder in ("cards", "recipes"):
        (training_folder / folder).mkdir()
    recipe = {k: v for k, v in RECIPE.items() if k != "name"}
    for name, changes in (("tiny", {}), ("after", {"start": "tiny"})):
        (training_folder / "recipes" / f"{name}.json").write_text(json.dumps(recipe | changes))
    card = json.loads((ROOT / "training" / "cards" / "wmh-seunet.json").read_text())
    card = {key: value for key, value in card.items() if key not in ("levels", "packed")}  # stored whole unless asked

    def change(**entries):
        (training_folder / "cards" / "wmh-seunet.json").write_text(json.dumps({**card, "runs": ["tiny"], **entries}))

    change()
    return change


def test_what_is_shipped_loads_as_a_bundle_in_16_bits_and_tells_its_training(card_of_tiny, tmp_path):
    folder = run(steps=50, batch=1)
    assert [row["step"] for row in csv.DictReader((folder / "log.tsv").open(), delimiter="\t")] == ["50"]
    bundle = load_bundle(ship.ship("wmh-seunet", tmp_path / "models"))
    bundle.verify()
    row = bundle.card["weights"][0]
    content = (bundle.folder / row["file"]).read_bytes()
    assert (row["bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    trained = load_file(folder / "weights.safetensors")
    shipped = bundle.networks()[0].state_dict()
    assert all(torch.equal(shipped[k], v.half().float()) for k, v in trained.items() if v.is_floating_point())
    assert bundle.card["training"]["runs"][0]["synthetic_slices"] == 50
    card_of_tiny(packed=True)
    packed = load_bundle(ship.ship("wmh-seunet", tmp_path / "models"))
    assert [path.name for path in packed.folder.glob("*.safetensors*")] == [row["file"] + ".gz"]
    assert all(map(torch.equal, packed.networks()[0].state_dict().values(), shipped.values()))


def test_a_course_goes_on_from_what_a_bundle_ships_where_the_run_before_it_is_not_here(
    card_of_tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(ship, "MODELS", tmp_path / "models")
    before = run(steps=1, batch=1)
    with (before / "log.tsv").open("a") as log:  # has a row only every 50 steps
        log.write("1\t1\t0\t1.00e-03\t1.0000\t0.1000\n")
    ship.ship("wmh-seunet", ship.MODELS)
    shipped = load_bundle(ship.MODELS / "wmh-seunet")
    shutil.rmtree(before)
    after = load_file(run(name="after", start="tiny", steps=1, learning_rate=0.0) / "weights.safetensors")
    known = shipped.networks()[0].state_dict()
    assert all(torch.equal(after[name], known[name]) for name in after if name.endswith("weight"))
    assert ship.trained("tiny") == shipped.card["training"]["runs"][0]
    with pytest.raises(SystemExit, match="Train it first"):
        ship.weights_of("absent")


def test_training_computes_in_narrow_numbers_only_where_the_hardware_does(training, monkeypatch):
    seen = []

    def forward(network, images, targets, task):
        seen.append(torch.is_autocast_enabled("cpu"))
        return network(images)

    monkeypatch.setattr(train, "forward", forward)
    for narrow in (None, torch.bfloat16):
        monkeypatch.setattr(train, "reduced_precision", lambda device, narrow=narrow: narrow)
        run(name=f"narrow {narrow}", steps=1)
    assert seen == [False, True]
