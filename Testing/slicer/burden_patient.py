"""A patient with FLAIR, T1 and SWI in the scene, each on its own voxels, and a BurdenResult known by hand.

FLAIR: 35 voxels of 4.8 mm3 of hyperintensities. T1: a lacune of 64 mm3 and a perivascular space of 6 mm3 in the basal
ganglia. SWI: lobar microbleeds of 64 and 27 mm3, and a candidate of 1 mm3, too small for one. So the total SVD score is
2: a point for lacunes, one for microbleeds.
"""

import numpy as np
from nodes import add_flair, add_volume, result_of
from phantoms import OBLIQUE, oriented_affine

from csvd.burden_result import BurdenResult
from csvd.focal_result import FocalResult
from csvd.measure.regions import MICROBLEED_REGIONS, PERIVASCULAR_REGIONS, Regions
from csvd_slicer.volumes import image_from_node

SHAPE = (24, 20, 12)
LACUNE, TUBE = np.s_[2:6, 2:6, 2:6], np.s_[12:13, 10:11, 3:9]
LARGE, SMALL, DOT = np.s_[2:6, 2:6, 2:6], np.s_[12:15, 2:5, 2:5], np.s_[2:3, 14:15, 8:9]
FREE = np.s_[18:21, 12:15, 5:8]  # where nothing is
PLACES = {
    "lacune": [(LACUNE, 0.9)],
    "perivascular_space": [(TUBE, 0.8)],
    "microbleed": [(LARGE, 0.9), (SMALL, 0.6), (DOT, 0.8)],
}
AFFINES = {
    "t1": oriented_affine((0, 1, 2), (1, 1, 1), (1, 1, 1), SHAPE),
    "swi": oriented_affine((0, 1, 2), (-1, 1, 1), (1, 1, 1), SHAPE, OBLIQUE),  # left-handed, as files may be
}


def add_scans(scene, *names):
    """Scans of the patient by sequence, FLAIR first; all three unless named."""
    voxels = np.random.default_rng(2).integers(0, 300, SHAPE).astype(np.int16)
    scans = {}
    for name in names or ("flair", "t1", "swi"):
        scans[name] = add_flair(scene) if name == "flair" else add_volume(scene, voxels, AFFINES[name], name.upper())
    return scans


def foci(marker, image, places):
    probability = np.zeros(SHAPE, np.float32)
    for place, p in places:
        probability[place] = p
    perivascular = marker == "perivascular_space"
    names = PERIVASCULAR_REGIONS if perivascular else MICROBLEED_REGIONS  # the first: basal ganglia, or lobar
    regions = Regions(np.ones(SHAPE, np.uint8), names)
    return FocalResult.from_probability(
        marker, image, probability, brain=np.ones(SHAPE, bool), regions=regions, midplane=[1, 0, 0, 0]
    )


def burden_of(scans, empty=False, **settings):
    """The BurdenResult of `add_scans`; `empty` has no lesion of any kind."""
    images = {name: image_from_node(scan) for name, scan in scans.items()}
    wmh = result_of(scans["flair"], empty) if "flair" in scans else None
    if wmh is not None:
        images["flair"] = wmh.image
    focal = {}
    for name, markers in (("t1", ("lacune", "perivascular_space")), ("swi", ("microbleed",))):
        if name in scans:
            focal |= {marker: foci(marker, images[name], [] if empty else PLACES[marker]) for marker in markers}
    provenance = {"marker": "burden", "input": {}, "date": "2026-01-01T00:00:00+00:00"}
    return BurdenResult(
        sequences=images, wmh=wmh, focal=focal, parameters={"model": "burden-mounet"},
        **{"provenance": provenance, **settings},
    )  # fmt: skip


def numbers(result):
    return {name: m.value for name, m in result.measurements.items()}
