"""A head made by hand for the tests of what training draws."""

import numpy as np
import torch
from tiny_models import ball_in

from training import heads
from training.heads import CODE, Head

SHAPE, CENTRE = (120, 150, 110), (60, 76, 55)


def shells():
    """Tissue: skin, bone, fluid, cortex and white matter as shells around ``CENTRE``, and two lateral ventricles."""
    tissue = torch.zeros(SHAPE, dtype=torch.uint8)
    for name, margin in (("skin", 12), ("bone", 8), ("csf", 4), ("cortex", 0), ("white_matter", -5)):
        tissue[ball_in(SHAPE, CENTRE, (44 + margin, 58 + margin, 40 + margin))] = CODE[name]
    for side in (-12, 12):
        tissue[ball_in(SHAPE, (60 + side, 76, 58), (7, 22, 12))] = CODE["lateral_ventricle"]
    return tissue


def head_of(tissue, lesion):
    """The Head of this tissue, with ``lesion`` (a mask) as the shape of its disease."""
    targets = ([CODE["lateral_ventricle"], CODE["choroid_plexus"]], [CODE["cortex"], CODE["csf"]])
    distances = [torch.from_numpy(heads.distance_bytes(np.isin(tissue.numpy(), codes))) for codes in targets]
    box = heads.brain_box(np.isin(tissue.numpy(), heads.BRAIN))
    return Head("made by hand", tissue, *distances, torch.from_numpy(heads.soften(lesion.numpy())), box)


def made_head():
    """The shells with plexus in one ventricle, and a third ventricle."""
    tissue = shells()
    tissue[ball_in(SHAPE, (48, 70, 58), (3, 6, 5))] = CODE["choroid_plexus"]
    tissue[ball_in(SHAPE, (60, 80, 44), (3, 10, 6))] = CODE["third_ventricle"]
    return head_of(tissue, ball_in(SHAPE, (84, 76, 58), (8, 22, 16)))
