"""Brain and ventricles: where they are, on any grid, without islands, and no brain is said and not guessed."""

import numpy as np
import pytest
from phantoms import OBLIQUE, ORIENTATIONS, oriented_affine
from tiny_models import (
    ANATOMY_LABELS,
    BRAIN,
    PIXEL_MM,
    VENTRICLE,
    Ellipsoid,
    anatomy_network,
    centroid_mm,
    inside,
    requires_models,
    requires_sample,
    sample_scan,
    sharp_head,
    write_bundle,
    write_models,
)

from csvd.anatomy import GROUPS, Anatomy, find_anatomy, largest_piece, steps_beside
from csvd.bundle import load_bundle
from csvd.errors import Cancelled, InputError, ModelError
from csvd.image import Grid, Image
from csvd.pipelines.walk import without_gaps
from csvd.pipelines.wmh import relative_slices

GRID = Grid((20, 20, 5), oriented_affine((0, 1, 2), (1, 1, 1), (1.0, 1.0, 4.0), (20, 20, 5)))


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("CSVD_MODELS", str(write_models(tmp_path / "models")))
    return tmp_path / "models"


def anatomy(grid=GRID, **shares):
    """Anatomy with the given boolean masks as certain groups and nothing in the others."""
    nothing = np.zeros(grid.shape, np.uint8)
    filled = {group: np.where(mask, 255, 0).astype(np.uint8) for group, mask in shares.items()}
    return Anatomy(grid, ANATOMY_LABELS, nothing, dict.fromkeys(GROUPS, nothing) | filled)


def box(*sides, shape=GRID.shape):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def test_the_largest_piece_is_kept_and_touching_corners_do_not_join():
    mask = box((2, 6), (2, 6), (1, 3)) | box((6, 8), (6, 8), (1, 3))
    assert np.array_equal(largest_piece(mask), box((2, 6), (2, 6), (1, 3)))


def test_holes_are_filled_in_each_slice_even_where_they_are_open_above():
    mask = box((2, 9), (2, 9), (0, 4))
    hollow = mask & ~box((4, 7), (4, 7), (1, 5))
    assert np.array_equal(largest_piece(hollow), mask)


def test_no_piece_at_all_stays_none():
    assert not largest_piece(np.zeros((4, 4, 3), bool)).any()


def test_a_share_on_its_own_grid_is_what_the_network_said():
    found = anatomy(intracranial=box((2, 18), (2, 18), (0, 5)), brain=box((3, 17), (3, 17), (1, 4)))
    assert np.array_equal(found.share("brain", GRID), box((3, 17), (3, 17), (1, 4)).astype(np.float32))
    assert found.brain_ml == pytest.approx(14 * 14 * 3 * 4 / 1000)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS[::7])
@pytest.mark.parametrize("rotation", [None, OBLIQUE], ids=["straight", "oblique"])
def test_a_mask_lies_at_the_same_place_of_the_world_on_another_grid(axes, signs, rotation):
    ball = Ellipsoid((14, -20, 25), (15, 20, 16))
    here = Grid((64, 72, 24), oriented_affine((0, 1, 2), (1, 1, 1), (1.5, 1.5, 4.0), (64, 72, 24), rotation))
    mask = inside(ball, Image(np.zeros(here.shape), here.affine))
    found = anatomy(here, intracranial=mask, brain=mask)
    there = Grid((60, 60, 40), oriented_affine(axes, signs, (1.9, 2.1, 2.3), (60, 60, 40)))
    seen = found.mask("brain", there)
    assert centroid_mm(seen, there.affine) == pytest.approx(ball.centre, abs=0.5)
    volume_ml = 4 / 3 * np.pi * 15 * 20 * 16 / 1000
    assert seen.sum() * there.voxel_volume_ml == pytest.approx(volume_ml, rel=0.04)


def test_beyond_the_picture_nothing_is_known_and_the_share_is_zero():
    found = anatomy(intracranial=box((0, 20), (0, 20), (0, 5)), brain=box((0, 20), (0, 20), (0, 5)))
    wider = Grid((40, 40, 5), oriented_affine((0, 1, 2), (1, 1, 1), (1.0, 1.0, 4.0), (40, 40, 5)))
    assert found.mask("brain", wider).sum() == 20 * 20 * 5


def test_islands_outside_the_head_are_no_brain_and_specks_are_no_ventricle():
    head, island = box((2, 14), (2, 14), (0, 5)), box((17, 20), (17, 20), (1, 3))
    ventricle, speck = box((5, 9), (5, 9), (2, 4)), box((11, 13), (11, 13), (1, 2))  # .128 and .016 mL; the limit is .1
    bright = ventricle | speck | box((18, 20), (0, 9), (0, 4))
    found = anatomy(intracranial=head | island, brain=head | island, lateral_ventricles=bright)
    assert np.array_equal(found.mask("brain", GRID), head)
    assert np.array_equal(found.mask("lateral_ventricles", GRID), ventricle)


def test_the_intracranial_space_is_drawn_tighter_than_the_rest_but_never_inside_the_brain():
    found = anatomy(intracranial=box((2, 18), (2, 18), (0, 5)), brain=box((2, 10), (2, 18), (0, 5)))
    for level, drawn in ((0.6, False), (0.8, True)):
        found.shares["intracranial"][2:18, 2:18, :] = round(255 * level)
        mask = found.mask("intracranial", found.grid)
        assert mask[2:10, 2:18].all()
        assert mask[10:18, 2:18].all() == mask[10:18, 2:18].any() == drawn


@pytest.mark.parametrize(("pixel_mm", "steps"), [(1.0, 2), (1.5, 1), (0.7, 3), (5.0, 1)])
def test_lesions_may_reach_two_millimetres_into_the_cortex_within_the_slice(pixel_mm, steps):
    grid = Grid((21, 21, 3), oriented_affine((0, 1, 2), (1, 1, 1), (pixel_mm, pixel_mm, 4.0), (21, 21, 3)))
    everywhere = np.ones(grid.shape, bool)
    here = box((10, 11), (10, 11), (1, 2), shape=grid.shape)
    allowed = anatomy(grid, intracranial=everywhere, brain=everywhere, lesion_bearing=here).lesion_share(grid)
    right, anterior, superior = np.indices(grid.shape)
    diamond = (abs(right - 10) + abs(anterior - 10) <= steps) & (superior == 1)
    assert np.array_equal(allowed, diamond.astype(np.float32))


def test_no_lesion_can_lie_outside_the_head():
    head, island = box((2, 14), (2, 14), (0, 5)), box((17, 20), (17, 20), (1, 3))
    found = anatomy(intracranial=head | island, brain=head | island, lesion_bearing=head | island)
    assert not found.lesion_share(GRID)[17:, 17:].any()


def test_the_anatomy_of_a_head_is_found_where_it_is(models):
    head = sharp_head(lesions=())
    found, warnings = find_anatomy(head, device="cpu")
    assert np.array_equal(found.mask("lateral_ventricles", head.grid), inside(VENTRICLE, head))
    assert np.array_equal(found.mask("brain", head.grid), inside(BRAIN, head))
    assert np.array_equal(found.mask("tissue", head.grid), inside(BRAIN, head) & ~inside(VENTRICLE, head))
    assert found.brain_ml == pytest.approx(inside(BRAIN, head).sum() * 9 / 1000)
    # the scan's pixels are the network's own, so the labels lie on the scan's grid as they are
    for name, where in (("lateral_ventricles", inside(VENTRICLE, head)), ("background", ~inside(BRAIN, head))):
        assert np.array_equal(found.labels == ANATOMY_LABELS.index(name), where)
    # 4/3 pi x 48 x 62 x 44 mm = 548 mL of brain are fewer than any adult has
    assert len(warnings) == 1
    assert warnings[0].startswith(f"Only {found.brain_ml:.0f} mL of brain were found")


@pytest.mark.parametrize(("spacing_mm", "steps"), [(1.0, 4), (1.5, 3), (3.0, 1), (5.0, 1), (8.0, 1)])
def test_slices_beside_are_the_whole_slices_nearest_to_a_distance(spacing_mm, steps):
    assert steps_beside(spacing_mm, 4.0) == steps


@pytest.mark.parametrize(("spacing_mm", "steps"), [(2.0, 2), (4.0, 1)])
def test_a_network_of_three_slices_sees_those_beside(tmp_path, spacing_mm, steps):
    """This one answers from the slice above alone, so that all that it finds lies so much too low."""
    description = {"architecture": "UNet", "in_channels": 3, "out_channels": len(ANATOMY_LABELS), "width": 1}
    folder = write_bundle(
        tmp_path / "above", [anatomy_network(channel=2, channels=3)], description, task="anatomy",
        labels=ANATOMY_LABELS, preprocessing={"in_plane_mm": PIXEL_MM, "canvas": [64, 80], "beside_mm": 4.0},
    )  # fmt: skip
    head = sharp_head((80, 96, round(104 / spacing_mm)), (PIXEL_MM, PIXEL_MM, spacing_mm), lesions=())
    found, _ = find_anatomy(head, load_bundle(folder), device="cpu")
    low = inside(VENTRICLE, head)
    assert np.array_equal(found.mask("lateral_ventricles", head.grid)[..., :-steps], low[..., steps:])


def test_a_whole_brain_is_not_doubted(models):
    whole = Ellipsoid((0, -12, 20), (56, 70, 50))
    _, warnings = find_anatomy(sharp_head(lesions=(), brain=whole), device="cpu")
    assert warnings == []


@pytest.mark.parametrize("side", [0, 18], ids=["nothing", "70 mL"])
def test_a_picture_without_a_brain_is_refused(models, side):
    scan = Image(np.zeros((60, 60, 20), np.int16), np.diag([1.5, 1.5, 4, 1]), "leg.nii.gz")
    scan.voxels[20 : 20 + side, 20 : 20 + 2 * side, 5:17] = 100
    with pytest.raises(InputError, match=rf"leg\.nii\.gz shows no brain .*\({side * 2 * side * 12 * 0.009:.0f} mL\)"):
        find_anatomy(scan, device="cpu")


def test_a_model_for_something_else_is_refused(models):
    with pytest.raises(ModelError, match="wmh-hybrid"):
        find_anatomy(sharp_head(), load_bundle("wmh-hybrid"), device="cpu")


def test_progress_is_told_and_cancel_is_heard(models):
    done = []
    find_anatomy(sharp_head(), device="cpu", progress=done.append)
    assert done == sorted(done)
    assert done[-1] == 1
    with pytest.raises(Cancelled):
        find_anatomy(sharp_head(), device="cpu", cancelled=lambda: True)


@requires_models
@requires_sample
def test_in_a_real_anatomy_the_ventricles_lie_inside_an_even_brain():
    flair, found = sample_scan()
    brain, ventricles = found.mask("brain", flair.grid), found.mask("lateral_ventricles", flair.grid)
    intracranial = found.mask("intracranial", flair.grid)
    assert 900 < found.brain_ml < 1700
    assert 5 < ventricles.sum() * flair.voxel_volume_ml < 150
    assert (ventricles & ~brain).sum() <= 0.01 * ventricles.sum()
    assert (brain & ~intracranial).sum() <= 0.001 * brain.sum()
    # cut through the middle, both halves of the brain are alike; lateral ventricles may differ twofold in health
    right = centroid_mm(brain, flair.affine)[0]
    x = np.tensordot(flair.affine[0, :3], np.indices(brain.shape), 1) + flair.affine[0, 3]
    for mask, tolerance in ((brain, 0.05), (ventricles, 1.0)):
        halves = [np.count_nonzero(mask & side) for side in (x < right, x >= right)]
        assert halves[0] == pytest.approx(halves[1], rel=tolerance)


def brain_with_gaps():
    """A block 44 mm wide, on voxels of 1 x 1 x 2 mm, with a cleft 10 mm wide and one of 20 mm."""
    brain = np.zeros((64, 56, 24), bool)
    brain[10:54, 8:48, 2:22] = True
    brain[14:24, 20:] = brain[30:50, 20:] = False
    return brain


def test_gaps_of_the_brain_are_filled_where_they_are_narrow_and_nothing_grows_outwards():
    brain = brain_with_gaps()
    filled = without_gaps(brain, (1.0, 1.0, 2.0), 14.0)
    assert filled[brain].all()
    assert filled[14:24, 20:44, 4:20].all()  # but for the mouth of the cleft
    assert not filled[38:42, 34:].any()
    assert not filled[:10].any()
    assert not filled[..., :2].any()
    assert np.array_equal(without_gaps(brain, (1.0, 1.0, 2.0), 0.0), brain)
    assert not without_gaps(brain & False, (1.0, 1.0, 2.0), 14.0).any()
    assert without_gaps(brain[:, :40], (1.0, 1.0, 2.0), 14.0)[14:24, 20:36, 4:20].all()  # at the edge of a picture


def test_networks_see_what_lies_in_a_gap_only_where_their_card_fills_it():
    brain = brain_with_gaps()
    grid = Grid(brain.shape, oriented_affine((0, 1, 2), (1, 1, 1), (1.0, 1.0, 2.0), brain.shape))
    image = Image(np.full(brain.shape, 100, np.int16), grid.affine)
    masks = anatomy(grid, **dict.fromkeys(GROUPS, brain))
    open_, filled = (relative_slices(image, masks, grid, gaps_mm)[1] for gaps_mm in (0.0, 14.0))
    assert not open_[18:20, 30:40, 6:18].any()
    assert (filled[18:20, 30:40, 6:18] == 1).all()
