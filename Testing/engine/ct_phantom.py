"""A head CT whose every voxel is computed from its own place in the world, and models that read it without error."""

import numpy as np
from phantoms import oriented_affine, world
from tiny_models import (
    ANATOMY_LABELS,
    FAR,
    NEAR,
    PIXEL_MM,
    VENTRICLE,
    Ellipsoid,
    anatomy_network,
    threshold_network,
    write_bundle,
)

from csvd.image import Image

HU = {"brain": 32, "ventricle": 8, "lesion": 19, "skull": 1000, "scalp": 30}
SHAPE, SPACING_MM, CENTRE = (96, 108, 24), (PIXEL_MM, PIXEL_MM, 5.0), (0, -12, 20)
BRAIN = Ellipsoid((0, -12, 20), (52, 66, 60))


def around(ellipsoid, mm):
    return Ellipsoid(ellipsoid.centre, tuple(radius + mm for radius in ellipsoid.radii))


def slanted(degrees, shape=SHAPE, spacing_mm=SPACING_MM, centre=CENTRE):
    """Slices that stand straight on a table that moves at a slant: ``spacing_mm`` apart at a right angle."""
    affine = oriented_affine((0, 1, 2), (1, 1, 1), spacing_mm, shape)
    affine[1, 2] = spacing_mm[2] * np.tan(np.radians(degrees))
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def head_ct(affine=None, shape=SHAPE, lesions=(NEAR, FAR), skull=True, table=False, air=-1000, noise=0.0, levels=None):
    """int16 HU of a head: scalp, skull, brain with one ventricle on its left and lesions; edges one voxel sharp.

    All of it varies by up to 3 HU, bone more, so that it is no label map.
    """
    hu = HU | (levels or {})
    affine = slanted(0, shape) if affine is None else affine
    x, y, z = world(shape, affine)
    voxels = np.full(shape, float(air))
    if skull:
        voxels[around(BRAIN, 11).holds(x, y, z)] = hu["scalp"]
        voxels[around(BRAIN, 6).holds(x, y, z)] = hu["skull"]
    if table:  # a shell behind the head and a plate below it
        behind = np.hypot(x, y + 12)
        voxels[(behind > 84) & (behind < 88) & (y < -30)] = 180
        voxels[(y > -112) & (y < -106)] = 60
    voxels = np.where(BRAIN.holds(x, y, z), hu["brain"], voxels)
    voxels = np.where(VENTRICLE.holds(x, y, z), hu["ventricle"], voxels)
    for lesion in lesions:
        voxels = np.where(lesion.holds(x, y, z), hu["lesion"], voxels)
    rng = np.random.default_rng(0)
    grain = rng.integers(-1, 2, (3, *shape)).sum(axis=0)
    voxels = np.where(voxels == 0, 0, voxels + grain * np.where(voxels > 300, 30, 1))
    if noise:
        voxels = np.where(voxels == 0, 0, voxels + noise * rng.standard_normal(shape))
    return Image(np.rint(voxels).astype(np.int16), affine, "ct.nii.gz")


def stored_as(image, name):
    """``image`` as scanners and converters write what is around the circle of reconstruction."""
    voxels = image.voxels.copy()
    n = np.array(voxels.shape[:2])
    mm = (np.indices(n) - ((n - 1) / 2)[:, None, None]) * PIXEL_MM
    outside = np.hypot(*mm) > 78
    if name == "cut at 0":
        voxels = np.maximum(voxels, 0)
    elif name == "cut at 0, unsigned":
        voxels = np.maximum(voxels, 0).astype(np.uint16)
    else:
        voxels[outside] = int(name)
    return image.like(voxels)


STORED = ("-1000", "-1024", "-2000", "-3024", "0", "cut at 0", "cut at 0, unsigned")


def write_ct_models(folder, members=1):
    """Both bundles that ``csvd ct`` needs: a pixel is leukoaraiosis from 6 HU below 30 HU on."""
    description = {"architecture": "UNet", "in_channels": 1, "width": 1}
    anatomy = {**description, "out_channels": len(ANATOMY_LABELS)}
    write_bundle(folder / "anatomy", [anatomy_network()], anatomy, task="anatomy", labels=ANATOMY_LABELS)
    networks = [threshold_network("UNet", limit=0.6) for _ in range(members)]
    for network in networks:
        network.encoder[0][0].weight.data *= -1  # darker is more
    slices = {"in_plane_mm": PIXEL_MM, "canvas": [64, 80], "slice_mm": 5, "intensity": "hounsfield"}
    write_bundle(
        folder / "leukoaraiosis-nnunet", networks, {**description, "out_channels": 1}, task="leukoaraiosis",
        inputs=["CT"], preprocessing=slices,
    )  # fmt: skip
    return folder
