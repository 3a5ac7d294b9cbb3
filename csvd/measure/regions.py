"""Where in the brain a microbleed or a perivascular space lies, by rules on the labels of the anatomy network.

The regions are those of two visual scales: MARS for microbleeds, Potter for perivascular spaces. Readers follow
capsules and gyri by eye; here distances stand in for them, and every distance is a choice, made on the label maps
and the atlas that its line names. Arrays are (i, j, k) with an affine to RAS mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from csvd.measure.reference import citation
from csvd.measure.zones import ventricle_distance as distance_to

MICROBLEED_REGIONS = ("", "lobar", "deep", "brain stem", "cerebellum")
PERIVASCULAR_REGIONS = ("", "basal ganglia", "centrum semiovale", "midbrain")
INFRATENTORIAL = ("brain stem", "cerebellum")

CAPSULE_MM = 5.0
"""White matter this near to basal ganglia or thalamus is internal or external capsule. Choice: half the width of the
internal capsule, so that the distances from both sides meet."""
PERIVENTRICULAR_MM = 10.0
"""White matter this near to a lateral ventricle is deep: corpus callosum and periventricular white matter. Choice: the
same 10 mm that split hyperintensities. Beside the MARS atlas (v-sundaresan/microbleed-size-counting) on two heads, 10
and 15 mm did equally well and neither did well: a balanced accuracy of two thirds over white matter."""
DEEP_FLOOR_MM = 6.0
"""The network's deep grey holds hippocampus and amygdala too, which are temporal lobe; they lie below a plane this far
under the top of the brain stem. Choice: it keeps 99 % of basal ganglia and thalamus in the 20 label maps of
BBillot/SynthSeg and parts them from the others with a balanced accuracy of 95 % (92 % in the worst)."""
FOURTH_VENTRICLE_TOP = 95
"""Percentile of the fourth ventricle's height at which the midbrain begins. Choice: above it runs the aqueduct, which a
label of the ventricle often follows upward."""
MIDBRAIN_MM = 17.0
"""What of the brain stem label is midbrain, from its top, where no fourth ventricle is labelled. Choice: the median in
the same label maps of what lies above the fourth ventricle (11 to 25 mm)."""
UPRIGHT = float(np.cos(np.pi / 4))
"""Cosine to the superior axis from which a direction found in the head is believed. Choice: no head is held more than
45 degrees from upright, and a part of a head may point anywhere."""
SULCUS_MM = 3.0
"""Fluid this near to brain belongs to it. Choice: a microbleed blooms past the cortex into the sulcus."""

MICROBLEED_RULE = (
    f"Lobar, deep or infratentorial as in {citation('mars')}. Deep: basal ganglia, thalamus, white matter within "
    f"{CAPSULE_MM:g} mm of them or {PERIVENTRICULAR_MM:g} mm of a lateral ventricle (distances are choices); "
    "cortex, hippocampus and all other white matter are lobar"
)
PERIVASCULAR_RULE = (
    f"Regions as in {citation('potter2015')}. Basal ganglia: basal ganglia, thalamus and white matter within "
    f"{CAPSULE_MM:g} mm; centrum semiovale: other white matter of the hemispheres above the middle of the basal "
    "ganglia; midbrain: brain stem above the fourth ventricle (all choices)"
)


@dataclass(frozen=True, eq=False)
class Regions:
    """``labels`` is uint8 (i, j, k), an index into ``names``; 0, with an empty name, is in no region."""

    labels: np.ndarray
    names: tuple[str, ...]


def microbleed_regions(
    labels: np.ndarray, names: Sequence[str], spacing_mm: Sequence[float], affine: np.ndarray
) -> Regions:
    """Return ``MICROBLEED_REGIONS``, after MARS (its infratentorial region in its two parts).

    ``labels`` index ``names``, those of the anatomy network, and ``affine`` maps voxels to RAS mm. Fluid within
    ``SULCUS_MM`` of brain takes the region of the nearest brain; what lies farther out has none. The ventral
    diencephalon carries the network's brain stem label and counts as such.
    """
    tissue = _Tissue(labels, names)
    nuclei = _deep_nuclei(tissue, _height_mm(tissue, affine))
    white = tissue("white_matter")
    capsule = distance_to(nuclei, spacing_mm) <= CAPSULE_MM
    beside_ventricle = distance_to(tissue("lateral_ventricles"), spacing_mm) <= PERIVENTRICULAR_MM
    deep = nuclei | (white & (capsule | beside_ventricle))

    found = np.zeros(labels.shape, np.uint8)
    found[white | tissue("cortex", "deep_grey")] = MICROBLEED_REGIONS.index("lobar")
    found[deep] = MICROBLEED_REGIONS.index("deep")
    found[tissue("brain_stem")] = MICROBLEED_REGIONS.index("brain stem")
    found[tissue("cerebellum")] = MICROBLEED_REGIONS.index("cerebellum")
    fluid = tissue("csf", "lateral_ventricles", "third_ventricle", "fourth_ventricle")
    return Regions(_filled(found, fluid, spacing_mm), MICROBLEED_REGIONS)


def perivascular_regions(
    labels: np.ndarray, names: Sequence[str], spacing_mm: Sequence[float], affine: np.ndarray
) -> Regions:
    """Return ``PERIVASCULAR_REGIONS``, after Potter; ``labels`` and ``names`` as in :func:`microbleed_regions`.

    White matter of the temporal lobe and below, cortex and cerebellum have no region: the scale does not rate them.
    """
    tissue = _Tissue(labels, names)
    height_mm = _height_mm(tissue, affine)
    nuclei = _deep_nuclei(tissue, height_mm)
    white = tissue("white_matter")
    ganglia = nuclei | (white & (distance_to(nuclei, spacing_mm) <= CAPSULE_MM))

    found = np.zeros(labels.shape, np.uint8)
    if nuclei.any():
        above = height_mm >= np.median(height_mm[nuclei])
        found[white & above] = PERIVASCULAR_REGIONS.index("centrum semiovale")
    found[ganglia] = PERIVASCULAR_REGIONS.index("basal ganglia")
    found[_midbrain(tissue, height_mm)] = PERIVASCULAR_REGIONS.index("midbrain")
    return Regions(found, PERIVASCULAR_REGIONS)


def microbleed_pattern(
    lobar: int | None, deep: int | None, brain_stem: int | None, cerebellum: int | None
) -> str | None:
    """Return "none", "strictly lobar", "deep", "mixed" or "cerebellar only" from counts.

    ``None`` where a count that matters is unknown. Boston criteria 2.0: strictly lobar is lobar without deep ones,
    those of the brain stem counted as deep. Cerebellar microbleeds count as neither, so they matter only where there
    are no others: "none" would deny them.
    """
    deeper = [count for count in (deep, brain_stem) if count is not None]
    some_deep = True if any(deeper) else (False if len(deeper) == 2 else None)
    if lobar is None or some_deep is None:
        return None
    if lobar or some_deep:
        return {(1, 0): "strictly lobar", (0, 1): "deep", (1, 1): "mixed"}[lobar > 0, some_deep]
    return None if cerebellum is None else "cerebellar only" if cerebellum else "none"


class _Tissue:
    """Masks of a label volume by tissue name; a name that the network does not have is nowhere."""

    def __init__(self, labels: np.ndarray, names: Sequence[str]):
        self.labels, self.names = labels, names

    def __call__(self, *wanted: str) -> np.ndarray:
        return np.isin(self.labels, [number for number, name in enumerate(self.names) if name in wanted])


def _height_mm(tissue: _Tissue, affine: np.ndarray) -> np.ndarray:
    """Height of every voxel centre in mm along the line from brain stem to white matter.

    So it does not matter how the head was held. Where there is no such line it is the height in RAS.
    """
    affine = np.asarray(affine, dtype=float)
    up = np.array([0.0, 0.0, 1.0])
    stem, white = (np.argwhere(tissue(name)) for name in ("brain_stem", "white_matter"))
    if len(stem) and len(white):
        line = affine[:3, :3] @ (white.mean(0) - stem.mean(0))
        if line[2] > UPRIGHT * np.linalg.norm(line):
            up = line / np.linalg.norm(line)
    i, j, k = np.ogrid[tuple(slice(n) for n in tissue.labels.shape)]
    step = up @ affine[:3, :3]
    return step[0] * i + step[1] * j + step[2] * k + up @ affine[:3, 3]


def _deep_nuclei(tissue: _Tissue, height_mm: np.ndarray) -> np.ndarray:
    """Basal ganglia and thalamus: deep grey without hippocampus and amygdala."""
    nuclei, stem = tissue("deep_grey"), tissue("brain_stem")
    return nuclei & (height_mm >= _top_mm(height_mm[stem]) - DEEP_FLOOR_MM) if stem.any() else nuclei


def _midbrain(tissue: _Tissue, height_mm: np.ndarray) -> np.ndarray:
    stem, fourth = tissue("brain_stem"), tissue("fourth_ventricle")
    if not stem.any():
        return stem
    if fourth.any():
        return stem & (height_mm > np.percentile(height_mm[fourth], FOURTH_VENTRICLE_TOP))
    return stem & (height_mm > _top_mm(height_mm[stem]) - MIDBRAIN_MM)


def _top_mm(heights_mm: np.ndarray) -> float:
    # The very last voxels of a label are its least certain ones.
    return float(np.percentile(heights_mm, 99.5))


def _filled(found: np.ndarray, fluid: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Give fluid within ``SULCUS_MM`` of a region the region of its nearest voxel."""
    if not found.any():
        return found
    distance_mm, nearest = ndimage.distance_transform_edt(found == 0, sampling=spacing_mm, return_indices=True)
    return np.where(fluid & (distance_mm <= SULCUS_MM), found[tuple(nearest)], found)
