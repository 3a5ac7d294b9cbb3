"""Files become the right numbers at the right place: headers, DICOM series, odd but lawful files; and back to disk."""

import gzip
import hashlib
import os
import struct
import threading
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import CT, OBLIQUE, T2, head, oriented_affine, world, write_dicom_series

from csvd.checks import check_flair
from csvd.errors import InputError
from csvd.image import Image, read_image, write_image

SHAPE = (20, 24, 9)
SHARED = Path(__file__).parents[2].parent / "shared" / "data"
NIFTI_TYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8", "i8"]


@pytest.fixture
def voxels():
    return (2 * np.random.default_rng(0).integers(0, 600, SHAPE) - 6).astype(np.int16)


@pytest.fixture
def affine():
    return oriented_affine((0, 1, 2), (-1, -1, 1), (1.0, 1.2, 4.0), SHAPE, OBLIQUE)


def itk_affine(path):
    """What ITK, and so Slicer, makes of a file's header."""
    image = sitk.ReadImage(str(path))
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def save_with_forms(path, voxels, qform, qcode, sform, scode):
    image = nibabel.Nifti1Image(voxels, None)
    image.set_qform(qform, qcode)
    image.set_sform(sform, scode)
    nibabel.save(image, path)


@pytest.mark.parametrize("dtype", NIFTI_TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_stored_type_is_kept_in_both_byte_orders(tmp_path, affine, dtype, order):
    stored = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype) // 50
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(dtype))
    nibabel.save(nibabel.Nifti1Image(stored, affine, header, dtype=np.dtype(dtype)), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    assert image.voxels.dtype == np.dtype(dtype)
    assert image.voxels.dtype.isnative
    assert np.array_equal(image.voxels, stored)
    assert np.abs(image.affine - affine).max() < 1e-5


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_volume_is_in_memory_once_while_it_is_read(tmp_path, affine, name):
    write_image(
        Image(np.random.default_rng(0).integers(0, 9, (160, 160, 160)).astype(np.int16), affine), tmp_path / name
    )
    tracemalloc.start()
    voxels = read_image(tmp_path / name).voxels
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert voxels.nbytes == 2 * 160**3
    assert peak < 1.25 * voxels.nbytes


def test_nifti_2_is_read(tmp_path, voxels, affine):
    nibabel.save(nibabel.Nifti2Image(voxels, affine), tmp_path / "two.nii.gz")
    image = read_image(tmp_path / "two.nii.gz")
    assert np.array_equal(image.voxels, voxels)
    assert np.abs(image.affine - affine).max() < 1e-9


def test_slope_and_intercept_are_applied(tmp_path, voxels, affine):
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<2f", raw, 112, 0.5, -3.0)
    raw[352:] = voxels.tobytes(order="F")
    (tmp_path / "a.nii").write_bytes(raw)
    read = read_image(tmp_path / "a.nii").voxels
    assert read.dtype == np.float32
    assert np.array_equal(read, voxels * 0.5 - 3)


@pytest.mark.parametrize(("units", "factor"), [(1, 1000.0), (3, 0.001)])
def test_a_header_in_metres_or_micrometres_becomes_millimetres(tmp_path, voxels, affine, units, factor):
    smaller = affine.copy()
    smaller[:3] /= factor
    image = nibabel.Nifti1Image(voxels, smaller)
    image.header["xyzt_units"] = units
    nibabel.save(image, tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").spacing_mm == pytest.approx((1.0, 1.2, 4.0), rel=1e-5)


@pytest.mark.parametrize("qcode", [0, 1, 2, 4])
@pytest.mark.parametrize("scode", [0, 1, 2, 4])
def test_of_two_positions_the_one_slicer_uses_is_taken_and_the_doubt_is_told(tmp_path, voxels, affine, qcode, scode):
    path = tmp_path / "a.nii"
    other = affine.copy()
    other[:3, 3] += [0, 30, 0]
    save_with_forms(path, voxels, affine, qcode, other, scode)
    image = read_image(path)
    assert np.abs(image.affine - itk_affine(path)).max() < 1e-3
    if qcode and scode:
        assert "disagree by up to 30.0 mm" in image.warnings[0]
    elif not qcode and not scode:
        assert "neither qform nor sform is set" in image.warnings[0]
    else:
        assert image.warnings == ()


def test_a_sheared_sform_gives_way_to_the_qform_as_in_slicer(tmp_path, voxels, affine):
    sheared = affine.copy()
    sheared[:3, 1] += 0.2 * sheared[:3, 0]
    save_with_forms(tmp_path / "a.nii", voxels, affine, 1, sheared, 1)
    image = read_image(tmp_path / "a.nii")
    assert np.abs(image.affine - affine).max() < 1e-4
    assert "the qform is used" in image.warnings[0]


def test_one_volume_in_four_dimensions_is_one_volume(tmp_path, voxels, affine):
    nibabel.save(nibabel.Nifti1Image(voxels[..., None], affine), tmp_path / "a.nii.gz")
    assert np.array_equal(read_image(tmp_path / "a.nii.gz").voxels, voxels)


@pytest.mark.parametrize("name", ["Ärztin Müller/Fälle 頭部.nii.gz", "with space/a b.nrrd", "ünï/シリーズ"])
def test_any_name_can_be_written_and_read(tmp_path, voxels, affine, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    if path.suffix:
        write_image(Image(voxels, affine), path)
    else:
        write_dicom_series(path, voxels, affine)
    image = read_image(path)
    assert np.array_equal(image.voxels, voxels)
    assert image.source == str(path)


def test_a_compressed_file_is_recognised_by_its_content_not_its_name(tmp_path, voxels, affine):
    write_image(Image(voxels, affine), tmp_path / "a.nii.gz")
    (tmp_path / "zipped.nii").write_bytes((tmp_path / "a.nii.gz").read_bytes())
    (tmp_path / "plain.nii.gz").write_bytes(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    assert np.array_equal(read_image(tmp_path / "zipped.nii").voxels, voxels)
    assert np.array_equal(read_image(tmp_path / "plain.nii.gz").voxels, voxels)


def test_the_digest_is_that_of_the_file(tmp_path, voxels, affine):
    write_image(Image(voxels, affine), tmp_path / "a.nii.gz")
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert read_image(tmp_path / "a.nii.gz").sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("space", "signs"), [("left-posterior-superior", (-1, -1, 1)), ("RAS", (1, 1, 1)), ("LAS", (-1, 1, 1))]
)
def test_nrrd_spaces_are_brought_to_ras(tmp_path, space, signs):
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 3 4 5\nendian: little\nencoding: raw\n"
        f"space: {space}\nspace directions: (1,0,0) (0,2,0) (0,0,4)\nspace origin: (7,8,9)\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(header.encode() + np.arange(60, dtype="<i2").tobytes())
    image = read_image(tmp_path / "a.nrrd")
    assert np.allclose(image.affine[:3], np.diag(signs) @ [[1, 0, 0, 7], [0, 2, 0, 8], [0, 0, 4, 9]])
    assert image.voxels[1, 2, 3] == 1 + 2 * 3 + 3 * 12
    assert image.warnings == ()


def test_a_detached_nrrd_header_finds_its_data(tmp_path):
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 3 4 5\nendian: little\nencoding: raw\ndata file: a.raw\n"
    header += "space: RAS\nspace directions: (1,0,0) (0,2,0) (0,0,4)\nspace origin: (0,0,0)\n"
    (tmp_path / "a.nhdr").write_text(header)
    (tmp_path / "a.raw").write_bytes(np.arange(60, dtype="<i2").tobytes())
    assert read_image(tmp_path / "a.nhdr").voxels[2, 3, 4] == 59


@pytest.mark.parametrize("sign", [1, -1], ids=["ascending", "descending"])
def test_a_dicom_folder_is_put_in_order_by_position_whatever_the_file_names(tmp_path, voxels, affine, sign):
    affine = affine.copy()
    affine[:3, 2] *= sign
    write_dicom_series(tmp_path / "series", voxels, affine)
    image = read_image(tmp_path / "series")
    native = np.linalg.inv(image.affine) @ affine  # stored index -> index as written
    if sign > 0:
        assert np.abs(native - np.eye(4)).max() < 1e-5
        assert np.array_equal(image.voxels, voxels)
    else:
        assert np.linalg.det(image.affine[:3, :3]) * np.linalg.det(affine[:3, :3]) < 0
        assert np.array_equal(image.voxels, voxels[:, :, ::-1])
        assert np.allclose(image.affine @ [0, 0, 8, 1], affine @ [0, 0, 0, 1], atol=1e-4)
    assert image.modality == "MR"
    assert image.warnings == ()
    assert len(image.sha256) == 64


def test_dicom_rescaling_is_applied_slice_by_slice(tmp_path, voxels, affine):
    write_dicom_series(
        tmp_path / "series", voxels, affine, tags=lambda k: {"0028|1053": "2" if k % 2 else "1", "0028|1052": "-6"}
    )
    assert np.array_equal(read_image(tmp_path / "series").voxels, voxels)
    stored = sitk.ImageFileReader()
    stored.SetFileName(str(next((tmp_path / "series").glob("*_1.dcm"))))
    stored.ReadImageInformation()
    assert float(stored.GetMetaData("0028|1053")) == 2


def test_files_beside_the_slices_do_no_harm(tmp_path, voxels, affine):
    write_dicom_series(tmp_path, voxels, affine)
    (tmp_path / "notes.txt").write_text("FLAIR")
    (tmp_path / ".DS_Store").write_bytes(b"\0" * 50)
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 50)
    (tmp_path / "report.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\2\0\2\0UI\x1e\x001.2.840.10008.5.1.4.1.1.88.11\0")
    image = read_image(tmp_path)
    assert np.array_equal(image.voxels, voxels)
    assert image.warnings == ("DICOM files in the folder that hold no image were left out: report.dcm.",)


def write_multi_frame(path, voxels, affine):
    image = Image(voxels, affine).to_sitk()
    image.SetMetaData("0008|0060", "MR")
    sitk.WriteImage(image, str(path))


def test_a_multi_frame_dicom_file_is_a_volume(tmp_path, voxels):
    affine = oriented_affine((0, 1, 2), (-1, -1, 1), (1.0, 1.2, 4.0), SHAPE)
    write_multi_frame(tmp_path / "enhanced.dcm", voxels, affine)
    for path in (tmp_path / "enhanced.dcm", tmp_path):
        image = read_image(path)
        assert np.array_equal(image.voxels, voxels)
        assert np.allclose(image.affine, affine, atol=1e-6)
        assert image.modality == "MR"


FRAME_ORDERS = {"from above": [8, 7, 6, 5, 4, 3, 2, 1, 0], "interleaved": [0, 2, 4, 6, 8, 1, 3, 5, 7]}


@pytest.mark.parametrize("stored", FRAME_ORDERS.values(), ids=FRAME_ORDERS.keys())
def test_frames_stored_in_another_order_are_put_where_they_belong(tmp_path, voxels, stored):
    affine = oriented_affine((0, 1, 2), (-1, -1, 1), (1.0, 1.2, 4.0), SHAPE, centre_mm=(0, 0, 36))
    write_multi_frame(tmp_path / "a.dcm", voxels[:, :, stored], affine)
    content = (tmp_path / "a.dcm").read_bytes()
    heights = [f"\\{20 + 4 * k}".encode() for k in range(9)]  # 36 - 4 * 4 = 20 mm is the lowest
    marks = [f"\\{letter}_".encode() for letter in "abcdefghi"]
    assert all(content.count(height) == 1 for height in heights)
    for height, mark in zip(heights, marks, strict=True):
        content = content.replace(height, mark)
    for frame, mark in zip(stored, marks, strict=True):
        content = content.replace(mark, heights[frame])
    (tmp_path / "a.dcm").write_bytes(content)
    image = read_image(tmp_path / "a.dcm")
    x, y, z = world(SHAPE, image.affine)
    for k in range(9):
        assert np.array_equal(image.voxels[:, :, np.isclose(z[0, 0], 20 + 4 * k)][..., 0], voxels[:, :, k])
    assert np.allclose([x[0, 0, 0], y[0, 0, 0]], affine[:2, 3])


def test_nothing_of_itk_reaches_the_terminal(tmp_path, voxels, affine, capfd):
    write_dicom_series(tmp_path / "series", voxels, affine, skip=(4,))
    (tmp_path / "a.nrrd").write_text("NRRD0004\ntype: short\n")
    for path in (tmp_path / "series", tmp_path / "a.nrrd"):
        with pytest.raises(InputError):
            read_image(path)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_bool_is_written_as_uint8_and_types_are_kept(tmp_path, affine):
    mask = np.zeros(SHAPE, bool)
    mask[3, 4, 5] = True
    for name in ("mask.nii.gz", "mask.nrrd"):
        write_image(Image(mask, affine), tmp_path / name)
        read = read_image(tmp_path / name).voxels
        assert read.dtype == np.uint8
        assert np.argwhere(read).tolist() == [[3, 4, 5]]
    write_image(Image(np.float32(mask), affine), tmp_path / "p.nii.gz")
    assert read_image(tmp_path / "p.nii.gz").voxels.dtype == np.float32


def test_the_affine_survives_reading_and_writing_to_the_last_bit(tmp_path, voxels, affine):
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "a.nii")
    first = read_image(tmp_path / "a.nii")
    write_image(first, tmp_path / "b.nii")
    assert np.array_equal(read_image(tmp_path / "b.nii").affine, first.affine)
    assert np.abs(itk_affine(tmp_path / "b.nii") - first.affine).max() < 1e-5


def test_half_turns_have_a_quaternion_too(tmp_path, voxels):
    for signs in ((1, 1, 1), (-1, -1, 1), (-1, 1, -1), (1, -1, -1), (-1, -1, -1)):
        affine = oriented_affine((0, 1, 2), signs, (1, 2, 3), SHAPE)
        write_image(Image(voxels, affine), tmp_path / "a.nii")
        assert np.abs(nibabel.load(tmp_path / "a.nii").get_qform() - affine).max() < 1e-6


def test_the_same_image_is_written_as_the_same_bytes(tmp_path, voxels, affine):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_image(Image(voxels, affine), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, voxels, affine, monkeypatch):
    write_image(Image(voxels, affine), tmp_path / "a.nii.gz")
    before = (tmp_path / "a.nii.gz").read_bytes()

    def disk_is_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", disk_is_full)
    with pytest.raises(InputError, match="No space left on device"):
        write_image(Image(voxels + 1, affine), tmp_path / "a.nii.gz")
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]
    assert (tmp_path / "a.nii.gz").read_bytes() == before


@pytest.mark.parametrize("place", ["absent/a.nii.gz", "file/a.nii.gz", "absent/a.nrrd"])
def test_an_unwritable_place_is_named(tmp_path, voxels, affine, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_image(Image(voxels, affine), tmp_path / place)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_unreadable_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.nii").write_bytes(b"")

    def no_permission(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", no_permission)
    with pytest.raises(InputError, match=r"a\.nii cannot be read \(Permission denied\)"):
        read_image(tmp_path / "a.nii")


def test_reading_from_several_threads_gives_every_one_its_own_image(tmp_path, affine):
    for n in range(4):
        write_image(Image(np.full(SHAPE, n, np.int16), affine), tmp_path / f"{n}.nii.gz")
    seen = {}
    threads = [
        threading.Thread(target=lambda n=n: seen.update({n: read_image(tmp_path / f"{n}.nii.gz").voxels.max()}))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {0: 0, 1: 1, 2: 2, 3: 3}


def test_an_array_of_another_shape_does_not_become_an_image_on_the_same_grid(voxels, affine):
    image = Image(voxels, affine)
    assert image.like(voxels > 3).grid.matches(image.grid)
    with pytest.raises(ValueError, match="does not lie"):
        image.like(voxels[1:])


def test_a_plain_flair_head_raises_no_doubt():
    assert check_flair(Image(*head())) == []


def test_the_same_doubts_whatever_the_orientation():
    voxels, affine = head(T2)
    turned = affine @ np.array([[0, 0, -1, 111], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    stored = voxels.transpose(2, 1, 0)[:, :, ::-1]
    assert check_flair(Image(stored, turned)) == check_flair(Image(voxels, affine)) != []


def test_small_negative_values_of_resampled_mr_are_not_ct():
    voxels, affine = head()
    ringing = voxels.astype(np.float32)
    ringing[::3][ringing[::3] < 20] = -20
    assert check_flair(Image(ringing, affine)) == []


def test_ct_is_refused_whether_padded_or_not():
    voxels, affine = head(CT, air=-1000)
    padded = np.where(voxels < -900, -1000, voxels)
    padded[:10] = -3024
    for each in (voxels, padded, padded.astype(np.float32)):
        with pytest.raises(InputError, match="Hounsfield"):
            check_flair(Image(each, affine))


def real(pattern):
    found = sorted(SHARED.glob(pattern)) if SHARED.is_dir() else []
    return found or [pytest.param(None, marks=pytest.mark.skip(reason="the shared scans are not here"))]


def of(pattern):
    return pytest.mark.parametrize("path", real(pattern), ids=lambda p: p and f"{p.parent.name}-{p.name}")


@of("*/**/*FLAIR*.nii.gz")
def test_real_flair_scans_raise_no_doubt(path):
    image = read_image(path)
    assert list(image.warnings) + check_flair(image) == []


@of("*/**/*T1*.nii.gz")
def test_real_t1_scans_are_doubted(path):
    assert any("as on T1" in doubt for doubt in check_flair(read_image(path)))


@of("*/**/T2.nii.gz")
def test_a_real_t2_scan_is_doubted(path):
    assert any("as on T2" in doubt for doubt in check_flair(read_image(path)))


@of("ct_template/*.nii.gz")
def test_a_real_stripped_ct_is_refused(path):
    with pytest.raises(InputError, match="looks like CT"):
        check_flair(read_image(path))


@of("label_maps/training_seg_0[1-3].nii.gz")
def test_real_label_maps_are_refused(path):
    with pytest.raises(InputError, match="mask or label map"):
        check_flair(read_image(path))
