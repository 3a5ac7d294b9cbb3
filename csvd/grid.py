"""Where voxels lie in the world, and the one way to move values from one grid of voxels to another.

Arrays are indexed (i, j, k) as in NIfTI. World coordinates are millimetres, RAS: right, anterior, superior.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy import ndimage

# A choice: over a 250 mm head this much lean of one axis on another moves a voxel by half a millimetre.
LARGEST_SHEAR = 0.002


@dataclass(frozen=True, eq=False)
class Grid:
    """A box of voxels: ``shape`` (3 ints) and ``affine``, 4x4 float64, voxel index to RAS mm."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", np.array(self.affine, dtype=np.float64))
        if len(self.shape) != 3 or self.affine.shape != (4, 4):
            raise ValueError(f"A grid has 3 sizes and a 4x4 affine, not {self.shape} and {self.affine.shape}.")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along each axis; of slanted slices, at a right angle to them."""
        return tuple(float(mm) for mm in np.linalg.norm(upright_steps(self.affine), axis=0))

    @property
    def slant_mm(self) -> tuple[float, float, float]:
        """How far the next slice is moved within its plane, along each axis: 0 for all but slanted slices."""
        steps = upright_steps(self.affine)
        along = np.linalg.inv(steps) @ self.affine[:3, self.slice_axis] * self.spacing_mm
        along[self.slice_axis] = 0
        return tuple(float(mm) for mm in np.where(np.abs(along) < LARGEST_SHEAR * max(self.spacing_mm), 0, along))

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Field of view along each axis, outer face to outer face."""
        return tuple(n * mm for n, mm in zip(self.shape, self.spacing_mm, strict=True))

    @property
    def voxel_volume_ml(self) -> float:
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    @property
    def slice_axis(self) -> int:
        """The axis the slices are stacked on: the thickest spacing; where all are alike, the one nearest superior."""
        spacing_mm = np.array(self.spacing_mm)
        # A choice: 5 % tells an anisotropic grid from the rounding of an isotropic one.
        if spacing_mm.max() > 1.05 * spacing_mm.min():
            return int(spacing_mm.argmax())
        return world_axes(self)[2]

    def matches(self, other: "Grid", tolerance_mm: float = 1e-3) -> bool:
        """True where both grids have the same voxels at the same places, to within ``tolerance_mm``."""
        if self.shape != other.shape:
            return False
        return bool(np.abs((self.affine - other.affine) @ corners(self.shape)).max() <= tolerance_mm)


def corners(shape: tuple[int, int, int]) -> np.ndarray:
    """The 8 outer corners of a volume as homogeneous voxel coordinates, (4, 8). Voxel centres are whole numbers."""
    low, high = np.full(3, -0.5), np.array(shape) - 0.5
    return np.array([(*np.where(pick, high, low), 1.0) for pick in np.ndindex(2, 2, 2)]).T


def shear(affine: np.ndarray) -> float:
    """Largest cosine between two voxel axes: 0 for a box, nan for a flat or infinite one."""
    with np.errstate(all="ignore"):
        axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        return float(np.abs(axes.T @ axes - np.eye(3))[~np.eye(3, dtype=bool)].max())


def upright_steps(affine: np.ndarray) -> np.ndarray:
    """The steps from voxel to voxel along the three axes, RAS mm, 3x3, without the slant of slices, if they have one.

    A CT whose gantry is tilted moves its table at a slant to its slices. Their pixels stay as they are; the step from
    slice to slice becomes the distance at a right angle.
    """
    steps = affine[:3, :3]
    if not shear(affine) > LARGEST_SHEAR:
        return steps
    lengths = np.linalg.norm(steps, axis=0)
    cosines = np.abs((steps / lengths).T @ (steps / lengths))
    # Pixels stand at a right angle; of two axes that could be the stack's, it is the one nearer superior.
    straight = [cosines[(axis + 1) % 3, (axis + 2) % 3] <= LARGEST_SHEAR for axis in range(3)]
    across = int((np.abs(steps[2]) / lengths + np.array(straight)).argmax())
    first, second = (axis for axis in range(3) if axis != across)
    upright = steps.copy()
    along = steps[:, first] / lengths[first]
    upright[:, second] -= along * (along @ steps[:, second])
    normal = np.cross(along, upright[:, second])
    normal /= np.linalg.norm(normal)
    upright[:, across] = normal * (normal @ steps[:, across])
    return upright


def upright_grid(grid: Grid) -> Grid:
    """The grid without its slant: the same slices with the same pixels, in a box wide enough to hold all of them.

    Every slice stays in its plane, so what is resampled onto this grid is moved within its slice and not mixed with
    others. A straight grid comes back as it is.
    """
    steps = upright_steps(grid.affine)
    if np.array_equal(steps, grid.affine[:3, :3]):
        return grid
    at = np.linalg.inv(steps) @ grid.affine[:3, :3] @ corners(grid.shape)[:3]
    low, high = at.min(axis=1), at.max(axis=1)
    affine = grid.affine.copy()
    affine[:3, :3] = steps
    affine[:3, 3] += steps @ (low + 0.5)
    return Grid(tuple(np.ceil(high - low - 0.05).astype(int)), affine)


def axial_grid(grid: Grid, in_plane_mm: float) -> Grid:
    """The grid that networks see: axis 0 towards right, 1 towards anterior, 2 towards superior.

    Axes are only permuted and flipped, so an oblique scan stays oblique and its slices stay where they were
    measured. Along axis 2 positions and spacing are the native ones; in plane the spacing is ``in_plane_mm``
    and the same field of view is covered, centred on the native one.
    """
    native, spacing_mm = axial_size(grid)
    # The allowance, a twentieth of a voxel, keeps 320 x 0.71875 mm from becoming 231 x 1 mm by rounding.
    pixels = np.ceil(native[:2] * spacing_mm[:2] / in_plane_mm - 0.05)
    return axial(grid, np.maximum(pixels, 1).astype(int), (in_plane_mm, in_plane_mm))


def resized_grid(grid: Grid, matrix: tuple[int, int]) -> Grid:
    """As ``axial_grid``, but every slice's whole field of view on ``matrix`` (R, A) pixels, square or not."""
    native, spacing_mm = axial_size(grid)
    return axial(grid, matrix, native[:2] * spacing_mm[:2] / matrix)


def cropped_grid(grid: Grid, matrix: tuple[int, int]) -> Grid | None:
    """As ``axial_grid``, but the middle ``matrix`` (R, A) of every slice's own pixels; None where it has fewer."""
    native, spacing_mm = axial_size(grid)
    left_over = native[:2] - matrix
    if left_over.min() < 0:
        return None
    whole = axial(grid, native[:2], spacing_mm[:2])
    affine = whole.affine.copy()
    affine[:3, 3] += affine[:3, :2] @ (left_over // 2)
    return Grid((*matrix, native[2]), affine)


def box_grid(grid: Grid, in_plane_mm: float, slice_mm: float, margin_mm: float = 0.0) -> Grid:
    """As ``axial_grid``, but with slices of one's own, and wider by ``margin_mm`` to all sides."""
    within = axial_grid(grid, in_plane_mm)
    spacing_mm = np.array([in_plane_mm, in_plane_mm, slice_mm])
    shape = np.ceil((np.array(within.extent_mm) + 2 * margin_mm) / spacing_mm - 0.05).astype(int)
    centre = within.affine[:3] @ [*((np.array(within.shape) - 1) / 2), 1.0]
    affine = np.eye(4)
    affine[:3, :3] = within.affine[:3, :3] / within.spacing_mm * spacing_mm
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid(tuple(shape), affine)


def axial_size(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and spacing in mm along right, anterior and superior."""
    axes = list(world_axes(grid))
    return np.array(grid.shape)[axes], np.array(grid.spacing_mm)[axes]


def axial(grid: Grid, pixels: tuple[int, int], pixel_mm: tuple[float, float]) -> Grid:
    """Axes towards right, anterior and superior, the native slices, and ``pixels`` of ``pixel_mm`` (R, A) in each."""
    native, spacing_mm = axial_size(grid)
    columns = grid.affine[:3, list(world_axes(grid))]
    flips = np.where(np.diag(columns) < 0, -1.0, 1.0)
    shape, new_mm = (*pixels, native[2]), np.array([*pixel_mm, spacing_mm[2]])
    affine = np.eye(4)
    affine[:3, :3] = columns / spacing_mm * flips * new_mm
    centre = grid.affine[:3, :3] @ ((np.array(grid.shape) - 1) / 2) + grid.affine[:3, 3]
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def resample(voxels: np.ndarray, source: Grid, target: Grid, order: int = 1, outside: float = 0.0) -> np.ndarray:
    """Values of ``voxels`` (on ``source``) at the voxel centres of ``target``; the same call brings back.

    order 1 interpolates linearly and gives float32; order 0 takes the nearest voxel and keeps the type (labels).
    A point within the outer faces of the source is inside: between the last centre and the face the edge value
    holds. Beyond it stands ``outside``.

    Where a target voxel spans r > 1 source voxels, order 1 first smooths along that source axis with a Gaussian
    of sigma = 0.5 sqrt(r^2 - 1) source voxels. A voxel is taken to see the world through a Gaussian of sigma half
    its size; variances of convolved Gaussians add, so this is what widens the source's view to the target's, and
    nothing above the target's resolution is left to alias. A slanted voxel sees what an upright one does: the beam of
    a tilted gantry is as thick, at a right angle to its slice.
    """
    if tuple(voxels.shape) != source.shape:
        raise ValueError(f"Voxels of shape {tuple(voxels.shape)} do not lie on a grid of shape {source.shape}.")
    if order not in (0, 1):
        raise ValueError(f"order is 0 or 1, not {order}.")
    if voxels.dtype == bool:
        voxels = voxels.view(np.uint8)
        if order == 0:
            return resample(voxels, source, target, 0, outside).astype(bool)
    mapping = np.linalg.inv(source.affine) @ target.affine
    matrix, offset = mapping[:3, :3], mapping[:3, 3]
    if order == 1:
        widths = np.linalg.inv(upright_steps(source.affine)) @ upright_steps(target.affine)
        voxels = _smoothed(voxels, np.linalg.norm(widths, axis=1))
    dtype = np.float32 if order == 1 else voxels.dtype
    result = np.empty(target.shape, dtype)
    axes = np.abs(matrix).argmax(axis=0)
    if np.abs(matrix).sum() - np.abs(matrix[axes, range(3)]).sum() < 1e-6 and len(set(axes)) == 3:
        # Grids that are permutations and flips of one another: scipy is several times faster on a diagonal.
        # It walks the output in index order, so the axis that is closest in the source's memory goes last.
        aligned, steps, starts = voxels.transpose(axes), matrix[axes, range(3)], offset[axes]
        walk = np.argsort(aligned.strides)[::-1]
        ndimage.affine_transform(
            aligned.transpose(walk),
            steps[walk],
            starts[walk],
            output=result.transpose(walk),
            order=order,
            mode="nearest",
        )
    else:
        ndimage.affine_transform(voxels, matrix, offset, output=result, order=order, mode="nearest")
    _blank_outside(result, matrix, offset, source.shape, outside)
    return result


def blocks(voxels: np.ndarray, spacing_mm: tuple[float, float, float], size_mm: float) -> tuple[np.ndarray, list[int]]:
    """Means over blocks of about ``size_mm``, float32, and how many voxels a block has along each axis.

    What does not fill a block at the end of an axis is left out.
    """
    block = [max(1, round(size_mm / mm)) for mm in spacing_mm]
    n = [size // b for size, b in zip(voxels.shape, block, strict=True)]
    kept = voxels[tuple(slice(0, m * b) for m, b in zip(n, block, strict=True))]
    means = np.empty(n, np.float32)
    for k in range(n[2]):
        slab = kept[:, :, k * block[2] : (k + 1) * block[2]]
        means[:, :, k] = slab.reshape(n[0], block[0], n[1], block[1], -1).mean((1, 3, 4), dtype=np.float32)
    return means, block


def _smoothed(voxels: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    for axis, ratio in enumerate(ratios):
        if ratio > 1.001 and voxels.shape[axis] > 1:
            sigma = 0.5 * np.sqrt(ratio**2 - 1)
            voxels = ndimage.gaussian_filter1d(voxels, sigma, axis, output=np.float32, mode="nearest")
    return voxels


def _blank_outside(result, matrix, offset, source_shape, outside) -> None:
    """Put ``outside`` where a target centre falls beyond the outer faces of the source."""
    edge = 0.5 + 1e-6
    centres = [np.arange(n, dtype=np.float64) for n in result.shape]
    for axis, n in enumerate(source_shape):
        reach = [matrix[axis, t] * c for t, c in enumerate(centres)]
        low = offset[axis] + sum(min(r[0], r[-1]) for r in reach)
        high = offset[axis] + sum(max(r[0], r[-1]) for r in reach)
        if low >= -edge and high <= n - 1 + edge:
            continue
        at = offset[axis] + reach[0][:, None, None] + reach[1][None, :, None]
        for k, along in enumerate(reach[2]):
            there = at[:, :, 0] + along
            result[:, :, k][(there < -edge) | (there > n - 1 + edge)] = outside


def world_axes(grid: Grid) -> tuple[int, int, int]:
    """The voxel axes that lie nearest to right-left, anterior-posterior and superior-inferior."""
    along = np.abs(grid.affine[:3, :3]) / np.array(grid.spacing_mm)
    return max(permutations(range(3)), key=lambda axes: sum(along[world, axis] for world, axis in enumerate(axes)))
