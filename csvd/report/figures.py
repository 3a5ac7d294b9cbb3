"""Axial pictures of a result, as a radiologist looks at them: the patient's right is on the left of the picture."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from csvd.image import Grid, Image, axial_grid
from csvd.report.segmentation import segments

PIXEL_MM = 0.45
"""Size of a picture's pixel. A choice: four heads of 170 mm side by side are sharp on a screen and on paper."""

MARGIN_MM = 10.0
"""What is shown around the brain. A choice: enough to see scalp and skull, not the air."""

GAP_MM = 4.0
"""Closest two slices may lie. A choice: on 1 mm slices, neighbours look the same."""

LINE_PIXELS = 2.0
"""Width of an outline. A choice: it must not cover the lesion it shows."""

RIM_SHARE = 0.25
"""Slices with less brain than this share of the fullest are shown only for their lesions. A choice."""

WINDOW_PERCENTILES = (0.5, 99.9)
"""Brain intensities shown as black and white. A choice: 10 mL of lesions are .7 % of a head and keep their texture."""

LETTER_PIXELS, LETTER_COLOR = 20, (225, 225, 225)
LETTER_EDGE = 2  # pixels of black around them, since bone is white on CT
GREYS, DIM_GREYS = 112, 48
"""Levels of grey in the pictures and in the dimmed ones. A choice: a screen shows no difference, and with a palette
the report takes a third of the bytes of full colour."""

FINE = 2  # outlines are drawn at twice the size and shrunk, which smooths their edges
COLOR_STOPS = (
    (0.0, (12, 8, 38)),
    (0.25, (92, 24, 110)),
    (0.5, (214, 62, 74)),
    (0.75, (252, 154, 40)),
    (1.0, (252, 246, 168)),
)
"""Colours of the uncertainty map from certain to tossing a coin; lightness grows evenly, so it reads in grey too."""


@dataclass(frozen=True)
class Tile:
    """One slice as a picture.

    Attributes:
        png: the picture file's bytes.
        size: width and height in pixels.
        number, count: which slice of how many, counted from 1 in the order of the file.
        superior_mm: world S coordinate of the slice's centre.
        volume_ml: lesions in the slice.
    """

    png: bytes
    size: tuple[int, int]
    number: int
    count: int
    superior_mm: float
    volume_ml: float


class AxialStack:
    """Volumes of one grid turned to look at axial slices without resampling them.

    The axes of the file nearest to left, posterior and superior become columns, rows and slices, so an oblique volume
    is shown in the planes in which it was stored.

    Args:
        image: what is shown.
        brain: (i, j, k) bool.
        window: level and width in the image's unit; the brain's own percentiles unless given.
    """

    def __init__(self, image: Image, brain: np.ndarray, window: tuple[float, float] | None = None):
        self._order, self._signs = _nearest_axes(image.grid)
        self.image = image
        self.spacing_mm = tuple(image.spacing_mm[axis] for axis in self._order)
        self.voxels = self.turn(image.voxels)
        self.brain = self.turn(brain)
        self.crop = _crop(self.brain, self.spacing_mm)
        self.window = _limits(*window) if window else _contrast(self.voxels, self.brain)

    def turn(self, volume: np.ndarray) -> np.ndarray:
        """A view of a volume with axes (left, posterior, superior)."""
        turned = volume.transpose(self._order)
        return turned[tuple(slice(None, None, sign) for sign in self._signs)]

    def number(self, k: int) -> int:
        """The slice's number in the file, from 1."""
        return k + 1 if self._signs[2] > 0 else self.voxels.shape[2] - k

    def superior_mm(self, k: int) -> float:
        """World S coordinate of the centre of a slice."""
        index = (np.asarray(self.image.voxels.shape) - 1) / 2
        index[self._order[2]] = self.number(k) - 1
        return float((self.image.affine @ [*index, 1])[2])

    def size(self) -> tuple[int, int]:
        """Width and height of a picture in pixels."""
        return tuple(
            max(1, round((side.stop - side.start) * mm / PIXEL_MM))
            for side, mm in zip(self.crop, self.spacing_mm, strict=False)
        )

    def plane(self, volume: np.ndarray, k: int, enlarge: int = 1) -> np.ndarray:
        """One slice of a turned volume as a float32 picture (rows from anterior, columns from the patient's right)."""
        columns, rows = self.crop
        slice_ = np.ascontiguousarray(volume[columns, rows, k].T, dtype=np.float32)
        width, height = self.size()
        return np.asarray(Picture.fromarray(slice_).resize((width * enlarge, height * enlarge), Picture.BILINEAR))


def choose_slices(lesions_per_slice: np.ndarray, brain_per_slice: np.ndarray, count: int, gap: int = 1) -> list[int]:
    """Pick `count` slices: half spread evenly over the brain, the others where most lesions are.

    Where lesions fill fewer slices, the widest gaps are filled instead.

    Args:
        lesions_per_slice, brain_per_slice: voxels in each slice.
        count: how many at most.
        gap: how close a slice chosen for its lesions may lie to another.

    Returns:
        Slice indices, ascending; every slice of the brain where there are no more than `count`.
    """
    inside = np.flatnonzero(brain_per_slice)
    if inside.size == 0:
        inside = np.arange(len(brain_per_slice))
    if inside.size <= count:
        return inside.tolist()
    places = (np.arange(count // 2) + 0.5) / (count // 2)
    chosen = set(inside[(places * inside.size).astype(int)].tolist())
    for k in np.argsort(-lesions_per_slice, kind="stable").tolist():
        if len(chosen) < count and lesions_per_slice[k] > 0 and min(abs(k - other) for other in chosen) >= gap:
            chosen.add(k)
    while len(chosen) < count:
        away = np.abs(inside[:, None] - list(chosen)).min(axis=1)
        chosen.add(int(inside[away.argmax()]))
    return sorted(chosen)


def slices_to_show(stack: AxialStack, labels: np.ndarray, count: int = 12) -> list[int]:
    """Choose the slices of a report; `labels` as in `Result`."""
    lesions = np.count_nonzero(stack.turn(labels), axis=(0, 1))
    brain = np.count_nonzero(stack.brain, axis=(0, 1))
    # The lowest and highest slices hold a rim of brain and nothing to see.
    brain = np.where(brain >= RIM_SHARE * brain.max(), brain, 0)
    return choose_slices(lesions, brain + lesions, count, max(1, round(GAP_MM / stack.spacing_mm[2])))


def outline_tiles(stack: AxialStack, labels: np.ndarray, ventricles: np.ndarray, chosen: Sequence[int]) -> list[Tile]:
    """Slices with the outlines of periventricular and deep lesions and, thin, of the ventricles."""
    periventricular, deep, ventricle = (tuple(segment["color"]) for segment in segments())
    outlines = ((ventricles, ventricle, LINE_PIXELS / 2), (labels == 1, periventricular, LINE_PIXELS))
    return outlined(stack, (*outlines, (labels == 2, deep, LINE_PIXELS)), labels, chosen)


def outlined(
    stack: AxialStack, outlines: Sequence[tuple[np.ndarray, tuple, float]], labels: np.ndarray, chosen: Sequence[int]
) -> list[Tile]:
    """Slices with the outlines of masks (i, j, k), drawn in their order: each with its colour and width in pixels."""
    labels, outlines = stack.turn(labels), [(stack.turn(mask), color, line) for mask, color, line in outlines]
    tiles = []
    for k in chosen:
        picture = _grey(stack, k, GREYS)
        for mask, color, line in outlines:
            _draw(picture, _outline(stack, mask, k, line), color)
        tiles.append(_tile(stack, picture, k, labels))
    return tiles


def uncertainty_tiles(
    stack: AxialStack, labels: np.ndarray, uncertainty: np.ndarray, chosen: Sequence[int]
) -> list[Tile]:
    """Slices, dimmed, under the colours of the uncertainty map, with the outline of all lesions."""
    labels, uncertainty = stack.turn(labels), stack.turn(uncertainty)
    tiles = []
    for k in chosen:
        picture = _grey(stack, k, DIM_GREYS, white=150)
        share = np.clip(stack.plane(uncertainty, k), 0, 1)
        # Below a twentieth of a bit the colour would only tint the whole brain.
        cover = np.clip((share - 0.05) / 0.15, 0, 1) * 0.9
        picture.paste(Picture.fromarray(color_map(share)), mask=_alpha(cover))
        _draw(picture, _outline(stack, labels > 0, k, LINE_PIXELS / 2), (255, 255, 255))
        tiles.append(_tile(stack, picture, k, labels))
    return tiles


def color_map(share: np.ndarray) -> np.ndarray:
    """Values 0 to 1 as uint8 colours of `COLOR_STOPS`, one more axis of three channels."""
    places = [place for place, _ in COLOR_STOPS]
    channels = [np.interp(share, places, [color[c] for _, color in COLOR_STOPS]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def _nearest_axes(grid: Grid) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """For left, posterior and superior: the nearest voxel axis, and +1 or -1 for along or against it."""
    to_native = (np.linalg.inv(grid.affine) @ axial_grid(grid, 1.0).affine)[:3, :3]
    order = np.abs(to_native).argmax(axis=0)
    toward_lps = to_native[order, range(3)] * (-1, -1, 1)
    return tuple(order.tolist()), tuple(1 if sign > 0 else -1 for sign in toward_lps)


def _crop(brain: np.ndarray, spacing_mm: Sequence[float]) -> tuple[slice, slice]:
    sides = []
    for axis in (0, 1):
        occupied = np.flatnonzero(brain.any(axis=(1 - axis, 2)))
        first, last = (occupied[0], occupied[-1]) if occupied.size else (0, brain.shape[axis] - 1)
        margin = round(MARGIN_MM / spacing_mm[axis])
        sides.append(slice(max(0, int(first) - margin), min(brain.shape[axis], int(last) + margin + 1)))
    return tuple(sides)


def _limits(level: float, width: float) -> tuple[float, float]:
    return level - width / 2, level + width / 2


def _contrast(voxels: np.ndarray, brain: np.ndarray) -> tuple[float, float]:
    values = voxels[brain] if brain.any() else voxels[voxels > voxels.min()]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, WINDOW_PERCENTILES)
    return float(low), float(high if high > low else low + 1)


def _grey(stack: AxialStack, k: int, levels: int, white: int = 255) -> Picture.Image:
    low, high = stack.window
    grey = np.clip((stack.plane(stack.voxels, k) - low) / (high - low), 0, 1)
    return Picture.fromarray((np.rint(grey * (levels - 1)) * (white / (levels - 1))).astype(np.uint8)).convert("RGB")


def _outline(stack: AxialStack, mask: np.ndarray, k: int, line: float = LINE_PIXELS) -> Picture.Image | None:
    """Coverage of the outline that lies just outside a mask's border, so that the lesion itself stays visible."""
    columns, rows = stack.crop
    if not mask[columns, rows, k].any():
        return None
    inside = stack.plane(mask, k, FINE) >= 0.5
    thickness = max(1, round(line * FINE))
    ring = ndimage.binary_dilation(inside, ndimage.generate_binary_structure(2, 2), iterations=thickness) & ~inside
    return _alpha(ring.astype(np.float32)).resize(stack.size(), Picture.BOX)


def _alpha(cover: np.ndarray) -> Picture.Image:
    return Picture.fromarray((cover * 255).astype(np.uint8))


def _draw(picture: Picture.Image, coverage: Picture.Image | None, color: tuple[int, int, int]) -> None:
    if coverage is not None:
        picture.paste(color, mask=coverage)


def _tile(stack: AxialStack, picture: Picture.Image, k: int, labels: np.ndarray) -> Tile:
    letters = ImageDraw.Draw(picture)
    font = ImageFont.load_default(LETTER_PIXELS)
    width, height = picture.size
    for letter, x, anchor in (("R", 6, "lm"), ("L", width - 6, "rm")):
        place = (x, height / 2)
        letters.text(place, letter, LETTER_COLOR, font, anchor, stroke_width=LETTER_EDGE, stroke_fill=(0, 0, 0))
    stream = io.BytesIO()
    picture.quantize(256, dither=Picture.Dither.NONE).save(stream, "PNG", optimize=True)
    volume_ml = float(np.count_nonzero(labels[:, :, k]) * stack.image.voxel_volume_ml)
    return Tile(
        stream.getvalue(), picture.size, stack.number(k), stack.voxels.shape[2], stack.superior_mm(k), volume_ml
    )
