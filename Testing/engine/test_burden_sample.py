"""The synthetic sample of one patient in FLAIR, T1 and SWI, and how it is written."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from csvd.checks_sequences import check_sequences
from csvd.image import Image, read_image
from csvd.measure.clusters import Clusters
from csvd.sequences import SEQUENCE_OF, SEQUENCES

SAMPLES = Path(__file__).parents[2] / "Resources" / "SampleData"
SCANS = {sequence: SAMPLES / f"synthetic_burden_{sequence}.nii.gz" for sequence in SEQUENCES}
TRUTHS = {
    marker: SAMPLES / f"synthetic_burden_{sequence}_true_{marker}.nii.gz" for marker, sequence in SEQUENCE_OF.items()
}

pytestmark = pytest.mark.skipif(not SCANS["t1"].exists(), reason="the sample is not in Resources/SampleData")


def test_the_three_scans_are_taken_without_a_doubt():
    scans = {sequence: read_image(path) for sequence, path in SCANS.items()}
    assert check_sequences(**scans) == []
    assert scans["flair"].spacing_mm[2] == pytest.approx(5)
    assert max(scans["t1"].spacing_mm) <= 1.2  # else the pipeline says that perivascular spaces are missed


@pytest.mark.parametrize("marker", TRUTHS)
def test_every_marker_is_there_on_the_voxels_of_its_scan_and_inside_the_brain(marker):
    image, truth = read_image(SCANS[SEQUENCE_OF[marker]]), read_image(TRUTHS[marker])
    assert np.allclose(image.affine, truth.affine)
    assert set(np.unique(truth.voxels)) == {0, 1}
    assert (image.voxels[truth.voxels > 0] > 0).all()
    least = {"wmh": 20, "microbleed": 8, "lacune": 4, "perivascular_space": 30}[marker]
    assert Clusters.of(truth.voxels > 0).count >= least


def test_headers_say_that_they_are_synthetic_and_all_is_small():
    for path in (*SCANS.values(), *TRUTHS.values()):
        description = gzip.decompress(path.read_bytes())[148:228]
        assert description.startswith(b"synthetic")
    assert sum(path.stat().st_size for path in SCANS.values()) < 2.4e6


def test_what_is_written_is_the_brain_with_its_fluid_in_air_of_zero(tmp_path):
    pytest.importorskip("training.heads", reason="training is not beside the tests")
    from training.burden import Sequence3D
    from training.sample_burden import LEVELS, stripped, write

    voxels = np.full((20, 20, 6), 300, np.int16)
    brain = np.zeros(voxels.shape, bool)
    brain[6:14, 6:14, 1:5] = True
    brain[9:11, 9:11] = False  # a ventricle
    scan = Sequence3D(Image(voxels, np.eye(4)), {}, {}, Image(brain, np.eye(4)))
    image = stripped(scan)
    assert image.voxels.dtype == np.uint8
    assert (image.voxels[10, 10, 2], image.voxels[3, 10, 2], image.voxels[2, 10, 2]) == (LEVELS, LEVELS, 0)
    write(image, tmp_path / "a.nii.gz", "synthetic, no patient")
    assert np.array_equal(read_image(tmp_path / "a.nii.gz").voxels, image.voxels)
