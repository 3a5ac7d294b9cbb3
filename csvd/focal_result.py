"""One marker of small foci on its sequence, candidate by candidate: microbleeds, lacunes or perivascular spaces.

The mask is what counts: the voxels of the candidates that neither their size nor a reader rejected. Rejected ones are
kept beside it, so that a reader can take them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from csvd.errors import InputError
from csvd.image import Image
from csvd.measure import Measurement
from csvd.measure.peaks import half_of_peak
from csvd.measure.regions import Regions
from csvd.measure.strive import DEFINITIONS, Candidate, candidate_voxels, find_candidates, measure_candidates


@dataclass(frozen=True, eq=False)
class FocalResult:
    """The candidates of one marker. Every array lies on the grid of its sequence, indexed (i, j, k).

    A result is never changed: `decide` and `remeasure` give a new one.

    Attributes:
        marker: a key of `csvd.measure.strive.DEFINITIONS`.
        image: the sequence.
        probability: float32, 0 to 1; a candidate is where it reaches `threshold`, a microbleed as much of it as reaches
            half of its own peak.
        brain: bool; the intracranial space.
        regions: where in the brain a voxel lies.
        midplane: as in `csvd.measure.hemispheres`, None where it is not known.
        threshold: 0 to 1.
        candidates: largest first, numbered from 1, rejected ones among them.
        voxels: of every candidate, as indices into the flat array.
        automatic: the result before anything was decided or edited; None if nothing was.
    """

    marker: str
    image: Image
    probability: np.ndarray
    brain: np.ndarray
    regions: Regions
    midplane: Sequence[float] | None
    threshold: float
    candidates: tuple[Candidate, ...] = ()
    voxels: tuple[np.ndarray, ...] = ()
    automatic: Self | None = None

    @classmethod
    def from_probability(
        cls,
        marker: str,
        image: Image,
        probability: np.ndarray,
        *,
        brain: np.ndarray,
        regions: Regions,
        midplane: Sequence[float] | None,
        threshold: float = 0.5,
    ) -> Self:
        """Find and measure the candidates. Raises InputError for a threshold that is not between 0 and 1."""
        if not 0 < threshold < 1:
            raise InputError(f"The threshold of {title(marker)} is {threshold:g}: give a number between 0 and 1.")
        blank = cls(marker, image, np.asarray(probability, np.float32), brain, regions, midplane, float(threshold))
        if not DEFINITIONS[marker].at_half:
            return blank._with(*blank._found(probability >= threshold))
        return blank._with(*blank._found(half_of_peak(blank.probability, threshold, image.spacing_mm)))

    @property
    def edited(self) -> bool:
        """Whether a reader decided about a candidate or changed the mask."""
        return self.automatic is not None

    @cached_property
    def mask(self) -> np.ndarray:
        """(i, j, k) bool: the candidates that count."""
        return self._those(counting=True)

    @property
    def rejected(self) -> np.ndarray:
        """(i, j, k) bool: the candidates that do not count."""
        return self._those(counting=False)

    @property
    def measurements(self) -> dict[str, Measurement]:
        """Count, volume, largest diameter and counts by region, by name."""
        return measure_candidates(self.marker, self.candidates)

    def decide(self, candidate_id: int, accepted: bool | None) -> Self:
        """A reader accepts or rejects a candidate; ``None`` takes a decision back. Raises InputError for no such id."""
        if not 1 <= candidate_id <= len(self.candidates):
            raise InputError(
                f"There is no candidate {candidate_id} of {title(self.marker)}: there are {len(self.candidates)}."
            )
        candidates = list(self.candidates)
        known = candidates[candidate_id - 1]
        if accepted is None:
            accepted = False if known.reason else None
        candidates[candidate_id - 1] = replace(known, accepted=accepted)
        return self._edited(candidates, self.voxels)

    def remeasure(
        self, mask: np.ndarray | None = None, *, rejected: np.ndarray | None = None, threshold: float | None = None
    ) -> Self:
        """A new result after an edit of the mask or with another threshold; no network runs.

        In an edited mask, a candidate that is as it was keeps what was decided about it. What a reader drew or changed
        counts, whatever its size. Rejected candidates that the mask leaves alone stay in the list, rejected. Another
        threshold takes candidates from the probability again and drops edits and decisions.

        Args:
            mask: (i, j, k), anything but 0 belongs to a candidate.
            rejected: (i, j, k), beside a mask: what a reader drew as no candidate. Those that are rejected already stay
                in the list only where it still holds them, and those of the list that it holds are rejected.
            threshold: between 0 and 1.

        Raises:
            InputError: both at once, a mask of another shape, or a threshold out of its range.
        """
        if mask is not None and threshold is not None:
            raise InputError("A mask and a threshold were given at once: give the edited mask, or a new threshold.")
        if threshold is not None:
            return self.from_probability(
                self.marker, self.image, self.probability, brain=self.brain, regions=self.regions,
                midplane=self.midplane, threshold=threshold,
            )  # fmt: skip
        if mask is None:
            return self
        mask = self._checked(mask)
        known = {where.tobytes(): candidate for candidate, where in zip(self.candidates, self.voxels, strict=True)}
        candidates, voxels = self._found(mask)
        for n, where in enumerate(voxels):
            former = known.get(where.tobytes())
            kept = former is not None and former.counts
            candidates[n] = replace(candidates[n], accepted=former.accepted if kept else True)
        flat = mask.ravel()
        rest = None if rejected is None else self._checked(rejected).ravel() & ~flat
        for candidate, where in zip(self.candidates, self.voxels, strict=True):
            if not flat[where].any() and (not candidate.counts if rest is None else rest[where].all()):
                candidates.append(replace(candidate, accepted=False))
                voxels.append(where)
                if rest is not None:
                    rest[where] = False
        if rest is not None:
            drawn, where = self._found(rest.reshape(mask.shape))
            candidates += [replace(candidate, accepted=False) for candidate in drawn]
            voxels += where
        order = sorted(range(len(candidates)), key=lambda n: -candidates[n].volume_mm3)
        candidates = [replace(candidates[n], id=rank) for rank, n in enumerate(order, start=1)]
        return self._edited(candidates, [voxels[n] for n in order])

    def _checked(self, mask: np.ndarray) -> np.ndarray:
        mask = np.asarray(mask) != 0
        if mask.shape != self.probability.shape:
            given, wanted = ("x".join(map(str, shape)) for shape in (mask.shape, self.probability.shape))
            raise InputError(
                f"The edited mask has {given} voxels and the scan of {title(self.marker)} has {wanted}: use the "
                "scan's own grid."
            )
        return mask

    def _found(self, mask: np.ndarray) -> tuple[list[Candidate], list[np.ndarray]]:
        affine = self.image.affine
        found = find_candidates(
            self.marker, mask, self.probability, affine, regions=self.regions, midplane=self.midplane
        )
        return found, [np.sort(where) for where in candidate_voxels(mask, affine)]

    def _those(self, counting: bool) -> np.ndarray:
        mask = np.zeros(self.probability.size, bool)
        for candidate, where in zip(self.candidates, self.voxels, strict=True):
            mask[where] = candidate.counts == counting
        return mask.reshape(self.probability.shape)

    def _with(self, candidates: Sequence[Candidate], voxels: Sequence[np.ndarray]) -> Self:
        return replace(self, candidates=tuple(candidates), voxels=tuple(voxels))

    def _edited(self, candidates: Sequence[Candidate], voxels: Sequence[np.ndarray]) -> Self:
        automatic = self.automatic or self
        if tuple(candidates) == automatic.candidates and all(map(np.array_equal, voxels, automatic.voxels)):
            return automatic
        return replace(self._with(candidates, voxels), automatic=automatic)


def title(marker: str) -> str:
    """A marker's name within a sentence."""
    return DEFINITIONS[marker].title.lower()
