"""Small heads that are not symmetric in any axis, and scans of them as files. Shared by the engine's tests."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

ORIENTATIONS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]
OBLIQUE = Rotation.from_euler("xyz", [11, -7, 19], degrees=True).as_matrix()
# Brightness of scalp, skull, cortex, white matter, fluid: enough to tell one contrast from another.
FLAIR = {"scalp": 180, "skull": 10, "cortex": 215, "white": 190, "fluid": 45}
T1 = {"scalp": 300, "skull": 10, "cortex": 150, "white": 230, "fluid": 50}
T2 = {"scalp": 150, "skull": 10, "cortex": 190, "white": 150, "fluid": 480}
CT = {"scalp": 20, "skull": 900, "cortex": 38, "white": 30, "fluid": 8}


def oriented_affine(axes, signs, spacing_mm, shape, rotation=None, centre_mm=(3.0, -12.0, 20.0)):
    """Affine whose voxel axis n points to world axis axes[n] with sign signs[n]; the volume is centred on centre_mm."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for n, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[axis, n] = sign * spacing_mm[n]
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) @ affine[:3, :3]
    affine[:3, 3] = np.array(centre_mm) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def world(shape, affine):
    """World coordinates (x, y, z) of every voxel centre, each of the volume's shape."""
    ijk = np.indices(shape).reshape(3, -1)
    return (affine[:3, :3] @ ijk + affine[:3, 3:]).reshape(3, *shape)


def ramp(x, y, z):
    """Linear interpolation keeps it exactly; its three slopes differ in size, so no two axes can be mistaken."""
    return 500 + 1.0 * x + 2.5 * y - 4.3 * z


def blob(x, y, z):
    """Smooth, and different on every side of the head."""
    return 100 * np.exp(-(((x - 14) / 38) ** 2 + ((y + 22) / 46) ** 2 + ((z - 30) / 34) ** 2)) + 30 * np.exp(
        -(((x + 30) / 30) ** 2 + ((y - 30) / 33) ** 2 + ((z - 10) / 36) ** 2)
    )


def head(levels=FLAIR, shape=(96, 112, 26), spacing_mm=(2.0, 2.0, 5.0), air=0, noise=4.0, seed=0):
    """int16 voxels and RAS affine of a head: scalp, skull, cortex, white matter and ventricles, with noise."""
    affine = oriented_affine((0, 1, 2), (1, 1, 1), spacing_mm, shape, centre_mm=(0, 0, 0))
    x, y, z = world(shape, affine)
    rng = np.random.default_rng(seed)
    folds = ndimage.gaussian_filter(rng.standard_normal(shape), [7 / mm for mm in spacing_mm])
    radius = np.sqrt((x / 72) ** 2 + (y / 92) ** 2 + ((z + 5) / 70) ** 2)
    inside = radius + 0.2 * folds / folds.std()
    voxels = np.full(shape, float(air))
    voxels[radius < 1.1] = levels["scalp"]
    voxels[radius < 1.03] = levels["skull"]
    voxels[radius < 0.97] = levels["fluid"]
    voxels[inside < 0.94] = levels["cortex"]
    voxels[inside < 0.8] = levels["white"]
    voxels[(((np.abs(x) - 14) / 13) ** 2 + ((y - 4) / 42) ** 2 + ((z - 4) / 20) ** 2) < 1] = levels["fluid"]
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), [4 / mm for mm in spacing_mm])
    voxels = np.where(voxels > 0, voxels * (1 + 0.02 * texture / texture.std()), voxels)
    voxels += noise * rng.standard_normal(shape)
    return np.rint(voxels).astype(np.int16) if air else np.maximum(np.rint(voxels), 0).astype(np.int16), affine


def write_dicom_series(
    folder: Path, voxels, affine, *, uid="1.2.3.4", description="FLAIR", modality="MR", skip=(), tags=None, first=0
) -> list[Path]:
    """One file for each slice along axis 2, in a shuffled order of names. ``tags`` are added to every slice."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    rows = (lps[:3, :2] / spacing_mm[:2]).T.ravel()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    paths = []
    for k in range(voxels.shape[2]):
        if k in skip:
            continue
        plane = sitk.GetImageFromArray(
            np.moveaxis(voxels[:, :, k : k + 1], (0, 1, 2), (2, 1, 0)), isVector=voxels.ndim > 3
        )
        plane.SetSpacing(spacing_mm)
        normal = np.cross(rows[:3], rows[3:])
        plane.SetDirection(np.stack([rows[:3], rows[3:], normal], axis=1).ravel().tolist())
        position = lps[:3, 3] + k * lps[:3, 2]
        plane.SetOrigin(position.tolist())
        values = {
            "0008|0060": modality,
            "0008|103e": description,
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{first + k + 1}",
            "0020|0013": str(first + k + 1),
            "0020|0032": "\\".join(f"{mm:.6f}" for mm in position),
            "0020|0037": "\\".join(f"{cosine:.9f}" for cosine in rows),
            **(tags(k) if callable(tags) else tags or {}),
        }
        for key, value in values.items():
            plane.SetMetaData(key, value)
        path = folder / f"IM{(k * 41 + 3) % 101:03d}_{first + k}.dcm"
        writer.SetFileName(str(path))
        writer.Execute(plane)
        paths.append(path)
    return paths
