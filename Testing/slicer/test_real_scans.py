"""The shipped sample, and real scans where the developers have them, through Slicer's own reader."""

from pathlib import Path

import headless
import numpy as np
import pytest
from nodes import DEEP
from scipy import ndimage
from test_reload import close
from test_segments import paint

from csvd.image import read_image
from csvd_slicer.scene import families, follow_edit, result_from_nodes, show
from csvd_slicer.segments import read_segments, write_segments
from csvd_slicer.volumes import image_from_node

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "Resources" / "SampleData" / "synthetic_ct_5mm_flair.nii.gz"
SCANS = [SAMPLE, *sorted((ROOT.parent / "shared" / "data" / "flair_longitudinal").glob("*/study1_FLAIR.nii.gz"))]


def load(scene, path):
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "FLAIR")
    assert storage.ReadData(node)
    node.SetAndObserveStorageNodeID(storage.GetID())
    return node


@pytest.mark.parametrize("path", SCANS, ids=lambda path: path.parent.name)
def test_slicers_reader_and_ours_see_the_same_head_in_the_same_place(scene, path):
    theirs, ours = image_from_node(load(scene, path)), read_image(path)
    mapping = np.linalg.inv(ours.affine) @ theirs.affine
    flipped = tuple(np.flatnonzero(np.diag(mapping)[:3] < 0))
    assert np.allclose(np.abs(np.diag(mapping)), 1, atol=1e-3)
    assert np.array_equal(theirs.voxels, np.flip(ours.voxels, flipped))
    corner = np.where([axis in flipped for axis in range(3)], np.array(ours.voxels.shape) - 1, 0)
    assert np.allclose(theirs.affine[:3, 3], (ours.affine @ [*corner, 1])[:3], atol=1e-2)
    assert theirs.source == str(path)


@pytest.mark.parametrize("path", SCANS[:3], ids=lambda path: path.parent.name)
def test_an_edited_scan_comes_back_to_the_voxel_and_to_the_number(scene, path, tmp_path):
    pytest.importorskip("torch", reason="the pipeline runs networks")
    from csvd.pipelines.wmh import segment_wmh

    flair = load(scene, path)
    result = segment_wmh(image_from_node(flair), device="cpu")
    nodes = show(result, flair)
    clusters, count = ndimage.label(result.mask, np.ones((3, 3, 3)))
    sizes = np.bincount(clusters.ravel())[1:]
    lesion = clusters == sizes.argmax() + 1
    assert (count, sizes.max()) == (
        len(result.lesions),
        round(result.lesions[0].volume_ml / result.image.voxel_volume_ml),
    )

    segments = read_segments(nodes.segmentation, flair)
    segments.labels[lesion] = 0
    write_segments(nodes.segmentation, flair, segments)
    paint(nodes.segmentation, flair, DEEP, np.s_[2:7, 2:7, 1])
    edited = follow_edit(nodes, result)

    expected = result.mask & ~lesion
    expected[2:7, 2:7, 1] = True
    assert np.array_equal(edited.mask, expected)
    assert edited.measurements["lesion_count"].value == count
    change_ml = (25 - sizes.max()) * result.image.voxel_volume_ml
    before, after = (r.measurements["total_volume"].value for r in (result, edited))
    assert after - before == pytest.approx(change_ml)

    headless.save_bundle(tmp_path / "scan.mrb")
    (again,) = families(headless.open_bundle(tmp_path / "scan.mrb"))
    assert np.array_equal(read_segments(again.segmentation, again.scan).mask, expected)
    reloaded = result_from_nodes(again)
    assert close(reloaded.measurements, edited.measurements)
    assert close(reloaded.automatic.measurements, result.measurements)
