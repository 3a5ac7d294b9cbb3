"""One image of a head carried onto another of the same head: rigid, affine or deformable, by mutual information.

``register`` aligns centres and headers, then optimises one model after the other up to the one that is asked for, on
copies of ``WORKING_MM`` voxels: rigid and affine by gradient descent, deformable by a B-spline of control points about
``CONTROL_MM`` apart (Mattes mutual information; SimpleITK). Samples have a seed and one thread is the default, so that
the same images give the same transform. What ``quality`` doubts should not be used unseen.

Transforms take points of the fixed image to points of the moving one, as ITK's do; in LPS mm, but ``matrix`` is RAS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from csvd.errors import InputError
from csvd.grid import LARGEST_SHEAR, box_grid, shear
from csvd.image import Grid, Image, resample, whole_or_not_at_all

MODELS = ("rigid", "affine", "deformable")
Matching = tuple[float, float, float]  # mutual information in nats, its share of the entropy, Dice of the masks
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
WORKING_MM, MARGIN_MM = 2.0, 12.0  # choices: half the width of cortex; room around the head for what moves
CONTROL_MM = 40.0  # choice: a few degrees of freedom for each lobe, too few to make a ventricle of a lesion
SEED = 1  # of the samples
BINS = 32  # of the joint histogram, as Mattes et al. (IEEE Trans Med Imaging 2003)
SHRINK, SMOOTH_MM = (4, 2, 1), (4.0, 2.0, 1.0)
NODS_DEG = (0.0, -20.0, 20.0)  # starts: heads lie with another nod in every scanner
SCALED = (-0.5, 1.5)  # choice: grey values of a whole head over the brain's, from its 1st to its 99th percentile
LEAST_ML = 20.0  # of a mask or of foreground: less is no head
MOST_SUPERSAMPLED = 8  # points along one axis of a fixed voxel, at most
# Choices, from pairs of synthetic patients (Testing/engine/test_registration.py): what lies outside is doubted.
LEAST_DICE = 0.9  # of the masks
LEAST_RISE = 1.02  # of the mutual information, by a model with more degrees of freedom
LEAST_GAIN = 0.95  # mutual information after over that before
LEAST_INFORMATION = 0.055  # share of the fixed image's entropy that the moving one explains
VOLUME_CHANGE = (0.85, 1.18)  # of the affine part: two scanners differ by a few percent, two heads by more
JACOBIAN = (0.3, 3.0)  # of the deformable part
MOST_FOLDED = 0.001  # share of the brain
FARTHEST_MM = 12.0  # 95th percentile of the deformable part's displacement


@dataclass(frozen=True)
class Quality:
    """How well two images agree now. ``doubts`` are sentences; without any the registration is taken to be right.

    Mutual information in nats within the fixed mask; ``information`` is what the moving image explains of the fixed
    one's entropy, 0..1; ``mask_dice`` counts only where the moving image covers, None without masks; ``volume_change``
    is the determinant of the affine part; Jacobian and displacement are those of the deformable part, inside the mask.
    """

    mutual_information_before: float
    mutual_information_after: float
    information: float
    mask_dice: float | None = None
    volume_change: float = 1.0
    jacobian_min: float = 1.0
    jacobian_max: float = 1.0
    folded: float = 0.0
    displacement_mm: float = 0.0
    doubts: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not self.doubts


@dataclass(frozen=True, eq=False)
class Registration:
    """A transform from the fixed image's ``grid`` to the moving image. Made by ``register`` or ``load``."""

    grid: Grid
    transform: sitk.Transform
    model: str
    quality: Quality = field(repr=False)

    @property
    def matrix(self) -> np.ndarray:
        """The rigid or affine part: fixed RAS mm to moving RAS mm, 4x4."""
        return LPS @ _matrix_of(_linear_part(self.transform)) @ LPS

    def apply(self, image: Image, order: int = 1, outside: float = 0.0) -> Image:
        """``image``, in the space of the moving one, on the fixed grid.

        order 1 gives float32, the mean over each fixed voxel where the moving ones are smaller (so a mask becomes the
        share of the voxel it fills); order 0 takes the nearest voxel and keeps the type. Raises InputError for slanted
        voxels.
        """
        if order not in (0, 1):
            raise ValueError(f"order is 0 or 1, not {order}.")
        straight(image)
        boolean = image.voxels.dtype == bool
        if order == 0:
            moved = _resampled(image.to_sitk(), self.grid, self.transform, sitk.sitkNearestNeighbor, outside)
            return Image(moved.astype(bool) if boolean else moved, self.grid.affine)
        parts = np.clip(np.round(np.array(self.grid.spacing_mm) / min(image.spacing_mm)), 1, MOST_SUPERSAMPLED)
        fine = _split(self.grid, parts.astype(int))
        floats = sitk.Cast(image.to_sitk(), sitk.sitkFloat32)
        moved = _resampled(floats, fine, self.transform, sitk.sitkLinear, outside)
        blocks = [n for pair in zip(self.grid.shape, parts.astype(int), strict=True) for n in pair]
        return Image(moved.reshape(blocks).mean((1, 3, 5), dtype=np.float32), self.grid.affine)

    def points(self, points_mm: np.ndarray) -> np.ndarray:
        """Points of the fixed image -> the same points of the moving image, (N, 3) RAS mm."""
        flip = np.array([-1.0, -1.0, 1.0])
        return np.array([self.transform.TransformPoint(p) for p in (points_mm * flip).tolist()]) * flip

    def save(self, path: str | os.PathLike) -> None:
        """Write the transform for ITK and Slicer (``.tfm`` or ``.h5``) and, beside it, grid and quality as JSON.

        Raises InputError where the place cannot be written.
        """
        path = Path(path)
        if path.suffix not in (".tfm", ".h5"):
            raise InputError(f"{path} cannot be written: the name of a transform must end in .tfm or .h5.")
        facts = {"model": self.model, "shape": self.grid.shape, "affine": self.grid.affine.tolist()}
        with whole_or_not_at_all(path, path.suffix) as beside:
            sitk.WriteTransform(self.transform, str(beside))
            sidecar(path).write_text(json.dumps({**facts, "quality": asdict(self.quality)}, indent=1))


def sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def load(path: str | os.PathLike) -> Registration:
    """Read what ``Registration.save`` wrote. Raises InputError."""
    path = Path(path)
    try:
        facts = json.loads(sidecar(path).read_text(encoding="utf-8"))
        transform = sitk.ReadTransform(str(path))
        grid = Grid(facts["shape"], facts["affine"])
        quality = Quality(**{**facts["quality"], "doubts": tuple(facts["quality"]["doubts"])})
        return Registration(grid, transform, facts["model"], quality)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{path} is no registration that can be read, or {sidecar(path).name} beside it is missing or damaged. "
            "Register the images again."
        ) from None


def register(
    fixed: Image,
    moving: Image,
    *,
    fixed_mask: np.ndarray | None = None,
    moving_mask: np.ndarray | None = None,
    model: str = "rigid",
    surroundings: bool = False,
    threads: int = 1,
) -> Registration:
    """Find where the head of ``fixed`` lies in ``moving``, another image of the same head.

    Masks, bool on the voxels of their image, say where to look: the brains, say. With both, all around them is taken
    away and the outlines count as well; without, everything brighter than air counts. With ``surroundings`` what is
    found with masks is searched on in the images as they are, for a mask that is drawn too wide or too narrow. Give CT
    clipped to a window.
    ``model`` is one of ``MODELS``. The result is the same each time for the same number of ``threads``.

    Raises InputError for an unknown model, a mask that does not fit or is nearly empty, slanted voxels, and images
    without contrast.
    """
    if model not in MODELS:
        raise InputError(f"{model!r} is no model of registration. Choose one of {', '.join(MODELS)}.")
    if (fixed_mask is None) != (moving_mask is None):
        raise InputError("One mask was given for two images. Give a mask for both or for none.")
    with _threads(threads):
        return _registered(fixed, moving, fixed_mask, moving_mask, model, surroundings, threads)


def _registered(fixed, moving, fixed_mask, moving_mask, model: str, surroundings: bool, threads: int) -> Registration:
    a, b = _prepared(fixed, fixed_mask, "fixed"), _prepared(moving, moving_mask, "moving")
    stripped = fixed_mask is not None
    method = _method(a, threads)
    transform = _rigid(a, b, method)
    before, now = _matching(a, b, sitk.Euler3DTransform()), _matching(a, b, transform)
    if stripped and surroundings:
        heads = (
            _prepared(fixed, fixed_mask, "fixed", whole=True),
            _prepared(moving, moving_mask, "moving", whole=True),
        )
        transform, now = _better(a, b, transform, now, _searched_on(*heads, transform, threads))
    if model != "rigid":
        transform, now = _better(a, b, transform, now, _affine(a, b, transform, method))
    if model == "deformable":
        transform, now = _better(a, b, transform, now, _deformable(a, b, transform, threads))
    return Registration(fixed.grid, transform, model, _quality(a, transform, before, now, stripped))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """ITK's sums depend on how many threads share them, and a filter asks this global number and no other."""
    usual = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(usual)


def straight(image: Image) -> None:
    """Raise InputError where the voxels of an image are slanted, as those of a tilted gantry are."""
    if shear(image.affine) > LARGEST_SHEAR:
        raise InputError(
            f"{image.source or 'The image'} has slanted voxels (a tilted gantry, or a sheared affine), which cannot "
            "be registered. Resample it onto a straight grid first."
        )


# Images as they are compared


@dataclass(frozen=True, eq=False)
class _Working:
    """A cubic copy of an image: values 0..1 float32, its mask, and the same for SimpleITK."""

    grid: Grid
    values: np.ndarray
    mask: np.ndarray
    covered: np.ndarray  # where the image itself reaches

    @property
    def image(self) -> sitk.Image:
        return Image(self.values, self.grid.affine).to_sitk()

    @property
    def centre(self) -> np.ndarray:
        """Centre of mass of the mask, LPS mm."""
        voxel = np.array(ndimage.center_of_mass(self.mask))
        return (LPS @ self.grid.affine @ [*voxel, 1.0])[:3]


def _prepared(image: Image, mask: np.ndarray | None, which: str, whole: bool = False) -> _Working:
    straight(image)
    name = image.source or f"The {which} image"
    if mask is not None and mask.shape != image.voxels.shape:
        raise InputError(f"The mask of {name} has {mask.shape} voxels, the image {image.voxels.shape}. Give its own.")
    grid = cubic_grid(image.grid, WORKING_MM, MARGIN_MM)
    values = resample(image.voxels, image.grid, grid, outside=float(image.voxels.min()))
    covered = resample(np.ones(image.voxels.shape, bool), image.grid, grid, order=0)
    inside = _foreground(values) & covered if mask is None else resample(mask > 0, image.grid, grid) > 0.5
    if np.count_nonzero(inside) * WORKING_MM**3 / 1000 < LEAST_ML:
        raise InputError(f"{name} shows no head that could be registered, or its mask is empty. Check both.")
    low, high = np.percentile(values[inside], (1, 99))
    if not high - low > 1e-6 * max(abs(low), abs(high), 1e-6):
        raise InputError(f"{name} has no contrast inside the head. Give the image as the scanner made it.")
    scaled = ((values - low) / (high - low)).astype(np.float32)
    if whole:
        return _Working(grid, scaled.clip(*SCALED), inside, covered)
    scaled = scaled.clip(0, 1)
    if mask is not None:  # the darkest brain stays apart from nothing, so that outlines count
        scaled = np.where(inside, 0.25 + 0.75 * scaled, 0).astype(np.float32)
    return _Working(grid, scaled, inside, covered)


def cubic_grid(grid: Grid, size_mm: float, margin_mm: float = 0.0) -> Grid:
    """``box_grid`` of cubic voxels."""
    return box_grid(grid, size_mm, size_mm, margin_mm)


def _foreground(values: np.ndarray) -> np.ndarray:
    """What is brighter than air (Otsu), without holes: bool."""
    otsu = sitk.OtsuThreshold(sitk.GetImageFromArray(values), 0, 1)
    return ndimage.binary_fill_holes(ndimage.binary_opening(sitk.GetArrayFromImage(otsu) > 0))


# The three models


def _method(fixed: _Working, threads: int) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(threads)
    method.SetMetricAsMattesMutualInformation(BINS)
    around = ndimage.binary_dilation(fixed.mask, iterations=round(MARGIN_MM / 2 / WORKING_MM))
    method.SetMetricFixedMask(Image(around.astype(np.uint8), fixed.grid.affine).to_sitk())
    method.SetMetricSamplingStrategy(method.RANDOM)  # off the voxels' grid, where interpolation leaves its mark
    method.SetMetricSamplingPercentage(0.3, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _levels(method: sitk.ImageRegistrationMethod, first: int, last: int) -> None:
    """Use the levels of the pyramid from ``first`` to before ``last``."""
    method.SetShrinkFactorsPerLevel(SHRINK[first:last])
    method.SetSmoothingSigmasPerLevel(SMOOTH_MM[first:last])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()


def _descend(method: sitk.ImageRegistrationMethod, step_mm: float, iterations: int) -> None:
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step_mm, minStep=0.005, numberOfIterations=iterations, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()


def _rigid(fixed: _Working, moving: _Working, method: sitk.ImageRegistrationMethod) -> sitk.Euler3DTransform:
    """The best of a few starts after a coarse search, then searched finely."""
    starts = []
    for nod in NODS_DEG:
        start = sitk.Euler3DTransform()
        start.SetCenter(fixed.centre.tolist())
        start.SetTranslation((moving.centre - fixed.centre).tolist())
        start.SetRotation(np.deg2rad(nod), 0, 0)
        starts.append(start)
    header = sitk.Euler3DTransform()
    header.SetCenter(fixed.centre.tolist())
    starts.append(header)
    found = []
    _levels(method, 0, 1)
    _descend(method, 2.0, 40)
    for start in starts:
        with suppress(RuntimeError):  # the heads do not overlap from this start
            found.append((_optimised(method, start, fixed, moving), start))
    if not found:
        raise InputError("The two images could not be laid over one another. Check that both show the whole head.")
    best = min(found, key=lambda one: one[0])[1]
    _levels(method, 1, 3)
    _descend(method, 1.0, 80)
    _optimised(method, best, fixed, moving)
    return best


def _searched_on(
    fixed: _Working, moving: _Working, rigid: sitk.Euler3DTransform, threads: int
) -> sitk.Euler3DTransform:
    """A rigid transform from ``rigid`` on, for as long as it takes."""
    method, further = _method(fixed, threads), sitk.Euler3DTransform(rigid)
    _levels(method, 1, 3)
    _descend(method, 1.0, 200)
    _optimised(method, further, fixed, moving)
    return further


def _affine(
    fixed: _Working, moving: _Working, rigid: sitk.Euler3DTransform, method: sitk.ImageRegistrationMethod
) -> sitk.AffineTransform:
    affine = sitk.AffineTransform(3)
    affine.SetCenter(rigid.GetCenter())
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetTranslation(rigid.GetTranslation())
    _levels(method, 1, 3)
    _descend(method, 0.5, 80)
    _optimised(method, affine, fixed, moving)
    return affine


def _deformable(
    fixed: _Working, moving: _Working, affine: sitk.AffineTransform, threads: int
) -> sitk.CompositeTransform:
    """A B-spline in the fixed space, followed by the affine transform."""
    image = fixed.image
    mesh = np.maximum(1, np.round(np.array(fixed.grid.extent_mm) / CONTROL_MM)).astype(int).tolist()
    spline = sitk.BSplineTransformInitializer(image, mesh, order=3)
    method = _method(fixed, threads)
    method.SetMovingInitialTransform(affine)
    _levels(method, 2, 3)  # in full: coarser levels have too few voxels for so many degrees of freedom
    method.SetOptimizerAsLBFGSB(
        gradientConvergenceTolerance=1e-6,
        numberOfIterations=12,
        maximumNumberOfCorrections=5,
        maximumNumberOfFunctionEvaluations=15,
        costFunctionConvergenceFactor=1e9,
    )
    _optimised(method, spline, fixed, moving)
    return sitk.CompositeTransform([affine, spline])


def _better(
    fixed: _Working, moving: _Working, known: sitk.Transform, now: Matching, found: sitk.Transform
) -> tuple[sitk.Transform, Matching]:
    """``found`` where it raises the mutual information inside the mask by ``LEAST_RISE``, else what is known.

    More degrees of freedom fit noise and outlines: without a gain inside the head the simpler model, or what the brains
    alone gave, is the right one.
    """
    then = _matching(fixed, moving, found)
    return (found, then) if then[0] > LEAST_RISE * now[0] else (known, now)


def _optimised(
    method: sitk.ImageRegistrationMethod, transform: sitk.Transform, fixed: _Working, moving: _Working
) -> float:
    """Optimise ``transform`` in place; the metric reached, lower is better."""
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed.image, moving.image)
    return method.GetMetricValue()


# How good it is


def mutual_information(a: np.ndarray, b: np.ndarray, bins: int = BINS) -> tuple[float, float]:
    """Mutual information of paired values in nats, and its share of the entropy of ``a``, 0..1."""
    joint = np.histogram2d(a, b, bins)[0] / len(a)
    of_a, of_b = joint.sum(1), joint.sum(0)
    seen = joint > 0
    information = float((joint[seen] * np.log(joint[seen] / np.outer(of_a, of_b)[seen])).sum())
    entropy = float(-(of_a[of_a > 0] * np.log(of_a[of_a > 0])).sum())
    return information, information / entropy if entropy > 0 else 0.0


def _matching(fixed: _Working, moving: _Working, transform: sitk.Transform) -> Matching:
    """Mutual information, its share, and Dice of the masks, where the moving image covers the fixed one's mask."""
    if isinstance(transform, sitk.CompositeTransform):  # a B-spline is slow to follow: once is enough
        transform = sitk.DisplacementFieldTransform(_displacement(fixed, transform))

    def carry(array: np.ndarray, how: int) -> np.ndarray:
        return _resampled(Image(array, moving.grid.affine).to_sitk(), fixed.grid, transform, how, 0)

    covered = carry(moving.covered.astype(np.uint8), sitk.sitkNearestNeighbor) > 0
    where = fixed.mask & covered
    if np.count_nonzero(where) < 1000:
        return 0.0, 0.0, 0.0
    values = carry(moving.values, sitk.sitkLinear)
    mask = carry(moving.mask.astype(np.uint8), sitk.sitkNearestNeighbor) > 0
    total = np.count_nonzero(where) + np.count_nonzero(mask & fixed.covered)
    overlap = 2 * np.count_nonzero(where & mask) / total
    return *mutual_information(fixed.values[where], values[where]), float(overlap)


def _quality(fixed: _Working, transform: sitk.Transform, before: Matching, after: Matching, stripped: bool) -> Quality:
    _, information, overlap = after
    jacobian, displacement_mm = _deformation(fixed, transform)
    facts = Quality(
        mutual_information_before=before[0],
        mutual_information_after=after[0],
        information=information,
        mask_dice=overlap if stripped else None,
        volume_change=float(np.linalg.det(_matrix_of(_linear_part(transform))[:3, :3])),
        jacobian_min=float(jacobian.min()),
        jacobian_max=float(jacobian.max()),
        folded=float((jacobian <= 0).mean()),
        displacement_mm=float(np.percentile(displacement_mm, 95)),
    )
    return replace(facts, doubts=tuple(_doubts(facts)))


def _doubts(q: Quality) -> list[str]:
    """What speaks against a registration, as sentences."""
    doubts = []
    if q.mask_dice is not None and q.mask_dice < LEAST_DICE:
        doubts.append(f"The brains overlap with a Dice of {q.mask_dice:.2f} only; {LEAST_DICE:.2f} is the least.")
    if q.mutual_information_after < LEAST_GAIN * q.mutual_information_before:
        doubts.append("The images agreed better before the registration than after it.")
    if q.information < LEAST_INFORMATION:
        doubts.append(
            f"One image explains {q.information:.0%} of the other; below {LEAST_INFORMATION:.0%} they may not show "
            "the same head, or one is upside down."
        )
    if not VOLUME_CHANGE[0] <= q.volume_change <= VOLUME_CHANGE[1]:
        doubts.append(f"One head had to be made {q.volume_change:.2f} times as large: are they the same patient's?")
    if q.folded > MOST_FOLDED or q.jacobian_min < JACOBIAN[0] or q.jacobian_max > JACOBIAN[1]:
        doubts.append(
            f"The deformation changes volumes by {q.jacobian_min:.2f} to {q.jacobian_max:.2f} times and folds "
            f"{q.folded:.1%} of the head."
        )
    if q.displacement_mm > FARTHEST_MM:
        doubts.append(f"Tissue had to be moved by {q.displacement_mm:.0f} mm: are they the same patient's?")
    return doubts


def _deformation(fixed: _Working, transform: sitk.Transform) -> tuple[np.ndarray, np.ndarray]:
    """Jacobian determinant and displacement in mm of the deformable part, in the fixed mask: two (N,)."""
    if not isinstance(transform, sitk.CompositeTransform):
        return np.ones(1), np.zeros(1)
    displacement = _displacement(fixed, transform.GetNthTransform(1))
    jacobian = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(displacement)).T
    length = np.linalg.norm(sitk.GetArrayFromImage(displacement), axis=-1).T
    return jacobian[fixed.mask], length[fixed.mask]


def _displacement(fixed: _Working, transform: sitk.Transform) -> sitk.Image:
    like = fixed.image
    return sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, like.GetSize(), like.GetOrigin(), like.GetSpacing(), like.GetDirection()
    )


# Transforms and grids


def _linear_part(transform: sitk.Transform) -> sitk.Transform:
    return transform.GetNthTransform(0) if isinstance(transform, sitk.CompositeTransform) else transform


def _matrix_of(linear: sitk.Transform) -> np.ndarray:
    """4x4 of a rigid or affine transform, LPS mm."""
    matrix, origin = np.eye(4), np.array(linear.TransformPoint((0.0, 0.0, 0.0)))
    matrix[:3, :3] = np.column_stack([np.array(linear.TransformPoint(e)) - origin for e in np.eye(3).tolist()])
    matrix[:3, 3] = origin
    return matrix


def _resampled(image: sitk.Image, grid: Grid, transform: sitk.Transform, how: int, outside: float) -> np.ndarray:
    """Values of ``image`` at the places of ``grid``'s voxels, carried by ``transform``: (i, j, k)."""
    lps = LPS @ grid.affine
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(grid.shape)
    resampler.SetOutputSpacing(grid.spacing_mm)
    resampler.SetOutputDirection((lps[:3, :3] / grid.spacing_mm).ravel().tolist())
    resampler.SetOutputOrigin(lps[:3, 3].tolist())
    resampler.SetTransform(transform)
    resampler.SetInterpolator(how)
    resampler.SetDefaultPixelValue(outside)
    return sitk.GetArrayFromImage(resampler.Execute(image)).T


def _split(grid: Grid, parts: np.ndarray) -> Grid:
    """``grid`` with every voxel cut into ``parts`` along each axis."""
    affine = grid.affine.copy()
    affine[:3, :3] /= parts
    affine[:3, 3] -= grid.affine[:3, :3] @ ((parts - 1) / (2 * parts))
    return Grid(tuple(np.array(grid.shape) * parts), affine)
