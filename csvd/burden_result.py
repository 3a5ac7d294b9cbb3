"""The answer for one patient: four markers on up to three sequences, and the scores made of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from csvd.errors import InputError
from csvd.focal_result import FocalResult
from csvd.image import Image
from csvd.measure import Measurement
from csvd.measure.scores import STAALS_PVS_ABOVE, TITLES, ScoreInputs, measure_scores
from csvd.measure.strive import DEFINITIONS, Candidate, measure_candidates
from csvd.measure.zscore import MARKERS as Z_MARKERS
from csvd.measure.zscore import Reference, measure_burden
from csvd.result import Result
from csvd.sequences import SEQUENCE_OF, SEQUENCES
from csvd.sequences import TITLES as SEQUENCE_TITLES

WMH = "wmh"


@dataclass(frozen=True, eq=False)
class BurdenResult:
    """The markers of one patient, each on the grid of its own sequence, and their scores.

    A result is never changed: every method gives a new one that shares what stayed the same, and none runs a network.

    Attributes:
        sequences: the scans that were given, by ``flair``, ``t1`` and ``swi``.
        wmh: white matter hyperintensities; None without a FLAIR.
        focal: microbleeds, lacunes and perivascular spaces, those whose sequence was given.
        set_inputs: inputs of the scores that a reader set, by their name in `ScoreInputs`; they win over the counts.
        pvs_threshold: the total score gives a point for more perivascular spaces than this.
        reference: what the Z-score is measured against; without one there is no Z-score.
        warnings: sentences for the reader of the report.
        parameters: what the pipeline was told: model, members, mirror; `settings` has the rest too.
        provenance: inputs, software, models, registrations, device, times in seconds, date.
    """

    sequences: Mapping[str, Image]
    wmh: Result | None
    focal: Mapping[str, FocalResult]
    set_inputs: Mapping[str, int | str] = field(default_factory=dict)
    pvs_threshold: int = STAALS_PVS_ABOVE
    reference: Reference | None = None
    warnings: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def markers(self) -> dict[str, Result | FocalResult]:
        """What was found, by marker; a marker whose sequence is missing is not there."""
        return ({} if self.wmh is None else {WMH: self.wmh}) | dict(self.focal)

    @property
    def missing(self) -> tuple[str, ...]:
        """The sequences that were not given."""
        return tuple(name for name in SEQUENCES if name not in self.sequences)

    @property
    def settings(self) -> dict[str, Any]:
        """All that was set, with the threshold of every marker, as it is kept in the provenance."""
        thresholds = {marker: found.threshold for marker, found in self.focal.items()}
        if self.wmh is not None:
            thresholds = {WMH: self.wmh.parameters["threshold"]} | thresholds
        return {**self.parameters, "threshold": thresholds, "pvs_threshold": self.pvs_threshold}

    @property
    def candidates(self) -> list[Candidate]:
        """Those of all markers, rejected ones too; an id counts within its marker."""
        return [candidate for found in self.focal.values() for candidate in found.candidates]

    @property
    def edited(self) -> bool:
        """Whether a mask was changed, a candidate decided about or an input of the scores set by hand."""
        return bool(self.set_inputs) or any(found.edited for found in self.markers.values())

    @cached_property
    def inputs(self) -> ScoreInputs:
        """What the scores are made of: counted, or set by a reader."""
        inputs = ScoreInputs()
        if self.wmh is not None:
            grades = self.wmh.fazekas
            inputs = replace(inputs, fazekas_periventricular=grades.periventricular, fazekas_deep=grades.deep)
        for marker, found in self.focal.items():
            inputs = inputs.counted(marker, found.candidates)
        return replace(inputs, **self.set_inputs)

    @cached_property
    def measurements(self) -> dict[str, Measurement]:
        """By name: the scores, their inputs, Z, and what was measured of every marker. Missing ones are None."""
        by_marker = {marker: self.of_marker(marker) for marker in SEQUENCE_OF}
        values = {name: row.value for rows in by_marker.values() for name, row in rows.items() if name in Z_MARKERS}
        measured = measure_scores(self.inputs, edited=self.set_inputs, staals_pvs_above=self.pvs_threshold)
        if self.reference is not None:
            measured |= measure_burden(values, self.reference)
        for rows in by_marker.values():
            measured |= rows
        return measured

    def of_marker(self, marker: str) -> dict[str, Measurement]:
        """The measurements of one marker by name, None in value where its sequence is missing."""
        if marker == WMH:
            if self.wmh is not None:
                return self.wmh.measurements
            return {"total_volume": Measurement("total_volume", "Total WMH, volume", None, "mL", "No FLAIR was given")}
        if marker not in self.focal:
            return measure_candidates(marker, None)
        found = self.focal[marker]
        name, title = f"{marker}_threshold", f"{DEFINITIONS[marker].title}, probability threshold"
        limit = Measurement(name, title, found.threshold, "", "Setting")
        return found.measurements | {name: limit}

    def remeasure(self, *, marker: str, mask: np.ndarray | None = None, threshold: float | None = None) -> Self:
        """A new result after an edit of a marker's mask, or with another threshold for it.

        `Result.remeasure` and `FocalResult.remeasure` say what becomes of earlier edits. Raises InputError, also where
        the marker's sequence is missing.
        """
        return self._with(marker, self._found(marker).remeasure(mask, threshold=threshold))

    def decide(self, candidate_id: int, marker: str, accepted: bool | None) -> Self:
        """A reader accepts or rejects a candidate; its voxels enter or leave the mask, and every score follows.

        ``None`` takes a decision back. Raises InputError for WMH, which have no candidates, a missing marker, and no
        such id.
        """
        if marker == WMH:
            raise InputError("White matter hyperintensities have no candidates: edit their mask.")
        return self._with(marker, self._found(marker).decide(candidate_id, accepted))

    def with_siderosis(self, siderosis: str | None) -> Self:
        """Superficial siderosis as a reader sees it, "none", "focal" or "disseminated"; ``None`` if nobody looked."""
        return self.with_inputs(superficial_siderosis=siderosis)

    def with_inputs(self, **values: int | str | None) -> Self:
        """Inputs of the scores, by their name in `ScoreInputs`, set by a reader; ``None`` takes what was counted.

        Raises InputError for an unknown name or a value that cannot be.
        """
        for name in values:
            if name not in TITLES:
                raise InputError(f"{name!r} is no input of the scores: use {', '.join(TITLES)}.")
        ScoreInputs(**values)
        kept = {name: value for name, value in {**self.set_inputs, **values}.items() if value is not None}
        return replace(self, set_inputs=kept)

    def with_reference(self, reference: Reference | None) -> Self:
        """The Z-score against another reference, or without one."""
        return replace(self, reference=reference)

    def with_pvs_threshold(self, count: int) -> Self:
        """The total score with a point for more than ``count`` perivascular spaces. Raises InputError."""
        return replace(self, pvs_threshold=checked_pvs_threshold(count))

    def save(self, folder: str | os.PathLike, report: bool = True) -> dict[str, Path]:
        """Write every output into `folder`, all of them or none, as `Result.save` does. Raises InputError.

        Masks and maps of a marker that an earlier run left there and that is missing now are removed.
        """
        from csvd.report.burden_files import FILES, write_files
        from csvd.report.folder import write_together

        folder = Path(folder)
        try:
            return write_together(folder, lambda draft: write_files(self, draft, report), retired=FILES)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"Cannot write into {folder}: {reason}; choose another output folder.") from error

    def _found(self, marker: str) -> Result | FocalResult:
        if marker not in SEQUENCE_OF:
            raise InputError(f"There is no marker {marker!r}: use {', '.join(SEQUENCE_OF)}.")
        if marker not in self.markers:
            raise InputError(
                f"The marker {marker!r} is missing, since no {SEQUENCE_TITLES[SEQUENCE_OF[marker]]} was given."
            )
        return self.markers[marker]

    def _with(self, marker: str, found: Result | FocalResult) -> Self:
        if marker == WMH:
            return replace(self, wmh=found)
        return replace(self, focal={**self.focal, marker: found})


def checked_pvs_threshold(count: int) -> int:
    """``count``, where it can be exceeded. Raises InputError."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise InputError(f"The limit of perivascular spaces is {count!r}: give a whole number from 0 on, usually 10.")
    return count
