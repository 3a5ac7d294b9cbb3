"""Grey values as networks are given them: the same from arrays and tensors, slice by slice, whatever they hold."""

import numpy as np
import pytest
import torch

from csvd.preprocessing import BACKGROUNDS, SCALINGS

EACH = pytest.mark.parametrize("scale", SCALINGS.values(), ids=SCALINGS)


def slices(seed=0):
    """Three slices (3, 30, 40) of a brain over its median, one after the other brighter, on zeros."""
    grey = np.random.default_rng(seed).normal(1, 0.2, (3, 30, 40)).clip(0.1, 4)
    grey *= np.array([1.0, 1.4, 1.8])[:, None, None]
    return np.where(np.hypot(*np.ogrid[-15:15, -20:20]) < 12, grey, 0).astype(np.float32)


def test_every_scaling_has_a_background():
    assert set(SCALINGS) == {"brain_median", "min_max_255", "z_score"}
    assert set(BACKGROUNDS) == {*SCALINGS, "hounsfield"}


@EACH
def test_arrays_and_tensors_give_the_same_numbers_in_32_bits(scale):
    image = slices()
    array, tensor = scale(image), scale(torch.from_numpy(image))
    assert (array.dtype, tensor.dtype) == (np.float32, torch.float32)
    assert np.abs(array - tensor.numpy()).max() < 1e-5 * np.abs(array).max()


@EACH
def test_a_slice_is_scaled_by_itself_however_many_there_are(scale):
    image = slices()
    together = scale(image)
    for n in range(3):
        assert np.allclose(scale(image[n]), together[n], rtol=1e-5, atol=1e-6)
    stacked = scale(image.reshape(3, 1, 30, 40))
    assert np.array_equal(stacked[:, 0], together)


@EACH
def test_the_input_is_not_changed(scale):
    image, tensor = slices(), torch.from_numpy(slices())
    scale(image)
    scale(tensor)
    assert np.array_equal(image, slices())
    assert np.array_equal(tensor.numpy(), slices())


@pytest.mark.parametrize("name", SCALINGS)
def test_a_slice_of_nothing_is_background(name):
    empty = np.zeros((2, 8, 9), np.float32)
    assert np.unique(SCALINGS[name](empty)).tolist() == [BACKGROUNDS[name]]
    assert torch.unique(SCALINGS[name](torch.from_numpy(empty))).tolist() == [BACKGROUNDS[name]]


@pytest.mark.parametrize("name", ["brain_median", "min_max_255"])
def test_what_is_outside_the_brain_is_background(name):
    image = slices()
    assert np.unique(SCALINGS[name](image)[image == 0]).tolist() == [BACKGROUNDS[name]]


@pytest.mark.parametrize("grey", [0.1, 0.7, 3.3])
@pytest.mark.parametrize("name", ["min_max_255", "z_score"])
def test_a_slice_of_one_grey_value_has_no_contrast_to_blow_up(name, grey):
    constant = np.full((64, 64), grey, np.float32)
    for image in (constant, torch.from_numpy(constant)):
        assert np.abs(np.asarray(SCALINGS[name](image))).max() < 0.01


def test_the_brains_median_becomes_0_and_a_quarter_more_1():
    image = np.array([[0.0, 1.0], [1.25, 1.5]], np.float32)
    assert SCALINGS["brain_median"](image).tolist() == [[-4, 0], [1, 2]]


def test_min_max_spans_0_to_255_in_every_slice():
    image = np.array([[[0.0, 1.0], [2.0, 0.5]], [[1.0, 1.5], [1.25, 1.0]]], np.float32)
    assert SCALINGS["min_max_255"](image).tolist() == [[[0, 127.5], [255, 63.75]], [[0, 255], [127.5, 0]]]


def test_z_scores_have_mean_0_and_standard_deviation_1_in_every_slice_air_included():
    image = np.array([[0.0, 0.0], [1.0, 1.0]], np.float32)  # mean .5, standard deviation .5
    assert SCALINGS["z_score"](image).tolist() == [[-1, -1], [1, 1]]
    scaled = SCALINGS["z_score"](slices())
    assert scaled.mean(axis=(1, 2)) == pytest.approx([0, 0, 0], abs=1e-5)
    assert scaled.std(axis=(1, 2)) == pytest.approx([1, 1, 1], abs=1e-5)


@pytest.mark.parametrize("name", ["min_max_255", "z_score"])
def test_the_scanners_own_unit_does_not_matter(name):
    image = slices()
    assert np.allclose(SCALINGS[name](image), SCALINGS[name](image * 700), rtol=1e-4, atol=1e-4)
