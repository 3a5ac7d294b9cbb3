"""NIfTI-1 and NIfTI-2 single files, read and written with the standard library and numpy.

Why not a library here: the affine has to be chosen, and doubts about it told, from the header itself; a
truncated or damaged gzip stream has to be an error and never a volume of zeros; and what is written must
carry the input's affine to the last bit. Field offsets are those of nifti1.h and nifti2.h (NIMH, public
domain, https://nifti.nimh.nih.gov).
"""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from csvd.errors import InputError
from csvd.grid import LARGEST_SHEAR, shear, upright_steps

DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
REFUSED_DTYPES = {
    32: "complex numbers",
    1792: "complex numbers",
    2048: "complex numbers",
    128: "colours (RGB)",
    2304: "colours (RGBA)",
}
UNITS_MM = {1: 1000.0, 3: 0.001}
SCANNER = 1

# A choice: above the rounding of float32 quaternions over 256 mm (.1 mm seen), below the finest voxels in use.
LARGEST_DISAGREEMENT_MM = 0.2
# A choice: level 1 leaves probability maps about 10 % larger, level 9 takes several times as long.
COMPRESSION = 4
# DEFLATE cannot expand a byte to more than 1032 (zlib technical notes), so a smaller file is surely cut short.
LARGEST_EXPANSION = 1032


def read(path: Path, slanted: bool = False) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Voxels (i, j, k) in their stored type, or float32 where the header rescales; affine 4x4 RAS mm; warnings.

    ``slanted`` takes the sform of a tilted gantry, of which a qform cannot tell.

    Raises InputError for a file that is not NIfTI, is cut short or damaged, or is not one 3D volume of plain
    numbers.
    """
    with open(path, "rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if compressed else raw
        try:
            header = _Header(stream.read(540), path)
            shape, dtype = header.shape(), header.dtype()
            needed_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
            at_most = path.stat().st_size * (LARGEST_EXPANSION if compressed else 1)
            if needed_bytes + header.offset > at_most:
                raise InputError(_cut_short(path))
            stream.seek(header.offset)
            voxels = np.empty(shape, dtype, order="F")
            if _fill(stream, voxels) < needed_bytes:
                raise InputError(_cut_short(path))
            while stream.read(1 << 20):  # the checksum of a gzip file is compared at its end only
                pass
        except EOFError:
            raise InputError(_cut_short(path)) from None
        except (gzip.BadGzipFile, zlib.error):
            raise InputError(
                f"{path} is damaged (its compressed data do not check). Copy or export it again."
            ) from None
        except MemoryError:
            raise InputError(f"{path} needs more memory than there is, {needed_bytes / 2**30:.1f} GiB.") from None
    affine, warnings = header.affine(shape, slanted)
    if not dtype.isnative:
        voxels = voxels.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return header.rescaled(voxels), affine, warnings


def write(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Write (i, j, k) voxels and their 4x4 RAS affine as NIfTI-1, gzipped where the name ends in .gz.

    qform and sform both hold the affine, with the code "scanner", so that no reader has a choice to make. A qform
    cannot hold slanted slices: there it has their pixels and their distance at a right angle.
    The type of the voxels is kept; bool becomes uint8. The same input gives the same bytes.
    """
    voxels = np.asarray(voxels)
    if voxels.dtype == bool:
        voxels = voxels.astype(np.uint8)
    little = voxels.dtype.newbyteorder("<")
    code = next((c for c, name in DTYPES.items() if name == little.str.lstrip("<|")), None)
    if code is None:
        raise TypeError(f"NIfTI cannot hold voxels of type {voxels.dtype}.")
    steps = upright_steps(affine)
    quaternion, qfac = _quaternion(steps)
    spacing_mm = np.linalg.norm(steps, axis=0)
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *voxels.shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, little.itemsize * 8)
    struct.pack_into("<8f", header, 76, qfac, *spacing_mm, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, 352, 1, 0)
    header[123] = 2  # xyzt_units: millimetres
    struct.pack_into("<2h", header, 252, SCANNER, SCANNER)
    struct.pack_into("<6f", header, 256, *quaternion, *affine[:3, 3])
    struct.pack_into("<12f", header, 280, *np.asarray(affine)[:3].ravel())
    header[344:348] = b"n+1\0"
    with open(path, "wb") as raw:
        zipped = str(path).endswith(".gz")
        stream = gzip.GzipFile("", "wb", COMPRESSION, raw, mtime=0) if zipped else raw
        stream.write(header)
        for k in range(voxels.shape[2]):
            stream.write(voxels[:, :, k].astype(little, copy=False).tobytes(order="F"))
        if zipped:
            stream.close()


class _Header:
    """The fields of one NIfTI header that matter here."""

    def __init__(self, data: bytes, path: Path):
        self.data, self.path = data, path
        sizes = {order: struct.unpack(order + "i", data[:4].ljust(4))[0] for order in "<>"}
        self.order = next((order for order, size in sizes.items() if size in (348, 540)), None)
        if self.order is None:
            raise InputError(_foreign(path, data))
        self.two = sizes[self.order] == 540
        if len(data) < (540 if self.two else 352):
            raise InputError(_cut_short(path))
        magic = data[4:8] if self.two else data[344:348]
        if magic[:3] not in (b"n+1", b"n+2"):
            raise InputError(
                f"{path} is the header of a two-file image (Analyze or .hdr/.img). Convert it to one .nii.gz file."
            )
        self.offset = int(self._get("q", 168)[0] if self.two else self._get("f", 108)[0])

    def _get(self, form: str, at: int) -> tuple:
        return struct.unpack_from(self.order + form, self.data, at)

    def shape(self) -> tuple[int, int, int]:
        dim = self._get("8q", 16) if self.two else self._get("8h", 40)
        if not 1 <= dim[0] <= 7 or any(n < 1 for n in dim[1 : dim[0] + 1]):
            raise InputError(f"{self.path} has a damaged header (impossible dimensions). Copy or export it again.")
        sizes = [*dim[1 : dim[0] + 1], 1, 1, 1]
        volumes = int(np.prod(sizes[3:]))
        if volumes > 1:
            raise InputError(f"{self.path} holds {volumes} volumes, not one. Extract the volume to its own file.")
        return tuple(sizes[:3])

    def dtype(self) -> np.dtype:
        code = self._get("h", 12 if self.two else 70)[0]
        if code in DTYPES:
            return np.dtype(self.order + DTYPES[code])
        what = REFUSED_DTYPES.get(code, f"data of an unsupported type (code {code})")
        raise InputError(f"{self.path} holds {what}, not plain intensities. Export the magnitude image as grey values.")

    def rescaled(self, voxels: np.ndarray) -> np.ndarray:
        slope, intercept = self._get("2d", 176) if self.two else self._get("2f", 112)
        if not np.isfinite([slope, intercept]).all() or slope == 0 or (slope, intercept) == (1, 0):
            return voxels
        voxels = voxels.astype(np.float32, copy=False)
        voxels *= slope
        voxels += intercept
        return voxels

    def affine(self, shape: tuple[int, int, int], slanted: bool) -> tuple[np.ndarray, list[str]]:
        """The affine that ITK, and so Slicer, takes: the sform where it is of the scanner and a box, else the qform.

        With ``slanted``, the sform of the scanner also where its slices are slanted, as those of a tilted gantry.

        ITK 5.4, itkNiftiImageIO.cxx; the tests compare with SimpleITK. One difference: with neither form set
        ITK stays silent.
        """
        qcode, scode = self._get("2i", 344) if self.two else self._get("2h", 252)
        unit_mm = UNITS_MM.get((self._get("i", 500)[0] if self.two else self.data[123]) & 7, 1.0)
        pixdim = np.abs(self._get("3d", 112) if self.two else self._get("3f", 80))
        sform = np.vstack(
            [np.reshape(self._get("12d", 400) if self.two else self._get("12f", 280), (3, 4)), [0, 0, 0, 1]]
        )
        scale = np.diag([unit_mm, unit_mm, unit_mm, 1.0])
        if not qcode and not scode:
            # ITK's own default, so that the mask lies on the scan in Slicer.
            return scale @ np.diag([-pixdim[0], -pixdim[1], pixdim[2], 1.0]), [
                "The file does not say how the head lies in the scanner (neither qform nor sform is set): left, right, "
                "front and back are assumed; check them in the report."
            ]
        qform = self._qform(pixdim) if qcode else None
        trusted = scode == SCANNER and shear(sform) <= LARGEST_SHEAR
        trusted = trusted and np.allclose(np.linalg.norm(sform[:3, :3], axis=0), pixdim, rtol=1e-3)
        tilted = slanted and scode == SCANNER and shear(sform) > LARGEST_SHEAR
        affine = sform if qform is None or trusted or tilted else qform
        warnings = []
        if tilted and qcode:
            warnings.append(
                "The slices are slanted, as by a tilted gantry: the sform, which says so, is used. Viewers that take "
                "the qform, as Slicer does, show the scan and its results in one place, but not slanted."
            )
        elif qcode and scode:
            corners = np.array([(i, j, k, 1) for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])]).T
            apart_mm = unit_mm * np.nanmax(np.linalg.norm(((qform - sform) @ corners)[:3], axis=0))
            if not apart_mm <= LARGEST_DISAGREEMENT_MM:
                name = "sform" if trusted else "qform"
                warnings.append(
                    f"The two positions stored in the file (qform and sform) disagree by up to {apart_mm:.1f} mm: "
                    f"the {name} is used, as Slicer does."
                )
        return scale @ affine, warnings

    def _qform(self, pixdim: np.ndarray) -> np.ndarray:
        b, c, d, *offset = self._get("6d", 352) if self.two else self._get("6f", 256)
        qfac = -1.0 if (self._get("d", 104) if self.two else self._get("f", 76))[0] < 0 else 1.0
        a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        )
        qform = np.eye(4)
        qform[:3, :3] = rotation * pixdim * [1.0, 1.0, qfac]
        qform[:3, 3] = offset
        return qform


def _quaternion(steps: np.ndarray) -> tuple[np.ndarray, float]:
    """(b, c, d) and qfac of the rotation nearest to the steps along the axes, 3x3 (nifti1.h, method 2)."""
    axes = steps / np.linalg.norm(steps, axis=0)
    left, _, right = np.linalg.svd(axes)
    rotation = left @ right
    qfac = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    rotation = rotation * [1.0, 1.0, qfac]
    # The largest of the four quaternion parts is found first: dividing by a small one loses the digits.
    r, trace = rotation, np.trace(rotation)
    squares = np.array([1 + trace, *(1 + 2 * np.diag(r) - trace)])
    products = np.array(
        [
            [squares[0], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], squares[1], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], squares[2], r[1, 2] + r[2, 1]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], squares[3]],
        ]
    )
    largest = products[squares.argmax()]
    quaternion = largest / np.linalg.norm(largest)
    return (quaternion if quaternion[0] >= 0 else -quaternion)[1:], qfac


def _fill(stream, voxels: np.ndarray) -> int:
    """Read straight into the array, so that a large volume is in memory once; bytes read."""
    view, filled = memoryview(voxels.T.reshape(-1).view(np.uint8)), 0
    while filled < len(view):
        count = stream.readinto(view[filled : filled + (1 << 20)])
        if not count:
            break
        filled += count
    return filled


def _cut_short(path: Path) -> str:
    return f"{path} is cut short: not all of its voxels are there. Copy or export it again."


def _foreign(path: Path, data: bytes) -> str:
    if not data:
        return f"{path} is empty. Copy or export it again."
    if data[128:132] == b"DICM":
        return f"{path} is a DICOM file, not NIfTI. Rename it, or give the folder that holds the whole series."
    return f"{path} is not a NIfTI file, whatever its name says. Convert the scan to NIfTI or give its DICOM folder."
