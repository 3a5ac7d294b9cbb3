"""Bad and odd input: one sentence, the right exit status, nothing left behind. Doubtful input: runs, with a warning."""

import gzip
import json
import shutil
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import CT, T1, T2, head, oriented_affine, write_dicom_series

from csvd.checks import check_flair
from csvd.cli import main
from csvd.image import Image, read_image, write_image

ROOT = Path(__file__).parents[2]
HEAD, AFFINE = head()
SMALL = (20, 24, 9)
SMALL_AFFINE = oriented_affine((0, 1, 2), (-1, -1, 1), (1.0, 1.2, 4.0), SMALL)
SMALL_VOXELS = np.random.default_rng(0).integers(0, 900, SMALL).astype(np.int16)


def nifti(folder, voxels=HEAD, affine=AFFINE, name="scan.nii.gz"):
    path = folder / name
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def patched(folder, *patches, data=None):
    """A small valid NIfTI with fields of its header overwritten: (offset, struct format, values)."""
    raw = bytearray(nifti(folder, SMALL_VOXELS, SMALL_AFFINE, "a.nii").read_bytes())
    for offset, form, *values in patches:
        struct.pack_into("<" + form, raw, offset, *values)
    path = folder / "scan.nii"
    path.write_bytes(raw if data is None else raw[:data])
    return path


def as_bytes(content, name="scan.nii.gz"):
    def build(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return build


def stored(change=lambda voxels, affine: (voxels, affine), name="scan.nii.gz"):
    return lambda folder: nifti(folder, *change(HEAD, AFFINE), name=name)


def with_spacing(*spacing_mm, shape=HEAD.shape):
    def build(folder):
        tiled = np.tile(HEAD, [-(-n // m) for n, m in zip(shape, HEAD.shape, strict=True)])[tuple(map(slice, shape))]
        return nifti(folder, tiled, oriented_affine((0, 1, 2), (1, 1, 1), spacing_mm, shape))

    return build


def with_values(values):
    def change(voxels, affine):
        voxels = voxels.astype(np.float32)
        voxels[40:43, 50, 12] = values
        return voxels, affine

    return stored(change)


def cut(share, name="scan.nii.gz"):
    def build(folder):
        write_image(Image(HEAD, AFFINE), folder / name)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])
        return folder / name

    return build


def damaged_gzip(at):
    def build(folder):
        path = nifti(folder)
        raw = bytearray(path.read_bytes())
        raw[int(len(raw) * at) if at < 1 else -at] ^= 0xFF
        path.write_bytes(raw)
        return path

    return build


def sheared(affine):
    slanted = affine.copy()
    slanted[:3, 2] += 0.1 * np.linalg.norm(slanted[:3, 2]) * slanted[:3, 1] / np.linalg.norm(slanted[:3, 1])
    return slanted


def sform_only(affine):
    def build(folder):
        image = nibabel.Nifti1Image(HEAD, None)
        image.header.set_sform(affine, 1)
        image.header.set_qform(None, 0)
        image.header.set_zooms((2, 2, 5))
        raw = bytearray(image.to_bytes())
        struct.pack_into("<12f", raw, 280, *np.asarray(affine, np.float32)[:3].ravel())
        (folder / "scan.nii").write_bytes(raw)
        return folder / "scan.nii"

    return build


def two_regions():
    labels = np.zeros_like(HEAD)
    labels[30:60, 30:80, 5:20] = np.arange(30).reshape(30, 1, 1) + 1
    return labels


def spots():
    voxels = np.random.default_rng(0).normal(0, 1, HEAD.shape).astype(np.float32)
    voxels[44:48, 50:54, 10:12] += 900
    return voxels


def nrrd(header, data=b""):
    return as_bytes(f"NRRD0004\n{header}\n\n".encode() + data, "scan.nrrd")


NRRD_SPACE = "space: left-posterior-superior\nspace directions: {}(1,0,0) (0,1.2,0) (0,0.8,4)\nspace origin: (0,0,0)"
NRRD_SHORT = "type: short\nendian: little\nencoding: raw\n"


def nrrd_colours(folder):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((9, 24, 20, 3), np.uint8), isVector=True), folder / "scan.nrrd")
    return folder / "scan.nrrd"


def nrrd_volumes(folder):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 9, 24, 20), np.int16), isVector=False), folder / "scan.nrrd")
    return folder / "scan.nrrd"


def dicom(voxels=SMALL_VOXELS, affine=SMALL_AFFINE, **options):
    def build(folder):
        write_dicom_series(folder / "dicom", voxels, affine, **options)
        return folder / "dicom"

    return build


def two_series(folder):
    write_dicom_series(folder / "dicom", SMALL_VOXELS, SMALL_AFFINE, description="T2 FLAIR")
    write_dicom_series(folder / "dicom", SMALL_VOXELS, SMALL_AFFINE, uid="1.2.3.9", description="T1 SE", first=50)
    return folder / "dicom"


def doubled(folder):
    write_dicom_series(folder / "dicom", SMALL_VOXELS, SMALL_AFFINE)
    write_dicom_series(folder / "dicom", SMALL_VOXELS, SMALL_AFFINE, first=50)
    return folder / "dicom"


def localiser(folder):
    write_dicom_series(folder / "dicom", SMALL_VOXELS, SMALL_AFFINE)
    sagittal = oriented_affine((1, 2, 0), (1, -1, 1), (1.0, 1.2, 4.0), SMALL)
    write_dicom_series(folder / "dicom", SMALL_VOXELS, sagittal, first=50)
    return folder / "dicom"


def two_sizes(folder):
    write_dicom_series(folder / "dicom", SMALL_VOXELS, SMALL_AFFINE)
    above = SMALL_AFFINE.copy()
    above[:3, 3] += 9 * above[:3, 2]
    write_dicom_series(folder / "dicom", SMALL_VOXELS[:16], above, first=50)
    return folder / "dicom"


def one_slice(folder):
    return write_dicom_series(folder / "dicom", SMALL_VOXELS, SMALL_AFFINE)[3]


def renamed_slice(folder):
    return shutil.copy(one_slice(folder), folder / "scan.nii")


def cut_slice(folder):
    path = one_slice(folder)
    path.write_bytes(path.read_bytes()[:-300])
    return path.parent


def frames(missing):
    def build(folder):
        image = Image(SMALL_VOXELS, SMALL_AFFINE).to_sitk()
        image.SetOrigin((0, 0, 20))
        image.SetMetaData("0008|0060", "MR")
        sitk.WriteImage(image, str(folder / "scan.dcm"))
        content = (folder / "scan.dcm").read_bytes()
        assert content.count(b"0\\0\\40") == 1
        (folder / "scan.dcm").write_bytes(content.replace(b"0\\0\\40", missing))
        return folder / "scan.dcm"

    return build


def below_the_folder(folder):
    write_dicom_series(folder / "study" / "flair", SMALL_VOXELS, SMALL_AFFINE)
    return folder / "study"


def folder_of(*names):
    def build(folder):
        (folder / "dicom").mkdir()
        for name in names:
            (folder / "dicom" / name).write_text("nothing to see")
        return folder / "dicom"

    return build


JPEG = bytes.fromhex("ffd8ffe000104a464946") + bytes(2000)

REFUSED = {
    "no such file": (lambda folder: folder / "absent.nii.gz", "There is no file or folder"),
    "no path at all": (lambda folder: "", "No image was given"),
    "an empty file": (as_bytes(b""), "is empty"),
    "text named .nii.gz": (as_bytes(b"patient,age\n1,70\n" * 50), "is not a NIfTI file"),
    "a JPEG named .nii.gz": (as_bytes(JPEG), "is not a NIfTI file"),
    "gzipped text": (as_bytes(gzip.compress(b"hello" * 200)), "is not a NIfTI file"),
    "a DICOM slice named .nii": (renamed_slice, "is a DICOM file, not NIfTI"),
    "a format that is not read": (as_bytes(bytes(500), "scan.mgz"), "of a kind that is not read here"),
    "a name without an ending": (as_bytes(b"hello", "scan"), "of a kind that is not read here"),
    "a picture": (as_bytes(JPEG, "scan.jpg"), "of a kind that is not read here"),
    "the header of an image pair": (lambda folder: patched(folder, (344, "4s", b"ni1\0")), "two-file image"),
    "an Analyze header": (lambda folder: patched(folder, (344, "4s", bytes(4))), "two-file image"),
    "gzip cut in half": (cut(0.5), "is cut short"),
    "gzip cut in the header": (cut(0.0005), "is cut short"),
    "gzip without its last bytes": (cut(0.99999), "is cut short"),
    "a flipped byte in gzip": (damaged_gzip(0.6), "is damaged"),
    "a wrong gzip checksum": (damaged_gzip(6), "is damaged"),
    "an uncompressed file cut short": (cut(0.7, "scan.nii"), "is cut short"),
    "a header and nothing else": (lambda folder: patched(folder, data=352), "is cut short"),
    "half a header": (lambda folder: patched(folder, data=200), "is cut short"),
    "a header that claims 27 TB": (lambda folder: patched(folder, (42, "3h", 30000, 30000, 30000)), "is cut short"),
    "nine dimensions": (lambda folder: patched(folder, (40, "h", 9)), "impossible dimensions"),
    "a dimension of zero": (lambda folder: patched(folder, (44, "h", 0)), "impossible dimensions"),
    "a time series": (lambda folder: nifti(folder, np.stack([HEAD] * 3, -1)), "holds 3 volumes"),
    "a field of vectors": (lambda folder: nifti(folder, np.zeros((9, 9, 9, 1, 3), np.float32)), "holds 3 volumes"),
    "NIfTI in colours": (lambda folder: patched(folder, (70, "2h", 128, 24)), "holds colours"),
    "complex NIfTI": (lambda folder: nifti(folder, SMALL_VOXELS.astype(np.complex64)), "holds complex numbers"),
    "a type no one knows": (lambda folder: patched(folder, (70, "2h", 77, 16)), "unsupported type (code 77)"),
    "a sheared affine": (sform_only(sheared(AFFINE)), "slanted voxels"),
    "a flat affine": (sform_only(AFFINE * [1, 1, 0, 1]), "no usable position"),
    "an affine that is not a number": (sform_only(AFFINE * [1, np.nan, 1, 1]), "no usable position"),
    "one slice": (stored(lambda v, a: (v[:, :, :1], a)), "has 1 slice;"),
    "two slices": (stored(lambda v, a: (v[:, :, :2], a)), "has 2 slices;"),
    "a plane, not a volume": (stored(lambda v, a: (v[:, :, 12], a)), "has 1 slice;"),
    "NaN voxels": (with_values(np.nan), "has 3 voxels that are not numbers"),
    "infinite voxels": (with_values(-np.inf), "has 3 voxels that are not numbers"),
    "all voxels 0": (stored(lambda v, a: (0 * v, a)), "is empty: every voxel is 0"),
    "all voxels 7": (stored(lambda v, a: (0 * v + 7, a)), "is empty: every voxel is 7"),
    "microscopic voxels": (with_spacing(0.1, 0.1, 0.3), "outside 0.2-10 mm"),
    "voxels of a centimetre and more": (with_spacing(2.0, 2.0, 12.0), "outside 0.2-10 mm"),
    "a mouse": (with_spacing(0.6, 0.6, 2.0), "In plane it covers 58 mm"),
    "a whole trunk": (with_spacing(4.5, 4.0, 5.0), "In plane it covers 432 mm"),
    "a thin slab": (with_spacing(2.0, 2.0, 4.0, shape=(96, 112, 5)), "Its slices cover 20 mm"),
    "a whole body of slices": (with_spacing(2.0, 2.0, 10.0, shape=(96, 112, 60)), "Its slices cover 600 mm"),
    "CT": (lambda folder: nifti(folder, *head(CT, air=-1000)), "looks like CT"),
    "a lesion mask": (stored(lambda v, a: ((v > 220).astype(np.uint8), a)), "is a mask or label map"),
    "a mask stored as float": (stored(lambda v, a: ((v > 220).astype(np.float32), a)), "is a mask or label map"),
    "a label map": (stored(lambda v, a: (two_regions(), a)), "is a mask or label map"),
    "noise with a spot": (stored(lambda v, a: (spots(), a)), "shows no head"),
    "NRRD cut short": (cut(0.6, "scan.nrrd"), "damaged, cut short"),
    "text named .nrrd": (as_bytes(b"hello", "scan.nrrd"), "damaged, cut short"),
    "NRRD in colours": (nrrd_colours, "holds colours"),
    "NRRD with four volumes": (nrrd_volumes, "holds 4 volumes"),
    "sheared NRRD": (
        nrrd(f"{NRRD_SHORT}dimension: 3\nsizes: 20 24 9\n{NRRD_SPACE.format('')}", SMALL_VOXELS.tobytes()),
        "slanted voxels",
    ),
    "NRRD header without its data": (
        as_bytes(f"NRRD0004\n{NRRD_SHORT}dimension: 3\nsizes: 9 9 9\ndata file: no.raw\n".encode(), "scan.nhdr"),
        "damaged, cut short",
    ),
    "an empty folder": (folder_of(), "is empty. Give the folder"),
    "a folder without DICOM": (folder_of("notes.txt"), "holds no DICOM images"),
    "a folder of folders": (below_the_folder, "Give one of the folders below it, such as flair"),
    "two series": (two_series, "2 series, not one: "),
    "a missing slice": (dicom(skip=(4,)), "8.0 mm between slices 4 and 5, 4.0 mm elsewhere"),
    "every position twice": (doubled, "several images at the same slice position"),
    "a localiser": (localiser, "slices at different angles"),
    "slices of two sizes": (two_sizes, "slices of different size"),
    "a tilted gantry": (dicom(affine=sheared(SMALL_AFFINE)), "slanted voxels"),
    "DICOM in colours": (dicom(np.zeros((*SMALL, 3), np.uint8)), "holds colours"),
    "a DICOM slice cut short": (cut_slice, "is damaged or cut short"),
    "one DICOM slice as file": (one_slice, "is one DICOM slice, not a volume"),
    "two DICOM slices": (dicom(SMALL_VOXELS[:, :, :2]), "has 2 slices;"),
    "not a DICOM file": (as_bytes(b"hello" * 99, "scan.dcm"), "damaged, cut short"),
    "multi-frame DICOM with a gap": (frames(b"0\\0\\42"), "not one evenly spaced stack"),
    "DICOM of a PET": (
        lambda folder: dicom(HEAD, AFFINE, modality="PT", tags={"0008|0016": "1.2.840.10008.5.1.4.1.1.128"})(folder),
        "of modality PT, not MR",
    ),
}


def lines(text):
    return [line for line in text.splitlines() if line.strip()]


def run_refused(argv, capfd):
    status = main([str(word) for word in argv])
    captured = capfd.readouterr()
    assert captured.out == ""
    assert len(lines(captured.err)) == 1, captured.err
    assert captured.err.startswith("csvd: ")
    return status, captured.err


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_gets_one_sentence_status_2_and_no_output(name, tmp_path, capfd):
    build, fragment = REFUSED[name]
    (tmp_path / "in").mkdir()
    path = build(tmp_path / "in")
    before = sorted(tmp_path.rglob("*"))
    status, message = run_refused(["wmh", path, "-o", tmp_path / "out"], capfd)
    assert fragment in message
    assert status == 2
    assert str(path) in message
    assert message.rstrip().endswith(".")
    assert sorted(tmp_path.rglob("*")) == before


def test_the_two_series_are_named_with_their_sizes(tmp_path, capfd):
    _, message = run_refused(["wmh", two_series(tmp_path), "-o", tmp_path / "out"], capfd)
    assert "T2 FLAIR (9 files)" in message
    assert "T1 SE (9 files)" in message


def test_results_of_an_earlier_run_stay_as_they_are(tmp_path, capfd):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "measurements.json").write_text("{}")
    status, _ = run_refused(["wmh", tmp_path / "absent.nii", "-o", tmp_path / "out"], capfd)
    assert status == 2
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["measurements.json"]
    assert json.loads((tmp_path / "out" / "measurements.json").read_text()) == {}


BAD_CALLS = {
    "no command": ([], "required: COMMAND"),
    "an unknown command": (["segment"], "invalid choice: 'segment'"),
    "no input": (["wmh"], "required: FLAIR, -o/--output"),
    "no output": (["wmh", "{flair}"], "required: -o/--output"),
    "an option that is not there": (["wmh", "{flair}", "-o", "{out}", "--fast"], "unrecognized arguments: --fast"),
    "a threshold of 0": (["wmh", "{flair}", "-o", "{out}", "--threshold", "0"], "--threshold is 0"),
    "a threshold of 1": (["wmh", "{flair}", "-o", "{out}", "--threshold", "1"], "--threshold is 1"),
    "a threshold of NaN": (["wmh", "{flair}", "-o", "{out}", "--threshold", "nan"], "--threshold is nan"),
    "a threshold in words": (["wmh", "{flair}", "-o", "{out}", "--threshold", "half"], "invalid float value: 'half'"),
    "a negative distance": (["wmh", "{flair}", "-o", "{out}", "--pv-distance", "-1"], "--pv-distance is -1"),
    "a distance of 0": (["wmh", "{flair}", "-o", "{out}", "--pv-distance", "0"], "--pv-distance is 0"),
    "an unknown rule": (["wmh", "{flair}", "-o", "{out}", "--pv-rule", "atlas"], "invalid choice: 'atlas'"),
    "half a member": (["wmh", "{flair}", "-o", "{out}", "--members", "1.5"], "invalid int value: '1.5'"),
    "a file as output": (["wmh", "{flair}", "-o", "{flair}"], "is a file; give a folder"),
    "an output below a file": (["wmh", "{flair}", "-o", "{flair}/out"], "Nothing can be written into"),
    "a T1 that is not there": (
        ["wmh", "{flair}", "-o", "{out}", "--t1", "no.nii"],
        "There is no file or folder no.nii",
    ),
    "masks that are not there": (["evaluate", "no.nii", "{flair}"], "There is no file or folder no.nii"),
    "one mask only": (["evaluate", "{flair}"], "required: TRUTH"),
    "masks on different grids": (["evaluate", "{flair}", "{shifted}"], "lie on different grids"),
}
MODEL_CALLS = {
    "no members": (["wmh", "{flair}", "-o", "{out}", "--members", "0"], "members", 2),
    "more members than there are": (["wmh", "{flair}", "-o", "{out}", "--members", "99"], "members", 2),
    "an unknown device": (["wmh", "{flair}", "-o", "{out}", "--device", "abacus"], "abacus", 2),
    "an unknown model": (["wmh", "{flair}", "-o", "{out}", "--model", "nonsense"], "There is no model 'nonsense'", 3),
}


@pytest.fixture
def filled(tmp_path):
    """Words of a call with {flair}, {shifted} and {out} put in."""
    flair = nifti(tmp_path)
    moved = AFFINE.copy()
    moved[0, 3] += 1
    shifted = nifti(tmp_path, affine=moved, name="shifted.nii.gz")
    return lambda words: [word.format(flair=flair, shifted=shifted, out=tmp_path / "out") for word in words]


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_bad_call_gets_one_sentence_and_status_2(name, filled, tmp_path, capfd):
    words, fragment = BAD_CALLS[name]
    status, message = run_refused(filled(words), capfd)
    assert fragment in message
    assert status == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not (ROOT / "Resources/Models/wmh-hybrid/model.json").exists(), reason="no model is here yet")
@pytest.mark.parametrize("name", MODEL_CALLS)
def test_a_call_that_does_not_fit_the_model_leaves_nothing(name, filled, tmp_path, capfd):
    words, fragment, expected = MODEL_CALLS[name]
    status, message = run_refused(filled(words), capfd)
    assert fragment in message
    assert status == expected
    assert not (tmp_path / "out").exists()


def both_forms(folder):
    moved = AFFINE.copy()
    moved[2, 3] += 12
    image = nibabel.Nifti1Image(HEAD, None)
    image.set_qform(AFFINE, 1)
    image.set_sform(moved, 2)
    nibabel.save(image, folder / "scan.nii.gz")
    return folder / "scan.nii.gz"


def neither_form(folder):
    image = nibabel.Nifti1Image(HEAD, None)
    image.header.set_zooms((2, 2, 5))
    image.header.set_qform(None, 0)
    image.header.set_sform(None, 0)
    nibabel.save(image, folder / "scan.nii.gz")
    return folder / "scan.nii.gz"


def unplaced_nrrd(folder):
    header = f"NRRD0004\n{NRRD_SHORT}dimension: 3\nsizes: 96 112 26\nspacings: 2 2 5\n\n"
    (folder / "scan.nrrd").write_bytes(header.encode() + HEAD.tobytes(order="F"))
    return folder / "scan.nrrd"


def faint(voxels, affine):
    return np.where(voxels > 30, 1000 + 0.2 * voxels, 0.2 * voxels).astype(np.float32), affine


DOUBTFUL = {
    "slices of 8 mm": (lambda f: nifti(f, *head(shape=(96, 112, 17), spacing_mm=(2, 2, 8))), "slices are 8.0 mm apart"),
    "ten slices": (stored(lambda v, a: (v[:, :, 8:18], a)), "has only 10 slices"),
    "a part of the head": (stored(lambda v, a: (v[:, :, 8:21], a)), "shows only 65 mm of the head"),
    "the vertex cut off": (stored(lambda v, a: (v[:, :, :18], a)), "cut off at the top"),
    "the right ear cut off": (stored(lambda v, a: (v[:70], a)), "cut off at the right"),
    "the face cut off": (stored(lambda v, a: (v[:, :85], a)), "cut off at the front"),
    "left and back cut off": (stored(lambda v, a: (v[30:, 30:], a)), "cut off at the left and back"),
    "T1 contrast": (lambda folder: nifti(folder, *head(T1)), "as on T1"),
    "T2 contrast": (lambda folder: nifti(folder, *head(T2)), "as on T2"),
    "almost no contrast": (stored(faint), "almost no contrast"),
    "slices of 10 mm that a header rounds": (
        lambda f: nifti(f, *head(shape=(96, 112, 15), spacing_mm=(2, 2, 10.0001))),
        "slices are 10.0 mm apart",
    ),
    "qform and sform 12 mm apart": (both_forms, "disagree by up to 12.0 mm: the qform is used"),
    "neither qform nor sform": (neither_form, "neither qform nor sform is set"),
    "NRRD without a space": (unplaced_nrrd, "no NRRD space"),
}
ODD = {
    "float voxels": stored(lambda v, a: (v.astype(np.float64), a)),
    "few greys, as in 8 bit": stored(lambda v, a: ((v // 4).astype(np.uint8), a)),
    "a fourth dimension of one": stored(lambda v, a: (v[..., None], a)),
    "left-handed": stored(
        lambda v, a: (v[::-1], a @ np.array([[-1, 0, 0, 95], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    ),
    "small negative values": stored(lambda v, a: (np.where(v < 20, v - 15, v), a)),
    "CT-like range below 0 is absent in MR scaled by 100": stored(lambda v, a: (v.astype(np.float32) * 100, a)),
    "a DICOM folder": dicom(HEAD, AFFINE),
    "NRRD": lambda folder: (write_image(Image(HEAD, AFFINE), folder / "a.nrrd"), folder / "a.nrrd")[1],
}


def doubts(path):
    image = read_image(path)
    return [*image.warnings, *check_flair(image)]


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_doubtful_scan_runs_with_a_warning(name, tmp_path, capfd):
    build, fragment = DOUBTFUL[name]
    told = doubts(build(tmp_path))
    assert any(fragment in doubt for doubt in told), told
    assert all(doubt.endswith(".") and "\n" not in doubt for doubt in told)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ODD)
def test_an_odd_but_sound_scan_raises_no_doubt(name, tmp_path):
    assert doubts(ODD[name](tmp_path)) == []


def test_the_sample_is_a_head():
    """A rounding error once won Otsu's comparison in it: hardly a voxel was brighter than the background."""
    assert check_flair(read_image(ROOT / "Resources" / "SampleData" / "synthetic_ct_5mm_flair.nii.gz")) == []
