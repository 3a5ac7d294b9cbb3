import base64
import csv
import gzip
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import OBLIQUE, ORIENTATIONS, oriented_affine, world
from PIL import Image as Picture
from scipy import ndimage

from csvd.image import Grid, Image
from csvd.marker import LEUKOARAIOSIS
from csvd.measure import Measurement
from csvd.measure.lesions import Lesion
from csvd.report.elements import amount, position
from csvd.report.figures import AxialStack, choose_slices, color_map, outline_tiles, slices_to_show, uncertainty_tiles
from csvd.report.html import render
from csvd.report.scale import volume_scale
from csvd.report.segmentation import segments, write_segmentation
from csvd.report.tables import measurements_json, write_json, write_lesions, write_measurements
from csvd.result import Result

VOID = {"meta", "img", "br"}
NAMES = ["Periventricular WMH", "Deep WMH", "Ventricles"]
LESION = "SCT^49755003^Morphologically Altered Structure~SCT^52988006^Lesion~^^"
REGION = "Anatomic codes - DICOM master list~SCT^68523003^Cerebral White Matter~^^"


def read_tsv(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, dialect="excel-tab"))


def small_result(lesions=40, source="flair.nii.gz", **more):
    """Single-voxel lesions in a row of columns, .5 mL of brain to a slice, one ventricle voxel."""
    shape = (100, 30, 5)
    affine = oriented_affine((0, 1, 2), (1, 1, 1), (1.0, 1.0, 5.0), shape)
    probability = np.zeros(shape, np.float32)
    probability[4 : 4 + 2 * lesions : 2, 20, 2] = 0.95
    ventricles, brain = np.zeros(shape, bool), np.zeros(shape, bool)
    ventricles[50, 8, 2] = brain[2:98, 2:28, :] = True
    voxels = np.random.default_rng(0).integers(0, 200, shape).astype(np.int16)
    return Result.from_probability(Image(voxels, affine, source, "cd" * 32), probability, ventricles, brain, **more)


# Tables


def test_measurements_are_one_a_line_with_title_unit_and_source(tmp_path):
    measurements = {
        "total_volume": Measurement("total_volume", "Total\tvolume", 1 / 3, "mL", 'Kim, "AJNR"\n2024'),
        "deep_volume": Measurement("deep_volume", "Deep", None, "mL", ""),
        "lesion_count": Measurement("lesion_count", "Lesions", np.int64(7), "", "count"),
    }
    write_measurements(measurements, tmp_path / "m.tsv")
    rows = read_tsv(tmp_path / "m.tsv")
    assert [row["value"] for row in rows] == ["0.333333", "", "7"]
    assert rows[0]["title"] == "Total\tvolume"
    assert rows[0]["source"] == 'Kim, "AJNR"\n2024'
    assert list(rows[0]) == ["name", "title", "value", "unit", "source"]


def test_measurements_json_holds_names_with_value_unit_title_and_source_only(tmp_path):
    measurements = {
        "x": Measurement("x", "Width", np.float32(2.5), "mm", "s"),
        "y": Measurement("y", "Y", None, "", ""),
    }
    write_json(measurements_json(measurements), tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text()) == {
        "x": {"value": 2.5, "unit": "mm", "title": "Width", "source": "s"},
        "y": {"value": None, "unit": "", "title": "Y", "source": ""},
    }


def test_what_is_not_a_number_is_null_in_json(tmp_path):
    write_json({"a": float("nan"), "b": np.array([1, np.inf]), "c": {"d": (True, tmp_path)}}, tmp_path / "x.json")
    written = json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail)
    assert written == {"a": None, "b": [1, None], "c": {"d": [True, str(tmp_path)]}}


def test_a_lesion_is_a_line_with_its_centre_in_three_columns(tmp_path):
    write_lesions([Lesion(1, 0.25, 7.5, (-12.0, 3.5, 40.0), "deep", 0.9, 0.1, "large")], tmp_path / "l.tsv")
    (row,) = read_tsv(tmp_path / "l.tsv")
    assert (row["centroid_mm_r"], row["centroid_mm_a"], row["centroid_mm_s"]) == ("-12.0", "3.5", "40.0")
    assert (row["id"], row["volume_ml"], row["zone"]) == ("1", "0.25", "deep")


def test_no_lesion_leaves_the_columns_of_the_table(tmp_path):
    write_lesions([], tmp_path / "l.tsv")
    assert (tmp_path / "l.tsv").read_text().startswith("id\tvolume_ml\tdiameter_mm\tcentroid_mm_r\t")
    assert read_tsv(tmp_path / "l.tsv") == []


# Slicer segments


@pytest.fixture
def segmentation(tmp_path):
    """Random labels and ventricles that overlap them, on an oblique left-handed grid, and the written file."""
    shape = (7, 9, 5)
    affine = oriented_affine((1, 0, 2), (1, 1, 1), (0.8, 0.9, 5.0), shape, OBLIQUE)
    assert np.linalg.det(affine[:3, :3]) < 0
    rng = np.random.default_rng(3)
    labels, ventricles = rng.integers(0, 3, shape).astype(np.uint8), rng.random(shape) > 0.6
    path = tmp_path / "wmh.seg.nrrd"
    write_segmentation(labels, ventricles, Grid(shape, affine), path)
    return path, labels, ventricles, affine


def read_seg_nrrd(path):
    """Header fields, key-value pairs and voxels of a NRRD file, read by the letter of the format."""
    head, _, data = path.read_bytes().partition(b"\n\n")
    lines = head.decode().splitlines()
    assert lines[0] == "NRRD0004"
    pairs = dict(line.split(":=", 1) for line in lines[1:] if ":=" in line)
    fields = dict(line.split(": ", 1) for line in lines[1:] if ":=" not in line)
    sizes = [int(n) for n in fields["sizes"].split()]
    return fields, pairs, np.frombuffer(gzip.decompress(data), np.uint8).reshape(sizes, order="F")


def test_the_segments_have_names_colours_and_dicom_codes(segmentation):
    _, pairs, _ = read_seg_nrrd(segmentation[0])
    assert [pairs[f"Segment{n}_Name"] for n in range(3)] == NAMES
    assert "Segment3_ID" not in pairs
    for n in (0, 1):
        assert LESION in pairs[f"Segment{n}_Tags"]
        assert REGION in pairs[f"Segment{n}_Tags"]
    assert "SCT^123037004^Anatomical Structure~SCT^35764002^Brain ventricle" in pairs["Segment2_Tags"]
    assert all(pairs[f"Segment{n}_Tags"].startswith("TerminologyEntry:") for n in range(3))
    colors = [tuple(float(c) for c in pairs[f"Segment{n}_Color"].split()) for n in range(3)]
    assert len(set(colors)) == 3
    assert all(0 <= channel <= 1 for color in colors for channel in color)


def test_each_segment_is_its_label_in_its_layer_and_overlap_is_kept(segmentation):
    path, labels, ventricles, _ = segmentation
    _, pairs, layers = read_seg_nrrd(path)
    wanted = [labels == 1, labels == 2, ventricles]
    for n, mask in enumerate(wanted):
        layer, label = int(pairs[f"Segment{n}_Layer"]), int(pairs[f"Segment{n}_LabelValue"])
        assert np.array_equal(layers[layer] == label, mask)
        assert pairs[f"Segment{n}_Extent"] == "0 6 0 8 0 4"
    assert (ventricles & (labels > 0)).any()


def test_the_segments_lie_where_the_flair_lies(segmentation):
    path, labels, _, affine = segmentation
    image = sitk.ReadImage(str(path))
    assert image.GetSize() == labels.shape
    for index in ((0, 0, 0), (6, 0, 0), (0, 8, 0), (0, 0, 4), (3, 5, 2)):
        ras = affine @ [*index, 1]
        assert image.TransformIndexToPhysicalPoint(index) == pytest.approx([-ras[0], -ras[1], ras[2]], abs=1e-6)
    assert np.array_equal(sitk.GetArrayFromImage(image)[..., 0].transpose(2, 1, 0), labels)


def test_slicer_itself_reads_the_segments(segmentation):
    vtk = pytest.importorskip("vtkmodules.all", reason="MRML is needed: pip install -r Testing/requirements.txt")
    slicer = pytest.importorskip("slicer", reason="MRML is needed: pip install -r Testing/requirements.txt")
    if not hasattr(slicer, "vtkMRMLSegmentationNode"):
        pytest.skip("this slicer is not 3D Slicer")
    from vtkmodules.util.numpy_support import vtk_to_numpy

    path, labels, ventricles, affine = segmentation
    scene, node = slicer.vtkMRMLScene(), slicer.vtkMRMLSegmentationNode()
    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    found = node.GetSegmentation()
    assert [found.GetNthSegment(n).GetName() for n in range(found.GetNumberOfSegments())] == NAMES
    for n, mask in enumerate((labels == 1, labels == 2, ventricles)):
        segment, tag = found.GetNthSegment(n), vtk.reference("")
        volume = segment.GetRepresentation("Binary labelmap")
        voxels = vtk_to_numpy(volume.GetPointData().GetScalars()).reshape(mask.shape, order="F")
        assert np.array_equal(voxels == segment.GetLabelValue(), mask)
        matrix = vtk.vtkMatrix4x4()
        volume.GetImageToWorldMatrix(matrix)
        assert np.allclose([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)], affine)
        assert segment.GetColor() == pytest.approx(np.array(segments()[n]["color"]) / 255, abs=1e-5)
        segment.GetTag("TerminologyEntry", tag)
        assert (LESION if n < 2 else "SCT^35764002^Brain ventricle") in str(tag)


# Pictures


def landmark_scan(axes, signs, rotation=None, spacing_mm=(2.0, 2.5, 3.0)):
    """A brain ellipsoid with a bright ball 30 mm to the right, 35 mm anterior and 20 mm superior of its centre."""
    size_mm = np.array([160.0, 200.0, 150.0])
    shape = tuple(np.ceil(size_mm[list(axes)] / spacing_mm).astype(int))
    affine = oriented_affine(axes, signs, spacing_mm, shape, rotation, centre_mm=(0, 0, 0))
    toward = np.eye(3) if rotation is None else rotation
    x, y, z = np.einsum("ba,bijk->aijk", toward, world(shape, affine))
    brain = (x / 65) ** 2 + (y / 80) ** 2 + (z / 60) ** 2 < 1
    ball = (x - 30) ** 2 + (y - 35) ** 2 + (z - 20) ** 2 < 15**2
    return Image(np.where(ball, 300, np.where(brain, 100, 0)).astype(np.int16), affine), brain, ball


def pixels(tile):
    return np.asarray(Picture.open(io.BytesIO(tile.png)).convert("RGB")).astype(int)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_right_is_left_and_anterior_is_up_in_every_orientation(axes, signs):
    image, brain, ball = landmark_scan(axes, signs)
    stack = AxialStack(image, brain)
    k = int(np.count_nonzero(stack.turn(ball), axis=(0, 1)).argmax())
    (tile,) = outline_tiles(stack, ball.astype(np.uint8), np.zeros_like(ball), [k])
    picture = pixels(tile)
    rows, columns = np.nonzero(picture.min(axis=2) > 250)
    assert columns.mean() * 0.45 - tile.size[0] * 0.45 / 2 == pytest.approx(-30, abs=2)
    assert rows.mean() * 0.45 - tile.size[1] * 0.45 / 2 == pytest.approx(-35, abs=2)
    assert tile.superior_mm == pytest.approx(20, abs=3)


def test_an_oblique_scan_is_shown_in_its_own_planes():
    image, brain, ball = landmark_scan((2, 0, 1), (-1, 1, -1), OBLIQUE)
    stack = AxialStack(image, brain)
    k = int(np.count_nonzero(stack.turn(ball), axis=(0, 1)).argmax())
    rows, columns = np.nonzero(pixels(outline_tiles(stack, ball * 0, ball & False, [k])[0]).min(axis=2) > 250)
    assert columns.mean() * 0.45 < stack.size()[0] * 0.45 / 2 - 25
    assert rows.mean() * 0.45 < stack.size()[1] * 0.45 / 2 - 30


def test_the_picture_has_the_proportions_of_the_head_and_not_of_the_voxels():
    image, brain, _ = landmark_scan((0, 1, 2), (1, 1, 1), spacing_mm=(0.8, 4.0, 6.0))
    width, height = AxialStack(image, brain).size()
    # 130 x 160 mm of brain and 10 mm around it, all to within one voxel.
    assert width * 0.45 == pytest.approx(150, abs=2)
    assert height * 0.45 == pytest.approx(180, abs=8)


def test_outlines_have_the_colours_of_their_zone_and_leave_the_lesion_visible():
    image, brain, ball = landmark_scan((0, 1, 2), (1, 1, 1))
    stack = AxialStack(image, brain)
    k = int(np.count_nonzero(stack.turn(ball), axis=(0, 1)).argmax())
    plain = pixels(outline_tiles(stack, ball * 0, ball & False, [k])[0])
    for label in (1, 2):
        picture = pixels(outline_tiles(stack, (ball * label).astype(np.uint8), ball & False, [k])[0])
        colored = np.abs(picture - segments()[label - 1]["color"]).max(axis=2) < 12
        rows, columns = np.nonzero(colored)
        assert np.ptp(rows) * 0.45 == pytest.approx(30, abs=3)
        assert np.ptp(columns) * 0.45 == pytest.approx(30, abs=3)
        middle = (
            slice(int(rows.mean()) - 15, int(rows.mean()) + 15),
            slice(int(columns.mean()) - 15, int(columns.mean()) + 15),
        )
        assert np.abs(picture[middle] - plain[middle]).max() < 3


def test_uncertainty_is_coloured_where_it_is_and_the_rest_stays_grey():
    image, brain, ball = landmark_scan((0, 1, 2), (1, 1, 1))
    stack = AxialStack(image, brain)
    k = int(np.count_nonzero(stack.turn(ball), axis=(0, 1)).argmax())
    (tile,) = uncertainty_tiles(stack, ball * 0, ball.astype(np.float32), [k])
    picture = pixels(tile)
    rows, columns = np.nonzero(np.ptp(picture, axis=2) > 40)
    assert rows.mean() * 0.45 - tile.size[1] * 0.45 / 2 == pytest.approx(-35, abs=2)
    assert columns.mean() * 0.45 - tile.size[0] * 0.45 / 2 == pytest.approx(-30, abs=2)
    assert len(rows) * 0.45**2 == pytest.approx(np.pi * 15**2, rel=0.1)


def test_slices_are_numbered_as_in_the_file():
    for sign in (1, -1):
        image, brain, ball = landmark_scan((0, 1, 2), (1, 1, sign))
        stack = AxialStack(image, brain)
        fullest = int(np.count_nonzero(ball, axis=(0, 1)).argmax())
        (tile,) = outline_tiles(stack, ball.astype(np.uint8), ball & False, [fullest if sign > 0 else 49 - fullest])
        assert (tile.number, tile.count) == (fullest + 1, 50)
        assert tile.volume_ml == pytest.approx(np.count_nonzero(ball[:, :, fullest]) * 0.015)


def test_lighter_means_less_certain():
    lightness = color_map(np.linspace(0, 1, 50)).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()


def test_half_of_the_slices_are_even_and_the_others_the_fullest():
    wmh, brain = np.zeros(60, int), np.zeros(60, int)
    brain[6:54] = 100
    wmh[30:34] = (5, 9, 9, 7)
    chosen = choose_slices(wmh, brain, 12, gap=2)
    assert len(chosen) == 12
    assert chosen == sorted(set(chosen))
    assert {10, 18, 26, 34, 42, 50} < set(chosen)
    assert 31 in chosen
    assert 32 not in chosen
    assert np.diff(chosen).max() <= 8


def test_few_slices_are_all_shown():
    assert choose_slices(np.zeros(9), np.array([0, 1, 1, 1, 1, 1, 1, 0, 0]), 12) == [1, 2, 3, 4, 5, 6]


def test_an_image_without_a_brain_still_gives_pictures():
    image, brain, _ = landmark_scan((0, 1, 2), (1, 1, 1))
    stack = AxialStack(image, brain & False)
    assert len(slices_to_show(stack, brain * 0)) == 12
    assert stack.size() == (round(160 / 0.45), round(200 / 0.45))


# HTML


class Page(HTMLParser):
    """Checks that tags nest, and collects text, pictures and whatever a browser would fetch."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.images, self.fetched = [], "", [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for name, link in attrs:
            if name in ("src", "href", "srcset", "data", "action", "poster"):
                (self.images if link.startswith("data:image/png;base64,") else self.fetched).append(link)
        assert tag != "script"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data + " "


def test_the_report_is_one_well_formed_file_that_fetches_nothing():
    text = render(small_result())
    page = Page(text)
    assert page.fetched == []
    assert "@import" not in text
    assert "url(" not in text
    assert len(page.images) == 10
    for link in page.images:
        assert Picture.open(io.BytesIO(base64.b64decode(link.split(",")[1]))).format == "PNG"


def test_the_report_tells_numbers_warnings_sources_and_where_they_come_from():
    models = [{"id": "wmh-seunet", "version": "1.2", "sha256": "ef" * 32, "statement": "Trained on synthetic images."}]
    text = Page(render(small_result(warnings=["The slices are thick."], provenance={"models": models}))).text
    assert "0.20 mL of white matter hyperintensities in 40 lesions" in text
    assert "10 smaller lesions are listed in lesions.tsv" in text
    for words in (
        "Not a medical device",
        "Trained on synthetic images.",
        "The slices are thick.",
        "cdcdcdcdcdcd…",
        "Joo et al., PLoS One 2022",
        "de Kort et al.",
        "Andere et al.",
        "wmh-seunet",
        "ef" * 32,
        "below 0.35",
    ):
        assert words in text, words


def test_no_lesion_reads_as_a_finding():
    text = Page(render(small_result(lesions=0))).text
    assert "No white matter hyperintensities were found." in text
    assert "there is no uncertainty index" in text
    assert not re.search(r"\bnan\b|\bNone\b(?!\.)", text)


def test_without_ventricles_the_zones_are_not_made_up():
    result = small_result()
    blind = result.remeasure(ventricles=np.zeros(result.labels.shape, bool))
    text = Page(render(blind)).text
    assert "periventricular and deep could not be told apart" in text
    assert blind.measurements["deep_volume"].value is None


def test_an_edit_is_told_with_the_automatic_numbers_beside():
    result = small_result()
    text = Page(render(result.remeasure(np.zeros(result.labels.shape, bool)))).text
    assert "Edited by hand" in text
    assert re.search(r"Total WMH, volume\s+0\.20\s+0\s+mL", text)
    assert "Edited by hand" not in Page(render(result)).text


def test_leukoaraiosis_on_ct_is_told_in_its_own_words():
    text = Page(render(small_result(source="ct.nii.gz", marker=LEUKOARAIOSIS))).text
    assert "Leukoaraiosis on CT" in text
    assert "0.20 mL of leukoaraiosis in 40 lesions" in text
    assert "Fazekas grade that goes with the total volume on FLAIR" in text
    assert "Burden class: <= 10 mL." in text
    assert "Ryu et al." in text
    assert not re.search("hyperintens|Andere", text)
    none = Page(render(small_result(lesions=0, marker=LEUKOARAIOSIS))).text
    assert "No leukoaraiosis was found." in none


def test_a_ct_is_drawn_in_the_brain_window():
    image, brain, ball = landmark_scan((0, 1, 2), (1, 1, 1))
    hu = Image(np.where(ball, 20, 60).astype(np.int16), image.affine)
    stack = AxialStack(hu, brain, LEUKOARAIOSIS.window)
    k = int(np.count_nonzero(stack.turn(ball), axis=(0, 1)).argmax())
    picture = pixels(outline_tiles(stack, ball * 0, ball & False, [k])[0])
    # From 0 to 80 HU: 20 is a quarter of white, 60 three quarters.
    levels, counts = np.unique(picture[..., 0], return_counts=True)
    assert sorted(levels[np.argsort(counts)[-2:]]) == pytest.approx([64, 191], abs=2)


def test_names_and_warnings_cannot_break_the_page():
    hostile = '<script>alert("x")&amp;<b>.nii.gz'
    result = small_result(
        2, "/data/Doe_Jane_1950/" + hostile, warnings=["a < b & c"], provenance={"<i>": {"k": "</table>"}}
    )
    page = Page(render(result))
    assert hostile in page.text
    assert "a < b & c" in page.text
    assert "Doe_Jane" not in page.text


def test_a_large_scan_keeps_the_report_small():
    shape = (320, 400, 30)
    affine = oriented_affine((0, 1, 2), (1, 1, 1), (0.55, 0.55, 4.5), shape)
    x, y, _ = world(shape, affine)
    brain, nothing = ((x - 3) / 68) ** 2 + ((y + 12) / 88) ** 2 < 1, np.zeros(shape, bool)
    rng = np.random.default_rng(0)
    tissue = ndimage.gaussian_filter(rng.standard_normal(shape), (3, 3, 1))
    # Noise, which no PNG can pack, at a fifth of the contrast between tissues: a poor clinical scan.
    voxels = np.where(brain, 100 + 25 * tissue / tissue.std(), 0) + 5 * rng.standard_normal(shape)
    result = Result.from_probability(Image(voxels, affine), np.zeros(shape, np.float32), nothing, brain)
    assert len(render(result).encode()) < 3e6


def test_the_ruler_marks_the_volume_between_the_cut_offs():
    marks = [float(re.search(r'd="M([\d.]+) ', volume_scale(ml))[1]) for ml in (0, 0.1, 3.4, 10, 17.1, 100, 500)]
    assert marks == sorted(marks)
    assert marks[0] == marks[1] == 10
    assert marks[3] == pytest.approx(10 + 964 * 2 / 3, abs=0.1)
    assert marks[5] == marks[6] == 974


@pytest.mark.parametrize(
    ("volume", "shown"),
    [(0, "0"), (0.003, "< 0.01"), (0.005, "0.01"), (4.114, "4.11"), (10.04, "10.0"), (None, "\N{EN DASH}")],
)
def test_volumes_are_shown_with_sensible_digits(volume, shown):
    assert amount(volume) == shown


def test_a_point_is_named_as_a_radiologist_does():
    assert position((-12.2, 30.4, -3)) == "L 12  A 30  I 3"
