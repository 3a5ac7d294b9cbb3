"""Leukoaraiosis on a CT against the white matter hyperintensities on a FLAIR of the same patient.

The FLAIR is laid on the CT rigidly, as both show one head; its hyperintensities come onto the CT's own voxels, and the
two outlines are compared there. Each volume is the one measured on its own scan. One row of ``comparison.tsv`` is one
pair of a study: many rows give Lin's concordance (``measure.agreement.concordance``).
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from .errors import InputError
from .head_ct import find_head
from .image import resample, upright_grid
from .marker import LEUKOARAIOSIS, WMH
from .measure.agreement import dice
from .registration import Registration, register
from .report.figures import AxialStack, Tile, outlined, slices_to_show
from .report.folder import write_together
from .result import Result

REGISTERED_MM = 5.0  # thickness of the CT's slices while it is registered: finer ones would only be noisier
# Choice: intracranial spaces of one head, laid over one another, overlap by more than .9; with less than this they are
# of different heads, or one of the outlines is wrong.
LEAST_OVERLAP = 0.8
SHARE = 0.5  # of a CT voxel that hyperintensity must fill: keeps volumes
CT_COLOR, FLAIR_COLOR = (232, 121, 30), (80, 200, 120)  # choice: told apart by the colour-blind too
COLUMNS, SHOWN = 4, 12
LEGEND_PIXELS = 34


@dataclass(frozen=True, eq=False)
class Comparison:
    """Volumes in mL, each measured on its own scan; ``difference_ml`` is CT - FLAIR.

    ``dice``, 0 to 1 (1 where both are empty), compares ``ct_mask`` with ``flair_mask_on_ct``, both (i, j, k) bool on
    the CT's voxels. ``quality`` says in a sentence how well the FLAIR could be laid on the CT, ``good`` whether without
    a doubt.
    """

    case: str
    dice: float
    volume_ct_ml: float
    volume_flair_ml: float
    difference_ml: float
    quality: str
    good: bool
    flair_mask_on_ct: np.ndarray
    result_ct: Result

    def to_dict(self) -> dict[str, str | float | bool]:
        """The row of ``comparison.tsv``."""
        names = ("case", "volume_ct_ml", "volume_flair_ml", "difference_ml", "dice", "good", "quality")
        return {name: getattr(self, name) for name in names}

    def save(self, folder: str | os.PathLike) -> dict[str, Path]:
        """Write ``comparison.tsv`` and ``comparison.png``, both or none. Raises InputError."""
        try:
            return write_together(Path(folder), self._write)
        except OSError as error:
            raise InputError(
                f"Cannot write into {folder}: {error.strerror or error}; choose another folder."
            ) from error

    def _write(self, folder: Path) -> None:
        row = self.to_dict()
        with open(folder / "comparison.tsv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, row, delimiter="\t", lineterminator="\n")
            writer.writeheader()
            writer.writerow({name: round(value, 4) if type(value) is float else value for name, value in row.items()})
        self.picture().save(folder / "comparison.png")

    def picture(self) -> Picture.Image:
        """Slices of the CT with both outlines; the patient's right is on the left."""
        result = self.result_ct
        stack = AxialStack(result.image, result.brain, LEUKOARAIOSIS.window)
        both = (result.mask | self.flair_mask_on_ct).astype(np.uint8)
        outlines = ((self.flair_mask_on_ct, FLAIR_COLOR, 2.0), (result.mask, CT_COLOR, 2.0))
        tiles = outlined(stack, outlines, both, slices_to_show(stack, both, SHOWN))
        return _sheet(tiles, ((CT_COLOR, f"{LEUKOARAIOSIS.name} on the CT"), (FLAIR_COLOR, f"{WMH.name} of the FLAIR")))


def compare_with_flair(result_ct: Result, result_flair: Result) -> Comparison:
    """Lay a FLAIR's hyperintensities on the CT of the same patient and compare.

    Raises InputError where the results are of other markers, or the two heads cannot be laid over one another.
    """
    for result, marker in ((result_ct, LEUKOARAIOSIS), (result_flair, WMH)):
        if result.marker != marker:
            raise InputError(
                f"A result of a {result.marker.image} was given where that of a {marker.image} belongs: compare "
                "leukoaraiosis on a CT with hyperintensities on a FLAIR."
            )
    ct, flair = result_ct.image, result_flair.image
    found = lay(result_ct, result_flair)
    native = ct.grid
    upright = upright_grid(native)
    share = replace(found, grid=upright).apply(flair.like(result_flair.mask)).voxels
    on_ct = (share if upright is native else resample(share, upright, native)) >= SHARE
    ct_ml, flair_ml = (result.measurements["total_volume"].value for result in (result_ct, result_flair))
    quality = found.quality
    return Comparison(
        case=Path(ct.source).name.split(".")[0] or "CT",
        dice=dice(result_ct.mask, on_ct),
        volume_ct_ml=ct_ml,
        volume_flair_ml=flair_ml,
        difference_ml=ct_ml - flair_ml,
        quality=" ".join(quality.doubts) if quality.doubts else "The FLAIR could be laid on the CT without a doubt.",
        good=quality.good,
        flair_mask_on_ct=on_ct,
        result_ct=result_ct,
    )


def lay(result_ct: Result, result_flair: Result) -> Registration:
    """The rigid registration of the FLAIR to the CT, upright and in slices of about 5 mm."""
    head = find_head(result_ct.image, REGISTERED_MM)
    brain = resample(result_ct.brain, result_ct.image.grid, head.image.grid) > 0.5
    found = register(head.windowed, result_flair.image, fixed_mask=brain, moving_mask=result_flair.brain)
    overlap = found.quality.mask_dice
    if overlap < LEAST_OVERLAP:
        raise InputError(
            f"{result_flair.image.source or 'The FLAIR'} cannot be laid on the CT: the two heads overlap with a Dice "
            f"of {overlap:.2f} only. Check that both are of the same patient and show the whole head."
        )
    return found


def _sheet(tiles: list[Tile], legend: tuple[tuple[tuple[int, int, int], str], ...]) -> Picture.Image:
    """Tiles in rows, what the colours mean above them."""
    width, height = tiles[0].size
    rows = -(-len(tiles) // COLUMNS)
    sheet = Picture.new("RGB", (COLUMNS * width, LEGEND_PIXELS + rows * height))
    letters, font, left = ImageDraw.Draw(sheet), ImageFont.load_default(20), 10
    for color, words in legend:
        letters.text((left, LEGEND_PIXELS / 2), words, color, font, "lm")
        left += letters.textlength(words, font) + 40
    for n, tile in enumerate(tiles):
        with Picture.open(io.BytesIO(tile.png)) as picture:
            sheet.paste(picture, ((n % COLUMNS) * width, LEGEND_PIXELS + n // COLUMNS * height))
    return sheet
