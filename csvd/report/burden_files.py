"""The files of a burden result: masks and maps on the grid of each sequence, segments, tables and the report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from csvd.image import write_image
from csvd.report.segmentation import focal_segments, write_segmentation, write_segments
from csvd.report.tables import measurements_json, write_candidates, write_json, write_lesions, write_measurements
from csvd.sequences import SEQUENCE_OF, SEQUENCES

if TYPE_CHECKING:
    from csvd.burden_result import BurdenResult

FILES = (
    *(f"{marker}_{what}.nii.gz" for marker in SEQUENCE_OF for what in ("mask", "probability")),
    *("wmh_uncertainty.nii.gz", "ventricles_mask.nii.gz", "lesions.tsv", "report.html"),
    *(f"{sequence}_brain_mask.nii.gz" for sequence in SEQUENCES),
    *(f"burden_{sequence}.seg.nrrd" for sequence in SEQUENCES),
)
"""What depends on the sequences that were given, and so goes when an earlier run had more."""


def write_files(result: "BurdenResult", folder: Path, report: bool) -> None:
    """Write everything into an empty folder; without ``report``, all but the HTML page."""
    for marker, found in result.markers.items():
        mask = found.labels if marker == "wmh" else found.mask.astype(np.uint8)
        write_image(found.image.like(mask), folder / f"{marker}_mask.nii.gz")
        write_image(found.image.like(found.probability), folder / f"{marker}_probability.nii.gz")
    for sequence, image in result.sequences.items():
        seen = [found for found in result.markers.values() if found.image is image]
        write_image(image.like(seen[0].brain.astype(np.uint8)), folder / f"{sequence}_brain_mask.nii.gz")
        path = folder / f"burden_{sequence}.seg.nrrd"
        if sequence == "flair":
            write_segmentation(seen[0].labels, seen[0].ventricles, image.grid, path)
        else:
            write_segments([f.mask for f in seen], image.grid, path, [focal_segments()[f.marker] for f in seen])
    if result.wmh is not None:
        wmh = result.wmh
        write_image(wmh.image.like(wmh.uncertainty), folder / "wmh_uncertainty.nii.gz")
        write_image(wmh.image.like(wmh.ventricles.astype(np.uint8)), folder / "ventricles_mask.nii.gz")
        write_lesions(wmh.lesions, folder / "lesions.tsv")
    write_candidates(result.candidates, folder / "candidates.tsv")
    write_measurements(result.measurements, folder / "measurements.tsv")
    write_json(measurements_json(result.measurements), folder / "measurements.json")
    write_json(_origin(result), folder / "provenance.json")
    if report:
        from csvd.report.burden_html import render

        (folder / "report.html").write_text(render(result), encoding="utf-8")


def _origin(result: "BurdenResult") -> dict[str, Any]:
    origin = {
        **result.provenance,
        "sequences": {"given": list(result.sequences), "missing": list(result.missing)},
        "parameters": result.settings,
        "warnings": result.warnings,
        "edited": result.edited,
    }
    if result.edited:
        origin["edits"] = {
            "inputs": dict(result.set_inputs),
            "markers": [marker for marker, found in result.markers.items() if found.edited],
        }
    return origin
