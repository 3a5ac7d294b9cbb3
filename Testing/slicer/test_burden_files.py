"""The segmentation files of the burden open in Slicer by themselves, with one layer and with two."""

import headless
import numpy as np
import pytest
import slicer
import vtk
from nodes import add_volume

from csvd.grid import Grid
from csvd.report.segmentation import focal_segments, write_segments

SHAPE = (12, 10, 8)
AFFINE = np.diag([1.0, 1.2, 2.0, 1.0])


@pytest.mark.parametrize("markers", [("microbleed",), ("lacune", "perivascular_space")], ids=["swi", "t1"])
def test_segments_of_the_small_markers_open_with_their_names_colours_and_voxels(markers, tmp_path):
    masks = [np.zeros(SHAPE, bool) for _ in markers]
    for n, mask in enumerate(masks):
        mask[2 : 5 + n, 3:6, 1:4] = True  # the second runs into the first: each has a layer of its own
    listed = [focal_segments()[marker] for marker in markers]
    write_segments(masks, Grid(SHAPE, AFFINE), tmp_path / "burden.seg.nrrd", listed)

    scene = headless.new_scene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "burden")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "burden.seg.nrrd"))
    assert storage.ReadData(node)
    volume = add_volume(scene, np.zeros(SHAPE, np.int16), AFFINE)
    for segment, mask in zip(listed, masks, strict=True):
        read = node.GetSegmentation().GetSegment(segment["id"])
        assert read.GetName() == segment["name"]
        assert np.array(read.GetColor()) * 255 == pytest.approx(segment["color"], abs=1)
        code = vtk.reference("")
        assert read.GetTag("TerminologyEntry", code)
        assert "^".join(segment["type"]) in str(code)
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment["id"], volume)
        assert np.array_equal(found.transpose(2, 1, 0) > 0, mask)
