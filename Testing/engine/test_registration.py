"""Registration finds what was done to a head: turned, scaled or bent by known amounts, in CT and FLAIR contrast."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import CT, FLAIR, oriented_affine, world
from scipy import ndimage
from scipy.spatial.transform import Rotation

from csvd.errors import InputError
from csvd.image import Grid, Image
from csvd.measure.agreement import dice
from csvd.registration import MODELS, load, mutual_information, register

SHAPE, SPACING_MM = (64, 78, 26), (2.6, 2.6, 5.0)
LESION = {"ct": 20.0, "flair": 290.0}


def brain_levels(x, y, z, levels, folded, lesion):
    """Grey values, brain, ventricles and lesion at points in mm: an ellipsoid with folds, different on every side."""
    radius = np.sqrt((x / 66) ** 2 + ((y - 4) / 84) ** 2 + ((z + 3) / 58) ** 2)
    folds = sum(
        a * np.sin(x / p + a * 7) * np.sin(y / (p + 2) + p) * np.sin(z / (p + 1) - a)
        for a, p in ((0.5, 7), (0.7, 10), (0.4, 13))
    )
    brain = (radius < 1) & (z > -30 + 0.25 * y)  # a base that is flat and rises to the front
    voxels = np.where(brain, levels["white"], 0.0)
    voxels[brain & (radius + 0.25 * folded * folds > 0.78)] = levels["cortex"]
    voxels[brain & (radius + 0.5 * folded * folds > 1.06)] = levels["fluid"]
    side = np.where(x > 0, 1.25, 1.0)  # one ventricle is larger than the other
    ventricles = ((np.abs(x) - 13) / (8 * side)) ** 2 + ((y - 2 - 0.3 * z) / 34) ** 2 + ((z - 6) / (15 * side)) ** 2 < 1
    voxels[ventricles] = levels["fluid"]
    spot = ((x - 34) / 9) ** 2 + ((y - 24) / 16) ** 2 + ((z - 12) / 12) ** 2 < 1
    voxels[spot] = lesion
    return voxels, brain, ventricles & brain, spot


def picture(kind, place=None, folded=1.0, shape=SHAPE, spacing_mm=SPACING_MM, seed=0):
    """Image, brain, ventricles and lesion of the head as ``place`` (points (3, ...) -> points) moves it, with noise."""
    affine = oriented_affine((0, 1, 2), (1, 1, 1), spacing_mm, shape, centre_mm=(0, 0, 0))
    fine = Grid((*shape[:2], shape[2] * 5), affine @ np.diag([1, 1, 0.2, 1]))  # a slice is the mean of five planes
    fine.affine[:3, 3] = affine[:3, 3] - affine[:3, 2] * 0.4
    points = world(fine.shape, fine.affine)
    levels = CT if kind == "ct" else FLAIR
    parts = brain_levels(*(points if place is None else place(points)), levels, folded, LESION[kind])
    voxels, *masks = (part.reshape(*shape, 5).astype(np.float32).mean(3) for part in parts)
    noise = 3.0 if kind == "ct" else 8.0
    voxels += noise * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return Image(voxels, affine), *(mask > 0.5 for mask in masks)


def moved_by(degrees, shift_mm):
    """Points of a scanner to points of the head that lies in it, turned and shifted; and the 4x4 of it."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return lambda points: np.einsum("ij,j...->i...", matrix[:3, :3], points) + matrix[:3, 3, None, None, None], matrix


def bent(points):
    """Up to 6 mm, over about 50 mm: enough to part the ventricles of two images."""
    x, y, z = points
    bump = np.exp(-((x / 45) ** 2 + (y / 50) ** 2 + ((z - 5) / 45) ** 2))
    return np.stack([x - 5 * bump * np.tanh(x / 12), y + 4 * bump, z + 3 * bump * np.sin(y / 30)])


def distance_mm(found, brain, image, truth):
    """Mean and largest error over the brain, mm."""
    voxels = np.argwhere(brain)[::211]
    points = voxels @ image.affine[:3, :3].T + image.affine[:3, 3]
    errors = np.linalg.norm(found.points(points) - truth(points), axis=1)
    return errors.mean(), errors.max()


@pytest.fixture(scope="module")
def ct():
    return picture("ct")


def found(ct, flair, model="rigid"):
    return register(ct[0], flair[0], fixed_mask=ct[1], moving_mask=flair[1], model=model)


@pytest.fixture(scope="module")
def followed(ct):
    """A bent FLAIR, and the deformable registration to it."""
    flair = picture("flair", bent, seed=2)
    return flair, found(ct, flair, "deformable")


def test_a_turned_and_shifted_head_is_found_to_a_millimetre(ct):
    place, matrix = moved_by((9, -4, 6), (7, -12, 9))
    flair = picture("flair", place, seed=1)
    inverse = np.linalg.inv(matrix)
    registration = found(ct, flair)
    mean, largest = distance_mm(registration, ct[1], ct[0], lambda p: p @ inverse[:3, :3].T + inverse[:3, 3])
    assert mean < 1.0
    assert largest < 2.0
    assert registration.quality.good, registration.quality.doubts
    assert registration.quality.mutual_information_after > 1.5 * registration.quality.mutual_information_before
    assert np.abs(registration.matrix - inverse)[:3, :3].max() < 0.03
    carried = registration.apply(flair[0].like(flair[3])).voxels > 0.5
    assert dice(carried, ct[3]) > 0.8
    again = found(ct, flair)
    assert np.array_equal(again.matrix, registration.matrix)


def test_a_brain_that_is_drawn_too_wide_on_one_side_is_found_by_what_lies_around_it(ct):
    place, matrix = moved_by((9, -4, 6), (7, -12, 9))
    flair = picture("flair", place, seed=1)
    voxels, brain, wide = flair[0].voxels.astype(np.float32), flair[1], flair[1].copy()
    level = voxels[brain].mean()
    voxels[brain] = level + 0.1 * (voxels[brain] - level)  # of hardly any contrast inside, as a susceptibility image
    faint = flair[0].like(voxels + np.random.default_rng(0).normal(0, 0.08 * level, voxels.shape).astype(np.float32))
    for step in range(8):
        wide |= np.roll(brain, -1 - step, axis=1)  # into skull and scalp
    inverse = np.linalg.inv(matrix)
    masks = {"fixed_mask": ct[1], "moving_mask": wide}
    mean_mm = {
        surroundings: distance_mm(
            register(ct[0], faint, **masks, surroundings=surroundings),
            ct[1], ct[0], lambda p: p @ inverse[:3, :3].T + inverse[:3, 3],
        )[0]
        for surroundings in (False, True)
    }  # fmt: skip
    assert mean_mm[False] > 1.5
    assert mean_mm[True] < 1.0


def test_a_bent_head_is_followed_further_by_the_deformable_model(ct, followed):
    flair, deformable = followed
    rigid = found(ct, flair)
    scores = [
        dice(one.apply(flair[0].like(flair[n])).voxels > 0.5, ct[n]) for n in (2, 3) for one in (rigid, deformable)
    ]
    assert scores[1] > scores[0] + 0.03  # ventricles
    assert scores[3] > scores[2]  # lesion
    errors = []
    for one in (rigid, deformable):  # bending the point that was found gives back the point
        voxels = np.argwhere(ct[1])[::211]
        points = voxels @ ct[0].affine[:3, :3].T + ct[0].affine[:3, 3]
        errors.append(np.linalg.norm(bent(one.points(points).T).T - points, axis=1).mean())
    assert errors[1] < 0.85 * errors[0]
    quality = deformable.quality
    assert quality.good, quality.doubts
    assert quality.folded == 0
    assert 0.3 < quality.jacobian_min < 1 < quality.jacobian_max < 3


def test_an_upside_down_head_and_another_one_are_doubted(ct):
    flair = picture("flair", lambda p: p * np.array([1, 1, -1])[:, None, None, None], seed=3)
    other = picture("flair", lambda p: p * np.array([1.2, 0.8, 0.9])[:, None, None, None] + 4, folded=-1.5, seed=4)
    assert not found(ct, flair).quality.good
    assert not found(ct, other, "affine").quality.good


def test_a_transform_comes_back_from_its_files_and_is_read_by_itk(followed, tmp_path):
    flair, registration = followed
    registration.save(tmp_path / "there.tfm")
    again = load(tmp_path / "there.tfm")
    assert again.model == "deformable"
    assert again.quality == registration.quality
    assert np.allclose(again.apply(flair[0]).voxels, registration.apply(flair[0]).voxels, atol=0.01)
    assert sitk.ReadTransform(str(tmp_path / "there.tfm")).GetDimension() == 3
    assert {path.name for path in tmp_path.iterdir()} == {"there.tfm", "there.tfm.json"}
    with pytest.raises(InputError, match=r"\.tfm or \.h5"):
        registration.save(tmp_path / "there.txt")
    with pytest.raises(InputError, match="cannot be written"):
        registration.save(tmp_path / "nowhere" / "there.tfm")
    (tmp_path / "there.tfm.json").write_text("{}")
    with pytest.raises(InputError, match="missing or damaged"):
        load(tmp_path / "there.tfm")


def test_carrying_keeps_types_and_volumes(ct):
    registration = found(ct, ct)
    labels = ct[3].astype(np.uint8) * 7
    assert set(np.unique(registration.apply(ct[0].like(labels), order=0).voxels).tolist()) == {0, 7}
    assert registration.apply(ct[0].like(ct[3]), order=0).voxels.dtype == bool
    fine = picture("flair", shape=(84, 100, 130), spacing_mm=(2.0, 2.0, 1.0))
    share = registration.apply(fine[0].like(fine[3])).voxels
    assert share.dtype == np.float32
    assert share.shape == SHAPE
    assert share.sum() * ct[0].voxel_volume_ml == pytest.approx(fine[3].sum() * fine[0].voxel_volume_ml, rel=0.05)
    with pytest.raises(ValueError, match="order"):
        registration.apply(ct[0], order=3)


def test_wrong_calls_are_told_in_a_sentence(ct):
    image, brain = ct[:2]
    with pytest.raises(InputError, match="Choose one of rigid, affine, deformable"):
        register(image, image, model="elastic")
    with pytest.raises(InputError, match="both or for none"):
        register(image, image, fixed_mask=brain)
    with pytest.raises(InputError, match="Give its own"):
        register(image, image, fixed_mask=brain[:-1], moving_mask=brain)
    with pytest.raises(InputError, match="its mask is empty"):
        register(image, image, fixed_mask=brain & False, moving_mask=brain)
    with pytest.raises(InputError, match="no contrast"):
        register(image.like(np.ones(SHAPE, np.float32)), image, fixed_mask=brain, moving_mask=brain)
    slanted = image.affine.copy()
    slanted[1, 2] += 1.5
    with pytest.raises(InputError, match="slanted"):
        register(Image(image.voxels, slanted), image)
    assert MODELS == ("rigid", "affine", "deformable")


def test_mutual_information_is_the_entropy_of_an_image_with_itself_and_nothing_with_noise():
    rng = np.random.default_rng(0)
    a, noise = rng.integers(0, 4, 40000), rng.integers(0, 4, 40000)
    assert mutual_information(a, a) == pytest.approx((np.log(4), 1), rel=1e-3)
    assert mutual_information(a, noise)[0] < 0.01
    assert mutual_information(a, 3 - a)[0] == pytest.approx(np.log(4), rel=1e-3)


def test_masks_are_not_needed(ct):
    """Whole heads: everything brighter than air counts."""
    place, matrix = moved_by((4, 0, -3), (3, 5, 2))
    flair = picture("flair", place, seed=6)
    inverse = np.linalg.inv(matrix)
    registration = register(ct[0], flair[0])
    assert distance_mm(registration, ct[1], ct[0], lambda p: p @ inverse[:3, :3].T + inverse[:3, 3])[0] < 1.5
    assert registration.quality.mask_dice is None
    assert ndimage.label(registration.apply(flair[0]).voxels > 100)[1] >= 1
