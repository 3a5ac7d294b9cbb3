"""The answer for one scan: masks, maps, measurements, warnings and where they came from."""

import os
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np

import csvd
from csvd.errors import InputError
from csvd.image import Image, write_image
from csvd.marker import WMH, Marker
from csvd.measure import Measurement, measure_white_matter
from csvd.measure.fazekas import Fazekas
from csvd.measure.lesions import Lesion
from csvd.measure.uncertainty import uncertainty_map
from csvd.measure.zones import ventricle_distance

PACKAGES = ("torch", "numpy", "scipy", "SimpleITK", "safetensors", "monai")
PV_RULES = ("voxel", "cluster")
RETIRED = ("report.html", "comparison.tsv", "comparison.png")


@dataclass(frozen=True)
class Result:
    """The white matter lesions of one scan. Every array lies on the scan's own grid, indexed (i, j, k).

    A result is never changed: `remeasure` gives a new one, which shares the arrays that stayed the same.

    Attributes:
        image: the scan.
        labels: uint8; 0 nothing, 1 periventricular, 2 deep.
        probability: float32, 0 to 1; the mean of the ensemble.
        uncertainty: float32, 0 to 1; 1 - KL(p || 1/2) in bits, 0 outside the brain.
        ventricles: bool.
        brain: bool; the intracranial space.
        distance_mm: float32, distance to the nearest ventricle, inf without any ventricle. Kept, not written.
        measurements: by name, in the order in which a report shows them.
        lesions: the 26-connected lesions, largest first.
        fazekas: the three readings of the Fazekas scale.
        warnings: sentences for the reader of the report.
        parameters: threshold, pv_distance_mm, pv_rule, and what the pipeline adds (members, mirror ...). Where
            ``midplane`` is among it (four numbers, see `csvd.measure.hemispheres`), each hemisphere is measured.
        provenance: input, software, models, device, times in seconds, date.
        automatic: the result under the same parameters before anything was edited by hand; None if nothing was.
        moved: uint8; zones that a reader chose against the rule, 1 or 2, and 0 elsewhere; None if there are none.
        marker: what the lesions are: hyperintensities of a FLAIR, or leukoaraiosis of a CT.
    """

    image: Image
    labels: np.ndarray
    probability: np.ndarray
    uncertainty: np.ndarray
    ventricles: np.ndarray
    brain: np.ndarray
    distance_mm: np.ndarray
    measurements: dict[str, Measurement]
    lesions: list[Lesion]
    fazekas: Fazekas
    warnings: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    automatic: Self | None = None
    moved: np.ndarray | None = None
    marker: Marker = WMH

    @property
    def mask(self) -> np.ndarray:
        """(i, j, k) bool: all lesions, of either zone."""
        return self.labels > 0

    @property
    def edited(self) -> bool:
        """Whether the mask, the ventricles or the zones were changed by hand."""
        return self.automatic is not None

    @classmethod
    def from_probability(
        cls,
        image: Image,
        probability: np.ndarray,
        ventricles: np.ndarray,
        brain: np.ndarray,
        *,
        threshold: float = 0.5,
        pv_distance_mm: float = 10.0,
        pv_rule: str = "voxel",
        warnings: Iterable[str] = (),
        parameters: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        marker: Marker = WMH,
    ) -> Self:
        """Measure what an ensemble found.

        Args:
            image: the scan, shape (i, j, k).
            probability: (i, j, k), 0 to 1; a voxel is a lesion where it reaches `threshold`.
            ventricles, brain: (i, j, k) masks.
            threshold: between 0 and 1; .5 as in Kim et al., AJNR 2024.
            pv_distance_mm: how far from a ventricle periventricular reaches; 10 mm as in Kim et al.
            pv_rule: "voxel" or "cluster": whether each voxel or each whole lesion is given to a zone.
            warnings: sentences about the image and the run.
            parameters, provenance: what else the caller knows; kept beside what is noted here.
            marker: what was looked for.

        Raises:
            InputError: an array of another shape or with values that cannot be, or a parameter out of its range.
        """
        threshold = _checked_threshold(threshold)
        probability = _checked_probability(probability, image, marker)
        ventricles = _checked_mask(ventricles, image, marker, "mask of the ventricles")
        brain = _checked_mask(brain, image, marker, "brain mask")
        distance_mm = ventricle_distance(ventricles, image.spacing_mm, slant_mm=image.grid.slant_mm)
        settings = {"threshold": threshold, "pv_distance_mm": float(pv_distance_mm), "pv_rule": _checked_rule(pv_rule)}
        blank = cls(
            image=image,
            labels=np.zeros(probability.shape, np.uint8),
            probability=probability,
            uncertainty=np.where(brain, uncertainty_map(probability), np.float32(0)),
            ventricles=ventricles,
            brain=brain,
            distance_mm=distance_mm,
            measurements={},
            lesions=[],
            fazekas=None,
            warnings=[*image.warnings, *(text for text in warnings if text not in image.warnings)],
            parameters={**(parameters or {}), **settings},
            provenance=_provenance(image, marker, provenance or {}),
            marker=marker,
        )
        return blank._measured(probability >= threshold)

    def remeasure(
        self,
        mask: np.ndarray | None = None,
        *,
        threshold: float | None = None,
        pv_distance_mm: float | None = None,
        pv_rule: str | None = None,
        ventricles: np.ndarray | None = None,
        moved: np.ndarray | None = None,
    ) -> Self:
        """A new result after an edit or with other parameters; no network runs. What is not given stays as it is.

        A mask or ventricles that differ from the automatic ones make the new result `edited`; its `automatic` holds
        the automatic result under the same parameters. A new threshold takes the mask from the probability again and
        so drops an edited mask and moved zones.

        Args:
            mask: (i, j, k), anything but 0 is a lesion.
            threshold, pv_distance_mm, pv_rule: as in `from_probability`.
            ventricles: (i, j, k), anything but 0 is ventricle.
            moved: (i, j, k) uint8, the zones that a reader chose, 1 or 2, and 0 where the rule decides.

        Raises:
            InputError: as `from_probability`, or a mask and a threshold given at once.
        """
        if mask is not None and threshold is not None:
            raise InputError("A mask and a threshold were given at once: give the edited mask, or a new threshold.")
        settings = dict(self.parameters)
        if threshold is not None:
            settings["threshold"] = _checked_threshold(threshold)
        if pv_distance_mm is not None:
            settings["pv_distance_mm"] = float(pv_distance_mm)
        if pv_rule is not None:
            settings["pv_rule"] = _checked_rule(pv_rule)

        automatic = self.automatic or self
        if settings != self.parameters:
            automatic = replace(automatic, parameters=settings)
            automatic = automatic._measured(automatic.probability >= settings["threshold"])
        if mask is not None:
            mask = _checked_mask(mask, self.image, self.marker, "edited mask")
        else:
            mask = self.mask if threshold is None else automatic.mask
        if ventricles is not None:
            ventricles = _checked_mask(ventricles, self.image, self.marker, "edited mask of the ventricles")
            distance_mm = ventricle_distance(ventricles, self.image.spacing_mm, slant_mm=self.image.grid.slant_mm)
        else:
            ventricles, distance_mm = self.ventricles, self.distance_mm

        if moved is not None:
            _check_shape(moved, self.image, self.marker, "array of moved zones")
        elif threshold is None:
            moved = self.moved
        if moved is not None and not (mask & (moved > 0) & (moved != automatic.labels)).any():
            moved = None
        same = np.array_equal(mask, automatic.mask) and np.array_equal(ventricles, automatic.ventricles)
        if same and moved is None:
            return automatic
        edited = replace(automatic, ventricles=ventricles, distance_mm=distance_mm, automatic=automatic, moved=moved)
        return edited._measured(mask)

    def save(self, folder: str | os.PathLike, report: bool = True) -> dict[str, Path]:
        """Write every output into `folder`, which is made if need be, all of them or none.

        The files are written into a hidden folder inside `folder` and moved into place at the end; an error or Ctrl-C
        at any moment leaves `folder` as it was. Files of the same names are replaced, others are not touched. An older
        report and comparison with a FLAIR go even where none is written, since they speak of other measurements.

        Returns:
            What was written, by file name.

        Raises:
            InputError: the folder cannot be made or written to.
        """
        from csvd.report.folder import write_together

        folder = Path(folder)
        try:
            return write_together(folder, lambda draft: self._write(draft, report), retired=RETIRED)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"Cannot write into {folder}: {reason}; choose another output folder.") from error

    def _write(self, folder: Path, report: bool) -> None:
        from csvd.report.html import write_report
        from csvd.report.segmentation import write_segmentation
        from csvd.report.tables import measurements_json, write_json, write_lesions, write_measurements

        key = self.marker.key
        volumes = {
            f"{key}_mask": self.labels,
            f"{key}_probability": self.probability,
            f"{key}_uncertainty": self.uncertainty,
            "ventricles_mask": self.ventricles.astype(np.uint8),
            "brain_mask": self.brain.astype(np.uint8),
        }
        for name, voxels in volumes.items():
            write_image(self.image.like(voxels), folder / f"{name}.nii.gz")
        write_segmentation(self.labels, self.ventricles, self.image.grid, folder / f"{key}.seg.nrrd", self.marker)
        write_measurements(self.measurements, folder / "measurements.tsv")
        write_json(measurements_json(self.measurements), folder / "measurements.json")
        write_lesions(self.lesions, folder / "lesions.tsv")
        write_json(self._origin(), folder / "provenance.json")
        if report:
            write_report(self, folder / "report.html")

    def _origin(self) -> dict[str, Any]:
        from csvd.report.tables import measurements_json

        origin = {**self.provenance, "parameters": self.parameters, "warnings": self.warnings, "edited": self.edited}
        if self.automatic is not None:
            origin["automatic_measurements"] = measurements_json(self.automatic.measurements)
        return origin

    def _measured(self, mask: np.ndarray) -> Self:
        measures = measure_white_matter(
            mask,
            self.probability,
            self.distance_mm,
            self.brain,
            self.image.spacing_mm,
            self.image.affine,
            pv_distance_mm=self.parameters["pv_distance_mm"],
            pv_rule=self.parameters["pv_rule"],
            threshold=self.parameters["threshold"],
            moved=self.moved,
            midplane=self.parameters.get("midplane"),
            marker=self.marker,
        )
        return replace(
            self,
            labels=measures.labels,
            measurements=measures.measurements,
            lesions=measures.lesions,
            fazekas=measures.fazekas,
        )


def _provenance(image: Image, marker: Marker, known: Mapping[str, Any]) -> dict[str, Any]:
    return {"marker": marker.key, "input": input_facts(image), **run_facts(), **known}


def input_facts(image: Image) -> dict[str, Any]:
    """What provenance keeps of a scan."""
    return {
        "path": image.source,
        "sha256": image.sha256,
        "shape": list(image.voxels.shape),
        "spacing_mm": [round(float(mm), 4) for mm in image.spacing_mm],
    }


def run_facts() -> dict[str, Any]:
    """With what software, and when."""
    software = {"csvd": csvd.__version__, "python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            software[package] = version(package)
    return {"software": software, "date": datetime.now().astimezone().isoformat(timespec="seconds")}


def _checked_mask(mask: np.ndarray, image: Image, marker: Marker, what: str) -> np.ndarray:
    mask = np.asarray(mask)
    _check_shape(mask, image, marker, what)
    return mask if mask.dtype == bool else mask != 0


def _checked_probability(probability: np.ndarray, image: Image, marker: Marker) -> np.ndarray:
    probability = np.asarray(probability, dtype=np.float32)
    _check_shape(probability, image, marker, "probability map")
    if not (probability.min() >= 0 and probability.max() <= 1):
        raise InputError("The probability map holds values that are not 0 to 1: give the ensemble's mean probability.")
    return probability


def _check_shape(array: np.ndarray, image: Image, marker: Marker, what: str) -> None:
    if array.shape != image.voxels.shape:
        given, wanted = ("x".join(map(str, shape)) for shape in (array.shape, image.voxels.shape))
        raise InputError(
            f"The {what} has {given} voxels and the {marker.image} has {wanted}: use the {marker.image}'s own grid."
        )


def _checked_threshold(threshold: float) -> float:
    if not 0 < threshold < 1:
        raise InputError(f"The threshold is {threshold:g}: give a number between 0 and 1.")
    return float(threshold)


def _checked_rule(pv_rule: str) -> str:
    if pv_rule not in PV_RULES:
        raise InputError(f"The periventricular rule is {pv_rule!r}: give one of {', '.join(PV_RULES)}.")
    return pv_rule
