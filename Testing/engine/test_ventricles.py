"""The outline of the ventricles goes where the scan's own fluid ends, and nowhere where that is not to be seen."""

import numpy as np
import pytest
from scipy import ndimage

from csvd.image import Grid
from csvd.ventricles import OUTER_MM, SMALL_ML, by_brightness, without_small_pieces

SHAPE = (60, 60, 4)
GRID = Grid(SHAPE, np.diag([1.0, 1.0, 5.0, 1.0]))
TISSUE_LEVEL = 1.0


def disc(centre, radius):
    across, along = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return np.broadcast_to((np.hypot(across - centre[0], along - centre[1]) <= radius)[..., None], SHAPE)


FLUID = disc((30, 30), 9)
SAID = ndimage.gaussian_filter(disc((31, 30), 8).astype(np.float32), (1, 1, 0))  # a pixel aside and too small
TISSUE = np.where(FLUID, 0, 1).astype(np.float32)


def scan(fluid, noise=0.05, seed=0):
    noisy = np.random.default_rng(seed).normal(0, noise, SHAPE)
    return (np.where(FLUID, fluid, TISSUE_LEVEL) + noisy).astype(np.float32)


def dice(mask, truth):
    return 2 * np.count_nonzero(mask & truth) / (np.count_nonzero(mask) + np.count_nonzero(truth))


@pytest.mark.parametrize("fluid", [0.2, 1.8], ids=["dark", "bright"])
def test_the_outline_moves_to_the_edge_of_the_fluid(fluid):
    outlined = by_brightness(SAID, TISSUE, scan(fluid), GRID)
    assert dice(SAID > 0.5, FLUID) < 0.93
    assert dice(outlined > 0.5, FLUID) > 0.98
    assert outlined.dtype == np.float32
    assert 0 <= outlined.min() <= outlined.max() <= 1


def test_half_of_a_voxel_is_where_the_outline_lies():
    """At the edge a share of the voxels is fluid: from half on it is ventricle."""
    share = ndimage.gaussian_filter(FLUID.astype(np.float32), (1.5, 1.5, 0))
    outlined = by_brightness(SAID, TISSUE, TISSUE_LEVEL - 0.8 * share, GRID)
    assert dice(SAID > 0.5, share > 0.5) < 0.92
    assert dice(outlined > 0.5, share > 0.5) > 0.94


def test_where_fluid_looks_like_tissue_nothing_changes():
    moved = by_brightness(SAID, TISSUE, scan(TISSUE_LEVEL), GRID) - SAID
    assert np.abs(moved).max() < 0.1
    assert np.array_equal(by_brightness(SAID, TISSUE, np.ones(SHAPE, np.float32), GRID), SAID)


def test_what_is_deep_inside_stays_whatever_its_brightness():
    """Plexus in the ventricle is as bright as tissue."""
    plexus = disc((30, 30), 2)
    sure = np.where(disc((30, 30), 7), np.float32(0.9), SAID)
    outlined = by_brightness(sure, TISSUE, np.where(plexus, np.float32(1.2), scan(0.2)), GRID)
    assert (outlined[plexus] > 0.5).all()


def test_fluid_farther_away_is_no_ventricle():
    sulcus = disc((30, 50), 4)
    outlined = by_brightness(SAID, TISSUE, np.where(sulcus, np.float32(0.2), scan(0.2)), GRID)
    away_mm = ndimage.distance_transform_edt(SAID <= 0.5, sampling=(1, 1, 1e3))
    assert not outlined[sulcus].any()
    assert np.array_equal(outlined[away_mm > OUTER_MM], SAID[away_mm > OUTER_MM])


@pytest.mark.parametrize("radius", [0, 2], ids=["no ventricle", "too small to know the level of its fluid"])
def test_what_is_not_to_be_measured_stays(radius):
    share = disc((30, 30), radius).astype(np.float32) * (radius > 0)
    assert np.array_equal(by_brightness(share, TISSUE, scan(0.2), GRID), share)


def test_a_hole_that_brightness_makes_near_the_edge_is_filled():
    """Plexus of a narrow horn: all around it fluid, and as near to the outline as what may be moved."""
    horn, plexus = disc((8, 8), 1.5), disc((8, 8), 0)
    said = np.where(horn, np.float32(0.7), SAID)
    outlined = by_brightness(said, TISSUE, np.where(horn & ~plexus, np.float32(0.2), scan(0.2)), GRID)
    assert (outlined[horn & ~plexus] > 0.9).all()
    assert np.array_equal(outlined[plexus], said[plexus])


def test_a_small_piece_is_noise_and_does_not_grow():
    speck, dark = disc((50, 8), 0), disc((50, 8), 4)
    said = np.where(speck, np.float32(0.7), SAID)
    outlined = by_brightness(said, TISSUE, np.where(dark, np.float32(0.2), scan(0.2)), GRID)
    assert np.array_equal(outlined[dark], said[dark])


def test_pieces_below_the_limit_go_and_corners_join():
    pieces = np.zeros(SHAPE, bool)
    least = 1 + int(SMALL_ML / GRID.voxel_volume_ml)  # just above the limit
    pieces[10, : least // 2, 0] = pieces[11, least // 2 : least, 1] = True  # they meet at a corner
    enough = pieces.copy()
    pieces[40, : least - 2, 2] = True
    assert np.array_equal(without_small_pieces(pieces, GRID), enough)
    assert not without_small_pieces(np.zeros(SHAPE, bool), GRID).any()
