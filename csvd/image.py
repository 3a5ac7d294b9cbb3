"""An image: voxels, where they lie in the world, and where they came from. Read and write NIfTI, NRRD and DICOM."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csvd.errors import InputError
from csvd.grid import LARGEST_SHEAR, Grid, axial_grid, cropped_grid, resample, resized_grid, shear, upright_grid

__all__ = [
    "Grid", "Image", "axial_grid", "cropped_grid", "read_image", "resample", "resized_grid", "upright_grid",
    "write_image",
]  # fmt: skip

NIFTI = (".nii", ".nii.gz")
NRRD = (".nrrd", ".nhdr")
LARGEST_TILT_DEG = 35.0  # choice: the gantries of CT scanners tilt by up to 30 degrees


@dataclass(frozen=True, eq=False)
class Image:
    """Voxels (i, j, k) with their 4x4 affine to RAS mm.

    ``source`` is the path it came from, ``sha256`` that file's digest (for a DICOM folder, of the files' digests in
    slice order), ``modality`` the DICOM modality where the source says it ("" for NIfTI and NRRD), ``warnings``
    sentences about doubts in the header.
    """

    voxels: np.ndarray
    affine: np.ndarray
    source: str = ""
    sha256: str = ""
    warnings: tuple[str, ...] = ()
    modality: str = ""

    @property
    def grid(self) -> Grid:
        return Grid(self.voxels.shape, self.affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        return self.grid.spacing_mm

    @property
    def voxel_volume_ml(self) -> float:
        return self.grid.voxel_volume_ml

    def like(self, array: np.ndarray) -> "Image":
        """Another array of the same shape on the same grid; it has no source of its own."""
        if array.shape != self.voxels.shape:
            raise ValueError(f"An array of shape {array.shape} does not lie on a grid of shape {self.voxels.shape}.")
        return Image(array, self.affine)

    def to_sitk(self):
        """The same image as a ``SimpleITK.Image`` (LPS mm); bool becomes uint8."""
        import SimpleITK as sitk

        voxels = self.voxels.view(np.uint8) if self.voxels.dtype == bool else self.voxels
        image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
        lps = np.diag([-1.0, -1.0, 1.0]) @ self.affine[:3]
        lengths = np.linalg.norm(lps[:, :3], axis=0)
        image.SetSpacing(lengths.tolist())
        image.SetDirection((lps[:, :3] / lengths).ravel().tolist())
        image.SetOrigin(lps[:, 3].tolist())
        return image


def read_image(path: str | os.PathLike, *, slanted: bool = False) -> Image:
    """Read a .nii, .nii.gz, .nrrd or .nhdr file, a folder of DICOM slices or a multi-frame DICOM file.

    Voxels keep their stored type (float32 where the file rescales). ``slanted`` takes the slices of a tilted CT gantry
    as they lie; ``grid.upright_grid`` is where they can be resampled to. Raises InputError where there is no such file,
    it is damaged, or it is not one volume of grey values on a straight grid.
    """
    if not str(path):
        raise InputError("No image was given. Name a NIfTI or NRRD file or a folder of DICOM slices.")
    path = Path(path)
    try:
        if not path.exists():
            raise InputError(f"There is no file or folder {path}. Check the path.")
        voxels, affine, warnings, modality, sha256 = _read(path, slanted)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error}). Check the path and its permissions."
        ) from None
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(
            f"{path} has no usable position or voxel size in its header. Export it again from the scanner."
        )
    lean, limit = shear(affine), np.sin(np.radians(LARGEST_TILT_DEG)) if slanted else LARGEST_SHEAR
    if lean > limit:
        more = f", more than the {LARGEST_TILT_DEG:g} degrees that a tilted gantry can explain" if slanted else ""
        raise InputError(
            f"{path} has slanted voxels (sheared affine, {np.degrees(np.arcsin(min(1.0, lean))):.1f} degrees off a "
            f"right angle{more}). Resample it onto a straight grid, or give the scan before registration or tilt "
            "correction."
        )
    return Image(voxels, affine, str(path), sha256, tuple(warnings), modality)


def write_image(image: Image, path: str | os.PathLike) -> None:
    """Write NIfTI or NRRD by the name's ending, keeping the type of the voxels (bool as uint8).

    The file appears whole or not at all: it is written beside its place and then renamed. Raises InputError where
    the place cannot be written.
    """
    path = Path(path)
    ending = _ending(path)
    if ending not in (*NIFTI, ".nrrd"):
        raise InputError(f"{path} cannot be written: its name must end in .nii, .nii.gz or .nrrd.")
    with whole_or_not_at_all(path, ending) as beside:
        if ending == ".nrrd":
            import SimpleITK as sitk

            sitk.WriteImage(image.to_sitk(), str(beside), useCompression=True)
        else:
            from csvd import nifti

            nifti.write(beside, image.voxels, image.affine)


@contextmanager
def whole_or_not_at_all(path: Path, ending: str) -> Iterator[Path]:
    """A name beside ``path`` to write to; the file then moves to its place. Raises InputError where it cannot."""
    beside = path.with_name(f".csvd-{uuid.uuid4().hex}{ending}")
    try:
        yield beside
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "the writer failed"
        raise InputError(f"{path} cannot be written ({reason}). Choose a folder you may write to.") from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _read(path: Path, slanted: bool) -> tuple[np.ndarray, np.ndarray, list[str], str, str]:
    if path.is_dir():
        from csvd import itk

        return itk.read_dicom_folder(path)
    if not path.is_file():
        raise InputError(f"{path} is not a regular file. Name a NIfTI or NRRD file or a folder of DICOM slices.")
    ending = _ending(path)
    with open(path, "rb") as file:
        is_dicom = file.read(132)[128:] == b"DICM"
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if ending in NIFTI:
        from csvd import nifti

        return *nifti.read(path, slanted), "", sha256
    if ending in NRRD:
        from csvd import itk

        return *itk.read_nrrd(path), "", sha256
    if is_dicom or ending in (".dcm", ".ima"):
        from csvd import itk

        return *itk.read_dicom_file(path), sha256
    raise InputError(
        f"{path} is of a kind that is not read here. Give a .nii, .nii.gz, .nrrd or .nhdr file or a folder of DICOM "
        "slices."
    )


def _ending(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix
