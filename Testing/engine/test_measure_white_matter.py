import json
import time
from dataclasses import asdict

import numpy as np
import pytest
from scipy import ndimage

from csvd.errors import InputError
from csvd.measure import Measurement, measure_white_matter
from csvd.measure.reference import cutoff, norms
from csvd.measure.zones import ventricle_distance

SPACING = (1.0, 1.0, 5.0)
AFFINE = np.diag([*SPACING, 1.0])
NAMES = {
    *("total_volume", "periventricular_volume", "deep_volume", "icv_volume"),
    *("total_percent_icv", "periventricular_percent_icv", "deep_percent_icv"),
    *("lesion_count", "lesion_count_small", "lesion_count_medium", "lesion_count_large"),
    *("lesion_count_periventricular", "lesion_count_deep", "largest_lesion_volume"),
    *("fazekas_periventricular", "fazekas_deep", "fazekas_total", "fazekas_severe", "fazekas_volume_grade"),
    *(f"fazekas_likelihood_{zone}_{grade}" for zone in ("periventricular", "deep") for grade in ("0_1", "2", "3")),
    *("fazekas_agreement", "periventricular_thickness", "deep_diameter"),
    *("uncertainty_index", "review_recommended", "threshold", "periventricular_distance", "periventricular_rule"),
}


@pytest.fixture
def scan():
    """A ventricle in the plane i = 0; a halo of 6 x 20 voxels, a deep lesion of 6 x 8, a focus of 1; p = .8 or .95."""
    probability = np.zeros((60, 60, 3), np.float32)
    probability[1:7, 10:30, 1] = 0.95
    probability[20:26, 10:18, 1] = 0.8
    probability[40, 40, 1] = 0.8
    ventricles = np.zeros(probability.shape, bool)
    ventricles[0] = True
    brain = np.ones(probability.shape, bool)
    return {
        "mask": probability >= 0.5,
        "probability": probability,
        "distance_mm": ventricle_distance(ventricles, SPACING),
        "brain": brain,
    }


def measured(scan, **settings):
    return measure_white_matter(**scan, spacing_mm=SPACING, affine=AFFINE, **settings)


def values(measures):
    return {name: m.value for name, m in measures.measurements.items()}


def test_the_measurements_of_a_small_scan_by_hand(scan):
    measures = measured(scan)
    found = values(measures)
    assert set(found) == NAMES
    # 5 mm3 a voxel: 120, 48 and 1 voxels; 60 * 60 * 3 = 10800 voxels of brain.
    expected = {
        "total_volume": 0.845,
        "periventricular_volume": 0.600,
        "deep_volume": 0.245,
        "icv_volume": 54.0,
        "total_percent_icv": 100 * 169 / 10800,
        "periventricular_percent_icv": 100 * 120 / 10800,
        "deep_percent_icv": 100 * 49 / 10800,
        "largest_lesion_volume": 0.600,
        "periventricular_thickness": 6,
        "deep_diameter": 10,
        "uncertainty_index": 49 / 169,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert (found["lesion_count"], found["lesion_count_periventricular"], found["lesion_count_deep"]) == (3, 1, 2)
    # 600, 240 and 5 mm3
    assert [found[f"lesion_count_{size}"] for size in ("small", "medium", "large")] == [1, 0, 2]
    assert (found["fazekas_periventricular"], found["fazekas_deep"], found["fazekas_total"]) == (2, 2, 4)
    assert (found["fazekas_severe"], found["fazekas_volume_grade"]) == (True, 0)
    assert found["review_recommended"] is False
    assert [lesion.zone for lesion in measures.lesions] == ["periventricular", "deep", "deep"]


def test_labels_are_on_the_whole_grid(scan):
    labels = measured(scan).labels
    assert labels.dtype == np.uint8
    assert labels.shape == scan["mask"].shape
    assert (labels[1:7, 10:30, 1] == 1).all()
    assert (labels[20:26, 10:18, 1] == 2).all()
    assert np.array_equal(labels > 0, scan["mask"])


def test_another_distance_moves_volume_between_the_zones(scan):
    found = values(measured(scan, pv_distance_mm=4.5))
    assert found["periventricular_volume"] == pytest.approx(0.4)  # 4 of the halo's 6 mm
    assert found["total_volume"] == pytest.approx(0.845)
    assert found["periventricular_distance"] == 4.5
    whole = values(measured(scan, pv_distance_mm=2.0, pv_rule="cluster"))
    assert whole["periventricular_volume"] == pytest.approx(0.6)
    assert whole["periventricular_rule"] == "cluster"


def test_without_lesions_everything_is_zero_and_nothing_is_missing(scan):
    scan["mask"] = np.zeros_like(scan["mask"])
    measures = measured(scan)
    found = values(measures)
    assert found.pop("uncertainty_index") == "no WMH"
    assert found.pop("periventricular_rule") == "voxel"
    assert found.pop("fazekas_agreement") is True
    for zone in ("periventricular", "deep"):
        assert found.pop(f"fazekas_likelihood_{zone}_0_1") == 1
    settings = {"icv_volume": 54.0, "threshold": 0.5, "periventricular_distance": 10.0}
    assert {name: found.pop(name) for name in settings} == pytest.approx(settings)
    assert set(found.values()) == {0}
    assert measures.lesions == []
    assert not measures.labels.any()


@pytest.mark.parametrize("missing", [None, "infinite"])
def test_without_ventricles_the_zones_are_missing_and_not_zero(scan, missing):
    scan["distance_mm"] = None if missing is None else np.full(scan["mask"].shape, np.inf, np.float32)
    measures = measured(scan)
    found = values(measures)
    for name in ("periventricular_volume", "deep_percent_icv", "lesion_count_deep", "fazekas_total", "deep_diameter"):
        assert found[name] is None
    assert found["fazekas_agreement"] is None
    assert found["total_volume"] == pytest.approx(0.845)
    assert found["lesion_count"] == 3
    assert (measures.labels[scan["mask"]] == 2).all()
    assert {lesion.zone for lesion in measures.lesions} == {"unknown"}


def test_no_lesion_and_no_ventricle_is_still_zero(scan):
    scan |= {"distance_mm": None, "mask": np.zeros_like(scan["mask"])}
    found = values(measured(scan))
    assert (found["deep_volume"], found["fazekas_total"], found["fazekas_agreement"]) == (0, 0, True)


def test_without_a_brain_the_percentages_are_missing(scan):
    scan["brain"] = np.zeros_like(scan["brain"])
    found = values(measured(scan))
    assert found["icv_volume"] == 0
    assert found["total_percent_icv"] is found["deep_percent_icv"] is None
    assert found["total_volume"] == pytest.approx(0.845)


@pytest.mark.parametrize(("uncertain", "review"), [(6, False), (7, True)])
def test_review_is_recommended_from_an_index_of_35_percent(scan, uncertain, review):
    mask = np.zeros_like(scan["mask"])
    mask[:20, 0, 0] = True
    scan["probability"][:20, 0, 0] = 0.95
    scan["probability"][:uncertain, 0, 0] = 0.7
    found = values(measured(scan | {"mask": mask}))
    assert found["uncertainty_index"] == pytest.approx(uncertain / 20)
    assert found["review_recommended"] is review


def test_more_empty_space_around_the_head_changes_nothing(scan):
    before = (4, 7, 2)
    wider = {name: np.pad(volume, [(n, 3) for n in before]) for name, volume in scan.items()}
    wider["distance_mm"][wider["distance_mm"] == 0] = 30
    affine = AFFINE.copy()
    affine[:3, 3] = -AFFINE[:3, :3] @ before
    plain, padded = measured(scan), measure_white_matter(**wider, spacing_mm=SPACING, affine=affine)
    assert values(plain) == values(padded)
    assert plain.lesions == padded.lesions


def test_everything_can_be_written_as_strict_json(scan):
    measures = measured(scan)
    for thing in (*measures.measurements.values(), *measures.lesions, measures.fazekas):
        json.dumps(asdict(thing), allow_nan=False)
    for name, m in measures.measurements.items():
        assert isinstance(m, Measurement)
        assert m.name == name
        assert m.title
        assert m.source


@pytest.mark.parametrize("distance", [0, -1, 30, float("nan")])
def test_a_distance_that_cannot_be_measured_is_refused(scan, distance):
    with pytest.raises(InputError, match=r"periventricular distance .* below 30 mm"):
        measured(scan, pv_distance_mm=distance)


def test_volumes_of_different_shapes_are_refused(scan):
    with pytest.raises(ValueError, match="brain volume"):
        measured(scan | {"brain": scan["brain"][1:]})


def test_sources_say_where_a_number_comes_from(scan):
    found = measured(scan).measurements
    assert "0274562" in found["fazekas_volume_grade"].source
    assert "A8418" in found["uncertainty_index"].source
    assert "from memory, to be checked" in found["fazekas_deep"].source
    assert "from memory, to be checked" in found["fazekas_periventricular"].source
    assert "choice" in cutoff("grade_tolerance").source
    assert all(norm.source and norm.measurement in NAMES for norm in norms())


def test_a_remeasurement_with_500_lesions_takes_less_than_a_few_smoothings_of_the_volume():
    rng = np.random.default_rng(0)
    shape, spacing = (256, 256, 24), (0.9, 0.9, 6.0)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), (3, 3, 0.4))
    mask = smooth > np.quantile(smooth, 0.99)
    probability = np.where(mask, 0.9, 0.1).astype(np.float32)
    ventricles = np.zeros(shape, bool)
    ventricles[118:138, 100:150, 8:14] = True
    distance = ventricle_distance(ventricles, spacing)

    def best_of_three(work):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            result = work()
            times.append(time.perf_counter() - start)
        return min(times), result

    affine = np.diag([*spacing, 1.0])
    ours, measures = best_of_three(lambda: measure_white_matter(mask, probability, distance, mask, spacing, affine))
    smoothing, _ = best_of_three(lambda: ndimage.gaussian_filter(probability, 2.0))
    assert len(measures.lesions) > 500
    assert ours < 10 * smoothing
