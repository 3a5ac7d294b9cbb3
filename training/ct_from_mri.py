"""Leukoaraiosis on a real CT from the FLAIR of the same patient: ``python -m training.ct_from_mri``.

``--ct CT --flair FLAIR -o OUT``. The route of Ryu et al. (Brain Behav 2025): the FLAIR is segmented, both brains are
stripped, the FLAIR is registered to the CT (rigid, affine, then deformable), and its lesions are carried over; what is
above ``--threshold`` (0 in the paper) is leukoaraiosis. OUT gets ``leukoaraiosis.nii.gz`` and ``flair_on_ct.nii.gz`` on
the CT's voxels, ``ct_to_flair.tfm`` and ``quality.json``. A registration that is doubted is written, with its doubts in
the JSON and exit status 1, so that no doubtful label is learned from unseen.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from csvd.anatomy import find_anatomy
from csvd.errors import CsvdError, InputError
from csvd.head_ct import find_head
from csvd.image import Image, read_image, resample, upright_grid, write_image
from csvd.measure.agreement import dice
from csvd.pipelines.wmh import segment_wmh
from csvd.registration import MODELS, Registration, register

# Choice: a ventricle that fits worse is another patient's, or of another year. Lower than the brain's limit, as
# ventricles are small and 5 mm slices cut them coarsely (synthetic pairs of one patient: .76 to .87).
LEAST_VENTRICLE_DICE = 0.6
REGISTERED_MM = 5.0  # thickness of the CT's slices while it is registered, as in csvd.comparison


@dataclass(frozen=True, eq=False)
class CarriedLabel:
    """Leukoaraiosis and FLAIR on the CT's voxels; ``doubts`` are sentences, none where the label may be used."""

    leukoaraiosis: Image
    flair: Image
    registration: Registration
    ventricle_dice: float
    doubts: tuple[str, ...]

    @property
    def facts(self) -> dict:
        quality = asdict(self.registration.quality)
        volume = float(self.leukoaraiosis.voxels.sum() * self.leukoaraiosis.voxel_volume_ml)
        facts = {"leukoaraiosis_ml": round(volume, 2), "ventricle_dice": self.ventricle_dice, **quality}
        return {**facts, "doubts": list(self.doubts), "good": not self.doubts}

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_image(self.leukoaraiosis, folder / "leukoaraiosis.nii.gz")
        write_image(self.flair, folder / "flair_on_ct.nii.gz")
        self.registration.save(folder / "ct_to_flair.tfm")
        (folder / "quality.json").write_text(json.dumps(self.facts, indent=1))


def carry_label(
    ct: Image, flair: Image, *, lesions: np.ndarray | None = None, threshold: float = 0.0, model: str = "deformable"
) -> CarriedLabel:
    """The lesions of ``flair`` on ``ct`` of the same patient.

    ``lesions``, bool on the FLAIR's voxels, stands for the segmentation where there is a better one. ``threshold`` is
    the share of a CT voxel that lesion must fill, 0 to below 1: more than 0 in the paper. Raises InputError.
    """
    if not 0 <= threshold < 1:
        raise InputError(f"The threshold is {threshold:g}: give the share of a voxel, from 0 to below 1.")
    if lesions is None:
        lesions = segment_wmh(flair).mask > 0
    head = find_head(ct, REGISTERED_MM)
    (of_ct, _), (of_flair, _) = find_anatomy(head.windowed, within=head.cavity), find_anatomy(flair)
    inside = head.intracranial(of_ct.mask("intracranial", head.image.grid))
    flair_inside = of_flair.mask("intracranial", flair.grid)
    found = register(head.windowed, flair, fixed_mask=inside, moving_mask=flair_inside, model=model)
    native = ct.grid
    found = replace(found, grid=upright_grid(native))

    def on_ct(values: np.ndarray) -> np.ndarray:
        """Values on the FLAIR's voxels on those of the CT, slanted or not."""
        carried = found.apply(flair.like(values)).voxels
        return carried if found.grid is native else resample(carried, found.grid, native)

    ventricles = on_ct(of_flair.mask("lateral_ventricles", flair.grid)) > 0.5
    agreement = dice(ventricles, of_ct.mask("lateral_ventricles", ct.grid))
    doubts = list(found.quality.doubts)
    if agreement < LEAST_VENTRICLE_DICE:
        doubts.append(
            f"The lateral ventricles overlap with a Dice of {agreement:.2f} only; {LEAST_VENTRICLE_DICE:.2f} is the "
            "least. Look at flair_on_ct.nii.gz over the CT."
        )
    # A thousandth: rounding is no lesion.
    label = ct.like((on_ct(lesions) > max(threshold, 1e-3)) & of_ct.mask("brain", ct.grid))
    return CarriedLabel(label, ct.like(on_ct(flair.voxels)), found, agreement, tuple(doubts))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ct", required=True, help="noncontrast head CT in HU")
    parser.add_argument("--flair", required=True, help="FLAIR of the same patient")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--threshold", type=float, default=0.0, help="share of a voxel, more than this is lesion")
    parser.add_argument("--model", choices=MODELS, default="deformable")
    arguments = parser.parse_args()
    try:
        ct, flair = read_image(arguments.ct, slanted=True), read_image(arguments.flair)
        label = carry_label(ct, flair, threshold=arguments.threshold, model=arguments.model)
        label.save(arguments.output)
    except CsvdError as error:
        print(f"ct_from_mri: {error}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(label.facts, indent=1))
    return int(bool(label.doubts))


if __name__ == "__main__":
    sys.exit(main())
