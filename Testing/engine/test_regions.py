"""Regions of microbleeds and perivascular spaces on a head of boxes whose distances can be counted."""

import itertools

import numpy as np
import pytest
from phantoms import OBLIQUE

from csvd.errors import InputError
from csvd.measure.hemispheres import hemispheres_of
from csvd.measure.regions import microbleed_pattern, microbleed_regions, perivascular_regions

NAMES = ("background", "white_matter", "cortex", "lateral_ventricles", "third_ventricle", "fourth_ventricle")
NAMES += ("deep_grey", "brain_stem", "cerebellum", "csf")
SHAPE = (60, 20, 70)


def head(without=()):
    """Labels at 1 mm, x to the right; from below upward: cerebellum and brain stem, deep grey, ventricle, cortex."""
    labels = np.zeros(SHAPE, np.uint8)

    def put(name, x, z):
        if name not in without:
            labels[slice(*x), :, slice(*z)] = NAMES.index(name)

    put("csf", (2, 58), (28, 68))
    put("cortex", (5, 55), (28, 65))
    put("white_matter", (8, 52), (28, 62))
    put("deep_grey", (18, 26), (30, 40))  # the basal ganglia of one side
    put("deep_grey", (10, 14), (24, 28))  # a hippocampus
    put("lateral_ventricles", (28, 32), (44, 48))
    put("cerebellum", (8, 52), (2, 20))
    put("brain_stem", (26, 34), (5, 35))
    put("fourth_ventricle", (28, 32), (6, 16))
    return labels


def regions(rule, labels=None, affine=None):
    found = rule(head() if labels is None else labels, NAMES, (1, 1, 1), np.eye(4) if affine is None else affine)
    return lambda x, z, y=10: found.names[found.labels[x, y, z]]


@pytest.mark.parametrize(("x", "z", "where"), [
    (6, 50, "lobar"),  # cortex
    (10, 55, "lobar"),  # white matter far from everything
    (22, 35, "deep"),  # basal ganglia
    (13, 35, "deep"),  # white matter 5 mm beside them
    (12, 35, "lobar"),  # 6 mm
    (18, 46, "deep"),  # 10 mm beside the ventricle
    (17, 47, "lobar"),  # 11 mm
    (30, 57, "deep"),  # 10 mm above it, where the corpus callosum is
    (30, 58, "lobar"),
    (12, 25, "lobar"),  # hippocampus, though it is labelled deep grey
    (30, 18, "brain stem"),
    (12, 10, "cerebellum"),
    (28, 7, "brain stem"),  # the wall of the fourth ventricle
    (4, 50, "lobar"),  # fluid 1 mm outside the cortex
    (2, 50, "lobar"),  # 3 mm
    (30, 46, "deep"),  # in the ventricle, 2 mm from its wall
    (0, 50, ""),  # outside the head
])  # fmt: skip
def test_microbleeds_are_lobar_deep_or_infratentorial(x, z, where):
    assert regions(microbleed_regions)(x, z) == where


def test_fluid_farther_than_3_mm_from_brain_has_no_region():
    labels = head(without=("cortex",))
    labels[2:8, :, 28:68] = NAMES.index("csf")
    at = regions(microbleed_regions, labels)
    assert at(5, 50) == "lobar"
    assert at(4, 50) == ""


@pytest.mark.parametrize(("x", "z", "where"), [
    (22, 35, "basal ganglia"),
    (13, 35, "basal ganglia"),  # 5 mm of capsule
    (12, 35, "centrum semiovale"),  # at the middle of the basal ganglia, z = 35
    (12, 34, ""),  # below it: temporal
    (10, 55, "centrum semiovale"),
    (18, 46, "centrum semiovale"),  # periventricular
    (30, 16, "midbrain"),  # the fourth ventricle ends at z = 15
    (30, 34, "midbrain"),
    (27, 14, ""),  # pons
    (6, 50, ""),  # cortex
    (12, 10, ""),  # cerebellum
    (12, 25, ""),  # hippocampus
])  # fmt: skip
def test_perivascular_spaces_are_rated_in_basal_ganglia_centrum_semiovale_and_midbrain(x, z, where):
    assert regions(perivascular_regions)(x, z) == where


def test_without_a_fourth_ventricle_the_midbrain_is_the_upper_17_mm_of_the_brain_stem():
    at = regions(perivascular_regions, head(without=("fourth_ventricle",)))  # the stem ends at z = 34
    assert at(30, 18) == "midbrain"
    assert at(30, 16) == ""


def test_without_a_brain_stem_all_deep_grey_is_taken_for_basal_ganglia():
    labels = head(without=("brain_stem", "fourth_ventricle"))
    assert regions(microbleed_regions, labels)(12, 25) == "deep"
    assert regions(perivascular_regions, labels)(30, 20) == ""


def test_heights_are_those_of_the_world_and_not_of_the_array():
    turned = head()[:, :, ::-1]
    affine = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, SHAPE[2] - 1], [0, 0, 0, 1.0]])
    straight = perivascular_regions(head(), NAMES, (1, 1, 1), np.eye(4))
    flipped = perivascular_regions(turned, NAMES, (1, 1, 1), affine)
    assert np.array_equal(straight.labels, flipped.labels[:, :, ::-1])


@pytest.mark.parametrize("rule", [microbleed_regions, perivascular_regions])
def test_it_does_not_matter_how_the_head_was_held(rule):
    tilted = np.eye(4)
    tilted[:3, :3] = OBLIQUE
    assert np.array_equal(
        rule(head(), NAMES, (1, 1, 1), tilted).labels, rule(head(), NAMES, (1, 1, 1), np.eye(4)).labels
    )


@pytest.mark.parametrize("rule", [microbleed_regions, perivascular_regions])
def test_an_image_without_brain_has_no_regions(rule):
    assert not rule(np.zeros((4, 4, 4), np.uint8), NAMES, (1, 1, 1), np.eye(4)).labels.any()


def test_a_point_is_left_or_right_of_a_plane_that_may_be_tilted_and_shifted():
    points = [(-3, 0, 0), (3, 0, 0), (2, 0, 0), (2.5, 10, 0)]
    assert hemispheres_of(points, (1, 0, 0, 2)) == ["left", "right", "right", "right"]
    assert hemispheres_of(points, (2, -0.2, 0, 4)) == ["left", "right", "right", "left"]
    with pytest.raises(InputError, match="mid-sagittal"):
        hemispheres_of(points, (-1, 0, 0, 2))


COUNTS = (None, 0, 1, 7)
KNOWN = {(False, False): "none", (True, False): "strictly lobar", (False, True): "deep", (True, True): "mixed"}


@pytest.mark.parametrize(("lobar", "deep", "stem"), list(itertools.product(COUNTS, repeat=3)))
def test_the_pattern_of_microbleeds_for_every_combination(lobar, deep, stem):
    """Worked out the long way: it is known where every way to fill in what is missing gives one answer."""
    for cerebellum in COUNTS:
        counts = lobar, deep, stem, cerebellum
        ways = itertools.product(*((0, 1) if count is None else (count,) for count in counts))
        answers = {KNOWN[a > 0, b > 0 or c > 0] if a or b or c or not d else "cerebellar only" for a, b, c, d in ways}
        assert microbleed_pattern(*counts) == (answers.pop() if len(answers) == 1 else None)


def test_a_tissue_that_the_network_does_not_know_is_nowhere():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[2] = 1
    found = microbleed_regions(labels, ("background", "white_matter"), (1, 1, 1), np.eye(4))
    assert set(np.unique(found.labels)) == {0, found.names.index("lobar")}
