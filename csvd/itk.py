"""NRRD and DICOM, read through SimpleITK (ITK's NRRD reader and GDCM).

A DICOM series is put together here from its slices' own positions, not by ITK's series reader: that one spaces the
slices evenly and only warns, in C++ on stderr, when one is missing.
"""

import hashlib
import mmap
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from csvd.errors import InputError

SERIES_UID, SERIES_DESCRIPTION, MODALITY = "0020|000e", "0008|103e", "0008|0060"
# Storage classes of slices and volumes (DICOM PS3.6, table A-1): MR, enhanced MR, CT, enhanced CT, secondary capture.
IMAGE_CLASSES = {b"1.2.840.10008.5.1.4.1.1." + end for end in (b"4", b"4.1", b"2", b"2.1", b"7")}
# A choice: positions are written with a few decimals, so gaps vary by far less; a lost slice changes one by 100 %.
LARGEST_GAP_CHANGE = 0.05
SAME_POSITION_MM = 0.01
ROUNDING_MM = 0.1  # choice: positions are written with a few decimals, of steps that are often rounded themselves
MESSAGE_NAMES = 4


@dataclass(frozen=True)
class _Slice:
    path: Path
    size: tuple[int, ...]
    spacing_mm: np.ndarray
    direction: np.ndarray
    origin: np.ndarray
    series: str
    description: str
    modality: str

    @property
    def height_mm(self) -> float:
        """Position along the normal of the slice."""
        return float(self.origin @ self.direction[:, 2])


def read_nrrd(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Voxels (i, j, k), affine 4x4 RAS mm, warnings. Raises InputError for damage, vectors and several volumes."""
    with _itk(path):
        reader = _header(path, "NrrdImageIO")
        _require_grey(reader, path)
        size = reader.GetSize()
        if np.prod(size[3:]) > 1:
            several = int(np.prod(size[3:]))
            raise InputError(f"{path} holds {several} volumes, not one. Extract the volume to its own file.")
        voxels = _voxels(reader).reshape((*size, 1)[:3] if len(size) < 3 else size[:3], order="F")
        space = reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else ""
        placed = len(size) >= 3 and space == "left-posterior-superior"  # ITK turns RAS and LAS into this
        warnings = [
            "The file does not say how the head lies in the scanner (no NRRD space): left, right, front and back are "
            "assumed; check them in the report."
        ]
        return voxels, _affine(reader), [] if placed else warnings


def read_dicom_file(path: Path) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    """A multi-frame DICOM file: voxels, affine, warnings and modality. A single slice is an InputError."""
    with _itk(path):
        reader = _header(path, "GDCMImageIO")
        _require_grey(reader, path)
        size = reader.GetSize()
        if len(size) < 3 or size[2] < 2:
            raise InputError(f"{path} is one DICOM slice, not a volume. Give the folder that holds the whole series.")
        voxels, affine, warnings = _voxels(reader), _affine(reader), []
        positions = _frame_positions(path)
        if len(positions) == size[2]:
            order = np.argsort(positions @ affine[:3, 2])
            if (np.diff(order) < 0).any():
                voxels, positions = voxels[:, :, order], positions[order]
            affine[:3, 2] = (positions[-1] - positions[0]) / (size[2] - 1)
            affine[:3, 3] = positions[0]
            off_mm = np.abs(positions - positions[0] - np.outer(np.arange(size[2]), affine[:3, 2])).max()
            if not off_mm < LARGEST_GAP_CHANGE * np.linalg.norm(affine[:3, 2]):
                raise InputError(
                    f"{path} holds frames that are not one evenly spaced stack (a slice is missing, or several echoes "
                    "or time points). Export the volume alone."
                )
        else:
            warnings.append(
                "The DICOM file does not give a position for every frame: the order and spacing of its slices are "
                "assumed; check them in the report."
            )
        return voxels, affine, warnings, _tag(reader, MODALITY)


def read_dicom_folder(folder: Path) -> tuple[np.ndarray, np.ndarray, list[str], str, str]:
    """The one series in a folder: voxels, affine, warnings, modality, sha256 of the files' digests in slice order.

    Raises InputError for a folder without DICOM images or with several series, and for a series with a missing
    slice, uneven or doubled positions, or slices of different size or angle.
    """
    with _itk(folder):
        found, warnings = _slices_in(folder)
        series = defaultdict(list)
        for one in found:
            series[one.series].append(one)
        if len(series) > 1:
            names = [f"{group[0].description or 'no name'} ({len(group)} files)" for group in series.values()]
            raise InputError(
                f"{folder} holds {len(series)} series, not one: {_listed(names)}. Put the wanted series into a "
                "folder of its own and give that."
            )
        slices = sorted(found, key=lambda one: one.height_mm)
        digest = hashlib.sha256()
        for one in slices:
            digest.update(hashlib.sha256(one.path.read_bytes()).digest())
        if len(slices) == 1 and slices[0].size[2:] > (1,):
            volume = read_dicom_file(slices[0].path)
            return volume[0], volume[1], [*warnings, *volume[2]], volume[3], digest.hexdigest()
        _require_one_stack(slices, folder)
        return _stack(slices), _affine_of_stack(slices), warnings, slices[0].modality, digest.hexdigest()


def _slices_in(folder: Path) -> tuple[list[_Slice], list[str]]:
    found, left_out = [], []
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    for path in files:
        try:
            reader = _header(path, "GDCMImageIO")
        except RuntimeError:
            with open(path, "rb") as file:
                head = file.read(1024)
            if head[128:132] == b"DICM" and _storage_class(head) in IMAGE_CLASSES:
                raise InputError(f"{path} is damaged or cut short. Copy or export the series again.") from None
            left_out += [path.name] if head[128:132] == b"DICM" and path.name.upper() != "DICOMDIR" else []
            continue
        _require_grey(reader, path)
        tags = [_tag(reader, tag) for tag in (SERIES_UID, SERIES_DESCRIPTION, MODALITY)]
        direction, spacing_mm = np.reshape(reader.GetDirection(), (3, 3)), np.array(reader.GetSpacing())
        found.append(_Slice(path, reader.GetSize(), spacing_mm, direction, np.array(reader.GetOrigin()), *tags))
    if not found:
        below = sorted(p.name for p in folder.iterdir() if p.is_dir())
        hint = f"Give one of the folders below it, such as {below[0]}." if below else "Give the folder of one series."
        raise InputError(f"{folder} {'is empty' if not files and not below else 'holds no DICOM images'}. {hint}")
    if left_out:
        return found, [f"DICOM files in the folder that hold no image were left out: {_listed(left_out)}."]
    return found, []


def _require_one_stack(slices: list[_Slice], folder: Path) -> None:
    """Raise InputError unless the slices, in order of height, are alike and evenly spaced."""
    first = slices[0]
    if any(one.size[2:] > (1,) for one in slices):
        raise InputError(f"{folder} holds several multi-frame files. Give the file of the volume itself.")
    if any(np.abs(one.direction - first.direction).max() > 1e-3 for one in slices):
        raise InputError(f"{folder} holds slices at different angles, as a localiser does. Give the axial series.")
    if any(one.size != first.size or np.abs(one.spacing_mm - first.spacing_mm)[:2].max() > 1e-3 for one in slices):
        raise InputError(f"{folder} holds slices of different size or pixel spacing. Give a folder with one series.")
    gaps_mm = np.diff([one.height_mm for one in slices])
    if not len(gaps_mm):
        return
    if gaps_mm.min() < SAME_POSITION_MM:
        raise InputError(
            f"{folder} holds several images at the same slice position (echoes, repeats or copies, or no position at "
            "all). Give a folder with one volume."
        )
    usual_mm = float(np.median(gaps_mm))
    worst = int(np.abs(gaps_mm - usual_mm).argmax())
    if abs(gaps_mm[worst] - usual_mm) > LARGEST_GAP_CHANGE * usual_mm:
        raise InputError(
            f"{folder} has a slice missing or uneven spacing: {gaps_mm[worst]:.1f} mm between slices {worst + 1} and "
            f"{worst + 2}, {usual_mm:.1f} mm elsewhere. Export the series again, complete."
        )
    origins = np.array([one.origin for one in slices])
    straight = np.linspace(origins[0], origins[-1], len(slices))
    if np.abs(origins - straight).max() > LARGEST_GAP_CHANGE * usual_mm + ROUNDING_MM:
        raise InputError(f"{folder} has slices beside the line of the others. Give a series of one scan of the head.")


def _stack(slices: list[_Slice]) -> np.ndarray:
    """Each slice with its own rescaling, which may differ from slice to slice; one copy of the volume."""
    planes = [_voxels(_header(one.path, "GDCMImageIO"))[:, :, 0] for one in slices]
    voxels = np.empty((*slices[0].size[:2], len(planes)), np.result_type(*{plane.dtype for plane in planes}), order="F")
    for k in range(len(planes)):
        voxels[:, :, k], planes[k] = planes[k], None
    return voxels


def _affine_of_stack(slices: list[_Slice]) -> np.ndarray:
    first, last = slices[0], slices[-1]
    lps = np.eye(4)
    lps[:3, :2] = first.direction[:, :2] * first.spacing_mm[:2]
    step = (last.origin - first.origin) / (len(slices) - 1) if len(slices) > 1 else None
    lps[:3, 2] = first.direction[:, 2] * first.spacing_mm[2] if step is None else step
    lps[:3, 3] = first.origin
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def _affine(reader: sitk.ImageFileReader) -> np.ndarray:
    n = reader.GetDimension()
    spacing_mm = np.array([*reader.GetSpacing(), 1.0])[:3]
    direction = np.eye(3)
    direction[: min(n, 3), : min(n, 3)] = np.reshape(reader.GetDirection(), (n, n))[:3, :3]
    lps = np.eye(4)
    lps[:3, :3] = direction * spacing_mm
    lps[:3, 3] = [*reader.GetOrigin(), 0.0][:3]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def _voxels(reader: sitk.ImageFileReader) -> np.ndarray:
    voxels = sitk.GetArrayFromImage(reader.Execute()).T
    # GDCM gives float64 wherever a slope is not whole; twelve stored bits fit float32.
    return voxels.astype(np.float32) if voxels.dtype == np.float64 else voxels


def _header(path: Path, image_io: str) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _require_grey(reader: sitk.ImageFileReader, path: Path) -> None:
    complex_ids = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)
    if reader.GetNumberOfComponents() > 1 or reader.GetPixelID() in complex_ids:
        raise InputError(
            f"{path} holds colours, vectors or complex numbers, not plain intensities. Export the magnitude image as "
            "grey values."
        )


def _frame_positions(path: Path) -> np.ndarray:
    """Image Position (Patient) of every frame, RAS mm, (frames, 3), in the order of the frames.

    GDCM takes the frames for ordered and the first two for the spacing, and SimpleITK does not hand out per-frame
    groups, so they are looked for in the file: tag (0020,0032), explicit or implicit VR, little endian.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        number = rb" *([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?) *"
        tag = rb"\x20\x00\x32\x00(?:DS..|..\x00\x00)"
        lps = [[float(x) for x in found] for found in re.findall(tag + rb"\\".join([number] * 3), data, re.DOTALL)]
    return np.array(lps).reshape(-1, 3) * [-1.0, -1.0, 1.0]


def _storage_class(head: bytes) -> bytes:
    match = re.search(rb"\x02\x00\x02\x00UI..([0-9.]+)", head, re.DOTALL)
    return match[1] if match else b""


def _tag(reader: sitk.ImageFileReader, key: str) -> str:
    return reader.GetMetaData(key).strip() if reader.HasMetaDataKey(key) else ""


def _listed(names: list[str]) -> str:
    more = [f"and {len(names) - MESSAGE_NAMES} more"] if len(names) > MESSAGE_NAMES else []
    return ", ".join([*names[:MESSAGE_NAMES], *more])


@contextmanager
def _itk(path: Path) -> Iterator[None]:
    """Turn ITK's exceptions into one sentence, and keep its C++ warnings off the terminal."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    except RuntimeError:
        raise InputError(
            f"{path} cannot be read: it is damaged, cut short or not what its name says. Copy or export it again."
        ) from None
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
