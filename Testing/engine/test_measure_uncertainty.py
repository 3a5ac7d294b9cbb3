import numpy as np
import pytest
from scipy.stats import entropy

from csvd.measure.uncertainty import divergence, is_uncertain, uncertainty_index, uncertainty_map


def test_the_divergence_is_in_bits():
    p = np.array([0.5, 0.75, 1.0, 0.0])
    # H2(.75) = .75 log2(4/3) + .25 log2 4 = .311278 + .5
    np.testing.assert_allclose(divergence(p), [0, 1 - 0.811278, 1, 1], atol=1e-6)


def test_a_voxel_at_92_percent_is_certain_although_it_would_not_be_in_nats():
    # H2(.92) = .92 * .120294 + .08 * 3.643856 = .402179 bit; KL = .597821 bit = .414378 nat < .5
    kl_bits = divergence(np.array(0.92))
    assert kl_bits == pytest.approx(0.597821, abs=1e-6)
    assert kl_bits * np.log(2) < 0.5
    assert not is_uncertain(np.array(0.92))


def test_certainty_begins_at_89_percent():
    # H2(.89) = .89 * .168123 + .11 * 3.184425 = .499916, so KL(.89) = .500084
    assert divergence(np.array(0.89)) == pytest.approx(0.500084, abs=1e-6)
    p = np.array([0.5, 0.88, 0.8899, 0.8901, 0.95], np.float32)
    assert is_uncertain(p).tolist() == [True, True, True, False, False]


def test_the_map_is_what_the_authors_code_computes():
    p = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    theirs = [1 - entropy([q, 1 - q], [0.5, 0.5], base=2) for q in p.ravel().astype(float)]
    ours = uncertainty_map(p)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours.ravel(), theirs, atol=1e-6)


def test_the_map_is_zero_outside_the_brain():
    p = np.full((2, 2, 2), 0.5, np.float32)
    brain = np.zeros(p.shape, bool)
    brain[0] = True
    assert uncertainty_map(p, brain)[:, 0, 0].tolist() == [1, 0]


def test_the_index_is_the_uncertain_share_of_the_predicted_voxels_only():
    p = np.array([0.6, 0.7, 0.92, 0.99, 0.3, 0.45], np.float32).reshape(6, 1, 1)
    assert uncertainty_index(p, p >= 0.5) == pytest.approx(2 / 4)


def test_a_voxel_painted_where_the_ensemble_saw_nothing_is_not_uncertain():
    p = np.array([0.01, 0.6], np.float32).reshape(2, 1, 1)
    assert uncertainty_index(p, np.ones((2, 1, 1), bool)) == pytest.approx(1 / 2)


def test_without_predicted_voxels_there_is_no_index():
    p = np.full((2, 2, 2), 0.1, np.float32)
    assert uncertainty_index(p, p >= 0.5) is None


def test_single_precision_is_not_copied_to_double():
    assert divergence(np.zeros(3, np.float32)).dtype == np.float32
