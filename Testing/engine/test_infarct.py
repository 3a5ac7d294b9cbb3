"""What is dark on one side and reaches the cortex is told as an infarct; leukoaraiosis and small things are not."""

import numpy as np
import pytest
from ct_phantom import BRAIN, around, head_ct
from phantoms import world
from tiny_models import ANATOMY_LABELS, VENTRICLE, Ellipsoid

from csvd.anatomy import GROUPS, Anatomy
from csvd.head_ct import find_head
from csvd.infarct import infarct_core, infarct_doubts

MIDDLE = (1.0, 0.0, 0.0, 0.0)
LARGE = Ellipsoid((38, -14, 30), (20, 26, 20))  # 43 mL, some of it beyond the brain
SMALL = Ellipsoid((44, -14, 30), (9, 12, 10))


def known(head):
    """The anatomy of the phantom: 6 mm of cortex, white matter and one ventricle."""
    points = world(head.image.voxels.shape, head.image.affine)
    brain, horn, inner = BRAIN.holds(*points), VENTRICLE.holds(*points), around(BRAIN, -6).holds(*points)
    labels = np.zeros(brain.shape, np.uint8)
    labels[brain] = ANATOMY_LABELS.index("cortex")
    labels[inner] = ANATOMY_LABELS.index("white_matter")
    masks = dict.fromkeys(GROUPS, brain) | {"lateral_ventricles": horn}
    shares = {group: np.where(mask, 255, 0).astype(np.uint8) for group, mask in masks.items()}
    return Anatomy(head.image.grid, ANATOMY_LABELS, labels, shares)


def with_infarct(*parts, hu=20):
    ct = head_ct(lesions=())
    points = world(ct.voxels.shape, ct.affine)
    voxels = ct.voxels.copy()
    for part in parts:
        voxels[part.holds(*points) & BRAIN.holds(*points)] = hu
    head = find_head(ct.like(voxels), 5.0)
    truth = np.any([part.holds(*world(head.image.voxels.shape, head.image.affine)) for part in parts or (LARGE,)], 0)
    return head, truth & head.cavity


def test_a_large_dark_part_of_one_side_with_its_cortex_is_an_infarct():
    head, truth = with_infarct(LARGE)
    core = infarct_core(head, known(head), MIDDLE)
    assert np.count_nonzero(core & truth) > 0.7 * np.count_nonzero(core)
    assert np.count_nonzero(core & truth) > 0.7 * np.count_nonzero(truth)
    (doubt,) = infarct_doubts(core, head, MIDDLE)
    assert "mL on the right are darker than the other side" in doubt


@pytest.mark.parametrize("parts", [
    pytest.param((), id="nothing"),
    pytest.param((SMALL,), id="less than 10 mL"),
    pytest.param((Ellipsoid((24, -10, 30), (12, 20, 14)),), id="far from the cortex"),
    pytest.param((LARGE, Ellipsoid((-38, -14, 30), LARGE.radii)), id="on both sides"),
])  # fmt: skip
def test_what_is_small_deep_or_on_both_sides_is_none(parts):
    head, _ = with_infarct(*parts)
    core = infarct_core(head, known(head), MIDDLE)
    assert not core.any()
    assert infarct_doubts(core, head, MIDDLE) == []


def test_a_bleeding_does_not_make_an_infarct_of_the_other_side():
    head, _ = with_infarct(LARGE, hu=75)
    core = infarct_core(head, known(head), MIDDLE)
    assert not (core & LARGE.holds(*world(core.shape, head.image.affine))).any()
