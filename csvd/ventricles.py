"""The outline of the lateral ventricles, by probability and brightness together.

A network that learned from every contrast says well where the ventricles are and less well where in the last two voxels
they end. There the scan's own fluid and tissue tell: half way between them in brightness, half of the voxel is fluid,
whatever the thickness of the slices.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .grid import Grid

# Choices, made on synthetic scans of six of the heads that the anatomy network learned from (72 scans, 1 to 8 mm,
# FLAIR, T1 and CT): mean Dice .862 instead of .845. WEIGHT of 6 to 12 and FLUID_PERCENTILE of 25 to 50 differ by .003
# at most; without INNER_MM it is .864, but on real FLAIRs the plexus was cut out.
WEIGHT = 8.0  # at most, of brightness from fluid to tissue, against the logarithm of the odds
CORE_MM, TISSUE_MM = 2.0, 5.0  # fluid is measured so deep inside, tissue outside from as far off to here
OUTER_MM, INNER_MM = 2.4, 1.5  # how far the outline may move
FLUID_PERCENTILE = 25  # of what is deep inside: some of it is plexus, or shares its voxels with tissue
SMALL_ML = 0.1  # choice: separate pieces below this are noise; a temporal horn is larger
LEAST_VOXELS = 50  # choice: of fluid and of tissue, or their levels are not known
IN_SLICE = ndimage.generate_binary_structure(2, 1)[..., None]
SURE = 0.996  # no probability says more: 1 of 255 steps of a share


def without_small_pieces(mask: np.ndarray, grid: Grid) -> np.ndarray:
    """``mask``, bool on ``grid``, without its separate pieces (26-connected) below ``SMALL_ML``."""
    pieces, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (sizes * grid.voxel_volume_ml >= SMALL_ML)[pieces]


def by_brightness(share: np.ndarray, tissue: np.ndarray, voxels: np.ndarray, grid: Grid) -> np.ndarray:
    """``share`` (0..1, (R, A, S)) of the lateral ventricles on the axial ``grid``, with what ``voxels`` say near them.

    ``tissue`` is the share of brain tissue. Brightness weighs as between two normal distributions of fluid and tissue:
    where noise or the sequence hides the one from the other, hardly.
    """
    inside = without_small_pieces(share > 0.5, grid)
    if not inside.any():
        return share
    margin = int(np.ceil(TISSUE_MM / grid.spacing_mm[0]))
    place = ndimage.find_objects(inside.astype(np.uint8))[0]
    box = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in place)
    in_slice = (*grid.spacing_mm[:2], 1e3)  # slices are as thick as they are: no distance through them
    outwards_mm = ndimage.distance_transform_edt(~inside[box], sampling=in_slice)
    inwards_mm = ndimage.distance_transform_edt(inside[box], sampling=in_slice)
    deep = voxels[box][inwards_mm > CORE_MM]
    around = voxels[box][(outwards_mm > CORE_MM) & (outwards_mm <= TISSUE_MM) & (tissue[box] > 0.9)]
    if min(deep.size, around.size) < LEAST_VOXELS:
        return share
    level = np.median(around)
    darker = np.median(deep) < level
    fluid = np.percentile(deep, FLUID_PERCENTILE if darker else 100 - FLUID_PERCENTILE)
    if level == fluid:
        return share
    spread = 1.4826 * np.median(np.abs(around - level))  # standard deviation, which a lesion does not move
    weight = min(WEIGHT, ((level - fluid) / max(spread, 1e-6)) ** 2)
    as_tissue = ((voxels[box] - fluid) / (level - fluid)).clip(0, 1)
    odds = np.log(share[box].clip(1 - SURE, SURE) / (1 - share[box]).clip(1 - SURE, SURE))
    moved = (outwards_mm <= OUTER_MM) & (inwards_mm <= INNER_MM)
    outlined = share.copy()
    outlined[box] = np.where(moved, 1 / (1 + np.exp(weight * (as_tissue - 0.5) - odds)), share[box])
    found = outlined[box] > 0.5
    holes = ndimage.binary_fill_holes(found, IN_SLICE) & ~found & inside[box]
    outlined[box][holes] = share[box][holes]
    return outlined
