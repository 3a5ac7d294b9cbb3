"""Microbleeds, lacunes and perivascular spaces by the sizes and shapes of STRIVE-2, one candidate at a time.

A candidate is a 26-connected cluster of a mask. How it is measured:

- **Volume** is voxel count x voxel volume. Partial volume is not weighed: a voxel counts whole or not at all, so a mask
  cut at half of the contrast has the right volume, and what is thinner than a voxel is either lost or a voxel thick.
- **Equivalent diameter** is that of the sphere with the same volume.
- **Axes** are those of the body of the marker's own shape with the same second moments, the voxels being boxes and not
  points: of an ellipsoid for microbleeds and lacunes, of a straight round tube for perivascular spaces. Each is exact
  for its own shape at any angle, and does not jump by a voxel as a ruler from corner to corner does.
- **Elongation** is the longest over the shortest axis, or that of the widest slice where a candidate lies in one or two
  slices and this is less: what is two slices high may be much less high than they are.
- **On slices of 5 mm or more** the three lengths, but not the volume, are those of the candidate's widest slice, since
  through such slices nothing of this size is resolved; its reason and the table say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from csvd.measure.clusters import Clusters
from csvd.measure.hemispheres import hemispheres_of
from csvd.measure.lesions import MM3_PER_ML
from csvd.measure.measurement import Measurement
from csvd.measure.reference import Cutoff, cutoff
from csvd.measure.regions import (
    MICROBLEED_REGIONS,
    MICROBLEED_RULE,
    PERIVASCULAR_REGIONS,
    PERIVASCULAR_RULE,
    Regions,
)
from csvd.measure.slices import slice_axis

MICROBLEED, LACUNE, PERIVASCULAR_SPACE = "microbleed", "lacune", "perivascular_space"
THICK_MM = cutoff("thick_slices").value
ROUND = cutoff("round_or_ovoid")
FEW_SLICES = 2  # choice: in so many the height of a candidate is not known to half of it


@dataclass(frozen=True)
class Definition:
    """Which candidates are a marker. ``None`` bounds nothing.

    ``size`` bounds the equivalent diameter from below and the longest axis from above (mm, ends included), ``width``
    the shortest axis from above (mm, end excluded), ``elongation`` that of the module's head (end included).
    ``at_half`` says that it is outlined at half of its own peak (``csvd.measure.peaks``), not at the threshold.
    """

    title: str
    size: Cutoff | None = None
    width: Cutoff | None = None
    elongation: Cutoff | None = None
    tube: bool = False
    at_half: bool = False

    @property
    def rule(self) -> str:
        """All of this in one line, with the source."""
        words = ["26-connected clusters"]
        if self.size:
            words.append(f"{self.size.value[0]:g} mm or more in diameter and {self.size.value[1]:g} mm or less long")
        if self.width:
            words.append(f"under {self.width.value:g} mm wide")
        if self.elongation:
            words.append(f"at most {self.elongation.value:g} times as long as wide (a choice)")
        if self.at_half:
            words.append("outlined at half of their highest probability (a choice)")
        return f"{', '.join(words)}. {(self.size or self.width).source}"

    def reason(self, diameter_mm: float, longest_mm: float, shortest_mm: float, elongation: float) -> str:
        """Why a candidate of these sizes is not the marker, in a few words; empty where it is."""
        # A sphere of 2 mm must not fall to either side by the rounding of its spacing.
        diameter, longest, shortest = (round(mm, 6) for mm in (diameter_mm, longest_mm, shortest_mm))
        if self.size and diameter < self.size.value[0]:
            return f"diameter {diameter:.1f} mm, under {self.size.value[0]:g} mm"
        if self.size and longest > self.size.value[1]:
            return f"{longest:.1f} mm long, over {self.size.value[1]:g} mm"
        if self.width and shortest >= self.width.value:
            return f"{shortest:.1f} mm wide, not under {self.width.value:g} mm"
        if self.elongation and round(elongation, 6) > self.elongation.value:
            return f"{elongation:.1f} times as long as wide, over {self.elongation.value:g} times"
        return ""


DEFINITIONS = {
    MICROBLEED: Definition("Microbleeds", size=cutoff("microbleed_size"), elongation=ROUND, at_half=True),
    LACUNE: Definition("Lacunes", size=cutoff("lacune_size"), elongation=ROUND),
    PERIVASCULAR_SPACE: Definition("Perivascular spaces", width=cutoff("perivascular_width"), tube=True),
}
_PLACES = {
    MICROBLEED: (MICROBLEED_REGIONS, MICROBLEED_RULE),
    LACUNE: (MICROBLEED_REGIONS, MICROBLEED_RULE),
    PERIVASCULAR_SPACE: (PERIVASCULAR_REGIONS, PERIVASCULAR_RULE),
}


@dataclass(frozen=True)
class Candidate:
    """One candidate of a marker.

    ``id`` counts from 1 by falling volume. ``centroid_mm`` is in world RAS mm; ``inferior_mm`` and ``superior_mm`` are
    the heights of the centres of its lowest and highest voxels. The three lengths are those of the module's head, of
    the widest slice alone where ``in_plane``. ``region`` is where most of its voxels lie that have one, ``hemisphere``
    "left" or "right"; both are empty when unknown. ``accepted`` is a reader's word, ``None`` before it was given; a
    candidate with a ``reason`` against it starts as not accepted.
    """

    id: int
    marker: str
    volume_mm3: float
    diameter_mm: float
    longest_mm: float
    shortest_mm: float
    in_plane: bool
    centroid_mm: tuple[float, float, float]
    inferior_mm: float
    superior_mm: float
    region: str
    hemisphere: str
    mean_probability: float
    max_probability: float
    accepted: bool | None
    reason: str

    @property
    def counts(self) -> bool:
        """Whether it counts in the scores: accepted, or not yet reviewed."""
        return self.accepted is not False


def find_candidates(
    marker: str,
    mask: np.ndarray,
    probability: np.ndarray,
    affine: np.ndarray,
    *,
    regions: Regions | None = None,
    midplane: Sequence[float] | None = None,
) -> list[Candidate]:
    """Return the candidates of a boolean mask (i, j, k), largest first; an empty list when there is none.

    ``marker`` is a key of ``DEFINITIONS``; ``probability``, the network's, and ``regions`` lie on the grid of the mask,
    and ``affine`` maps its indices to world RAS mm. ``midplane`` is that of
    :func:`csvd.measure.hemispheres.hemispheres_of`. Raises ``KeyError`` for another marker, ``ValueError`` for arrays
    of other shapes, ``InputError`` for numbers that are no midplane.
    """
    for name, array in (("probability", probability), ("region", regions and regions.labels)):
        if array is not None and array.shape != mask.shape:
            raise ValueError(f"The {name} array is {array.shape} and the mask {mask.shape}: put them on one grid.")
    definition = DEFINITIONS[marker]
    affine = np.asarray(affine, dtype=float)
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    axis = slice_axis(spacing_mm)
    clusters = Clusters.of(mask.astype(bool, copy=False), axis)
    if clusters.count == 0:
        return []

    volume_mm3 = clusters.voxels * abs(np.linalg.det(affine[:3, :3]))
    in_plane = bool(spacing_mm[axis] >= THICK_MM)
    diameter_mm, longest_mm, shortest_mm = axes_mm(clusters, affine, in_plane, definition.tube)
    elongation = _elongation(clusters, affine, longest_mm / shortest_mm)
    centroid_mm = clusters.centroids() @ affine[:3, :3].T + affine[:3, 3]
    height_mm = np.stack(clusters.index, 1) @ affine[2, :3] + affine[2, 3]
    inferior_mm, superior_mm = clusters.smallest(height_mm), clusters.largest(height_mm)
    p = probability[clusters.index]
    mean_probability, max_probability = clusters.mean(p), clusters.largest(p)
    places = [""] * clusters.count if regions is None else _regions(clusters, regions)
    sides = [""] * clusters.count if midplane is None else hemispheres_of(centroid_mm, midplane)

    found = []
    for rank, n in enumerate(_largest_first(clusters), start=1):
        reason = definition.reason(diameter_mm[n], longest_mm[n], shortest_mm[n], elongation[n])
        if reason and in_plane:
            reason += " (in the slice)"
        elif not reason and marker == MICROBLEED and regions is not None and not places[n]:
            reason = "outside the brain"
        found.append(
            Candidate(
                id=rank,
                marker=marker,
                volume_mm3=float(volume_mm3[n]),
                diameter_mm=float(diameter_mm[n]),
                longest_mm=float(longest_mm[n]),
                shortest_mm=float(shortest_mm[n]),
                in_plane=in_plane,
                centroid_mm=tuple(centroid_mm[n].tolist()),
                inferior_mm=float(inferior_mm[n]),
                superior_mm=float(superior_mm[n]),
                region=places[n],
                hemisphere=sides[n],
                mean_probability=float(mean_probability[n]),
                max_probability=float(max_probability[n]),
                accepted=False if reason else None,
                reason=reason,
            )
        )
    return found


def candidate_voxels(mask: np.ndarray, affine: np.ndarray) -> list[np.ndarray]:
    """Return the voxels of every candidate as indices into the flat mask, in the order of :func:`find_candidates`."""
    spacing_mm = np.linalg.norm(np.asarray(affine, dtype=float)[:3, :3], axis=0)
    clusters = Clusters.of(mask.astype(bool, copy=False), slice_axis(spacing_mm))
    parts = np.split(np.ravel_multi_index(clusters.index, mask.shape), clusters.first[1:])
    return [parts[n] for n in _largest_first(clusters)]


def measure_candidates(marker: str, candidates: Sequence[Candidate] | None) -> dict[str, Measurement]:
    """Return count, volume, largest diameter and counts by region of a marker, of the candidates that count, by name.

    ``None`` for the candidates says that the marker's sequence is missing: then every value is ``None``.
    """
    definition, (regions, places) = DEFINITIONS[marker], _PLACES[marker]
    rule = definition.rule
    if candidates and candidates[0].in_plane:
        rule += f". Measured within the slice, since slices are {THICK_MM:g} mm or more apart"
    counting = [candidate for candidate in candidates or () if candidate.counts]
    rows = [
        ("count", "", len(counting), "", rule),
        ("volume", ", volume", sum(candidate.volume_mm3 for candidate in counting) / MM3_PER_ML, "mL", rule),
        ("diameter", ", largest diameter", max((c.diameter_mm for c in counting), default=0.0), "mm", rule),
    ]
    for region in filter(None, regions):
        count = sum(candidate.region == region for candidate in counting)
        rows.append((f"count_{region.replace(' ', '_')}", f", {region}", count, "", places))
    return {
        f"{marker}_{name}": Measurement(
            f"{marker}_{name}", definition.title + what, None if candidates is None else value, unit, source
        )
        for name, what, value, unit, source in rows
    }


def _largest_first(clusters: Clusters) -> np.ndarray:
    return np.argsort(-clusters.voxels, kind="stable")


def axes_mm(clusters: Clusters, affine: np.ndarray, in_plane: bool, tube: bool) -> tuple[np.ndarray, ...]:
    """Equivalent diameter, longest and shortest axis of each cluster in mm; of its widest slice, or of a tube."""
    label, index = clusters.label, np.stack(clusters.index, 1)
    sides = affine[:3, :3]
    if in_plane:
        widest = _widest_slices(clusters)
        label, index = label[widest], index[widest]
        sides = np.delete(sides, clusters.axis, axis=1)
    first = np.searchsorted(label, np.arange(1, clusters.count + 1))
    voxels = np.bincount(label, minlength=clusters.count + 1)[1:]

    points_mm = index @ affine[:3, :3].T
    centred = points_mm - (np.add.reduceat(points_mm, first) / voxels[:, None])[label - 1]
    moments = np.add.reduceat(centred[:, :, None] * centred[:, None, :], first) / voxels[:, None, None]
    # A voxel is a box: along a side s it has a variance of s^2 / 12 of its own.
    variance = np.linalg.eigvalsh(moments + sides @ sides.T / 12)
    longest, shortest = variance[:, 2], variance[:, 1 if in_plane else 0]

    if in_plane:
        area_mm2 = voxels * np.linalg.norm(np.cross(*sides.T))
        diameter_mm = 2 * np.sqrt(area_mm2 / np.pi)
    else:
        diameter_mm = np.cbrt(6 * voxels * abs(np.linalg.det(sides)) / np.pi)
    # Variance of a uniform body of length L along it: rod L^2 / 12, ellipse or round tube across L^2 / 16, ellipsoid
    # L^2 / 20. In one slice a tube that crosses it is an ellipse; one that runs within it comes out 15 % too wide.
    body = 16 if in_plane else 20
    along, across = (12, 16) if tube else (body, body)
    return diameter_mm, np.sqrt(along * longest), np.sqrt(across * shortest)


def _elongation(clusters: Clusters, affine: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """``ratio`` of the longest to the shortest axis; of clusters in few slices that in the widest, if it is less."""
    across = clusters.index[clusters.axis]
    few = clusters.largest(across) - clusters.smallest(across) < FEW_SLICES
    _, longest_mm, shortest_mm = axes_mm(clusters, affine, in_plane=True, tube=False)
    return np.where(few, np.minimum(ratio, longest_mm / shortest_mm), ratio)


def _widest_slices(clusters: Clusters) -> np.ndarray:
    """Which of the listed voxels lie in the slice where their cluster has most of them, the lowest of equals."""
    across = clusters.index[clusters.axis]
    slices, of_voxel, count = np.unique(
        np.stack([clusters.label, across], 1), axis=0, return_inverse=True, return_counts=True
    )
    by_cluster_and_size = np.lexsort((slices[:, 1], -count, slices[:, 0]))
    _, widest = np.unique(slices[by_cluster_and_size, 0], return_index=True)
    return np.isin(of_voxel.ravel(), by_cluster_and_size[widest])


def _regions(clusters: Clusters, regions: Regions) -> list[str]:
    label = regions.labels[clusters.index]
    share = np.stack([clusters.mean(label == n) for n in range(1, len(regions.names))], axis=1)
    return [regions.names[1 + row.argmax()] if row.any() else "" for row in share]
