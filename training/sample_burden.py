"""Draw the sample that shows all four markers: FLAIR, T1 and SWI of one synthetic patient, and the true markers.

``python -m training.sample_burden --data ../shared/data``. The networks for the small markers did not learn from this
head; those for hyperintensities learned from all. Brain alone, 8 bit, so that the three scans together stay small; each
lies elsewhere, as a patient does who was scanned thrice. File names and the headers' descriptions say that they are
synthetic.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from csvd.image import Image
from csvd.sequences import SEQUENCES as MARKERS_OF

from .burden import BurdenGenerator, BurdenSettings, Sequence3D
from .ct import nod
from .heads import load_lesion_shapes
from .patients import Stack
from .sample import PRIORS, head_named, read_arguments

STACKS = {
    "flair": Stack((224, 256, 32), 0.9, 5.0, 5.0, nod(0)),
    "t1": Stack((192, 224, 164), 1.0, 1.0, 1.0, nod(0)),
    "swi": Stack((224, 256, 66), 0.9, 2.5, 2.5, nod(0)),
}
# Choice: so many that every marker is plainly there, and each can be looked at.
COUNTS = {"microbleed": 9, "lacune": 5, "basal": 14, "centrum": 24}
RIM_MM = 3.0  # choice: fluid this near to the brain is left, as brain extraction leaves it
BRIGHTEST, LEVELS = 99.8, 120  # the percentile that becomes so many: noise of finer steps would only fill the files


class SampleGenerator(BurdenGenerator):
    """Draws a patient with as many markers as ``COUNTS`` says."""

    def density(self, factor: float) -> dict[str, int]:
        return COUNTS


def stripped(scan: Sequence3D) -> Image:
    """The brain and the fluid around it, uint8, in air of 0."""
    spacing_mm = scan.image.spacing_mm
    inside = ndimage.distance_transform_edt(~scan.brain.voxels, sampling=spacing_mm) <= RIM_MM
    inside = np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(inside, 2, 0)], 2)
    level = LEVELS / np.percentile(scan.image.voxels[inside], BRIGHTEST)
    return scan.image.like(np.where(inside, np.rint(scan.image.voxels * level).clip(1, 255), 0).astype(np.uint8))


def write(image: Image, path: Path, description: str) -> None:
    written = image.to_sitk()
    written.SetMetaData("ITK_FileNotes", description)  # what NIfTI calls descrip
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(written, str(path), useCompression=True)


def true_markers(sequence: str, scan: Sequence3D) -> dict[str, Image]:
    """The true markers that a sequence is for, uint8, by their names in the results."""
    drawn = {marker: scan.truth[marker.removesuffix("_space")] for marker in MARKERS_OF[sequence]}
    return {marker: truth.like(truth.voxels.astype(np.uint8)) for marker, truth in drawn.items()}


def main() -> None:
    arguments = read_arguments(__doc__, "14", 5)
    head = head_named(arguments.data, arguments.head)
    settings = BurdenSettings(healthy=0.0, infarct=0.0, priors=PRIORS, size_sd=0.05)
    generator = SampleGenerator([head], *load_lesion_shapes(arguments.data), settings, arguments.seed)
    for sequence, scan in generator.patient_scans(head, STACKS).items():
        name = f"synthetic_burden_{sequence}"
        write(stripped(scan), arguments.output / f"{name}.nii.gz", "synthetic, no patient")
        for marker, truth in true_markers(sequence, scan).items():
            write(truth, arguments.output / f"{name}_true_{marker}.nii.gz", f"synthetic {marker}, no patient")
            print(f"{marker}: {ndimage.label(truth.voxels, np.ones((3, 3, 3)))[1]} on {name}")


if __name__ == "__main__":
    main()
