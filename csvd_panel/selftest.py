"""The self test that the modules share: the walk of a reader on the sample, with the real networks."""

import math
import tempfile
from pathlib import Path

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from csvd_panel.logic import resources


class ReaderWalk(ScriptedLoadableModuleTest):
    """A module gives its logic and the name of its sample. Whatever is missing makes the test fail.

    One that runs on several scans has `runAndReview` and `reloaded` of its own.
    """

    makeLogic, sample = None, ""

    def setUp(self):
        slicer.mrmlScene.Clear(False)

    def test_run_and_review(self):
        self.runAndReview()

    def readyLogic(self):
        logic = self.makeLogic()
        assert not logic.missingPackages(), f"install {', '.join(logic.missingPackages())}"
        return logic

    @staticmethod
    def load(sample):
        return slicer.util.loadVolume(str(resources() / "SampleData" / sample))

    def runAndReview(self):
        """Returns the Result after one lesion was deleted."""
        from csvd_slicer.review import decide, progress, review_items
        from csvd_slicer.scene import update

        logic, scan = self.readyLogic(), self.load(self.sample)
        result = logic.process(scan, device="cpu", show=False)
        nodes = logic.show(result, scan)
        assert result.measurements["total_volume"].value > 1
        assert nodes.lesions.GetNumberOfRows() == len(result.lesions) > 1

        threshold = result.parameters["threshold"]
        lower = update(nodes, result.remeasure(threshold=threshold / 2))
        assert lower.measurements["total_volume"].value > result.measurements["total_volume"].value
        result = update(nodes, lower.remeasure(threshold=threshold))

        item = review_items(nodes, result)[0]
        edited = decide(nodes, result, item, "deleted")
        assert edited.mask.sum() == result.mask.sum() - len(item.voxels[0])
        assert progress(nodes, review_items(nodes, edited), edited) == (1, len(result.lesions))
        return edited

    def test_save_and_reload(self):
        edited = self.runAndReview()
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "review.mrb")
            assert slicer.util.saveScene(path)
            slicer.mrmlScene.Clear(False)
            slicer.util.loadScene(path)
            reloaded = self.reloaded()
        for name, measurement in edited.measurements.items():
            value = reloaded.measurements[name].value
            if isinstance(value, float):  # a volume's header holds its spacing to some digits
                assert math.isclose(value, measurement.value, rel_tol=1e-5), name
            else:
                assert value == measurement.value, name

    def reloaded(self):
        """The Result of the only nodes in the scene."""
        from csvd_slicer.scene import families, result_from_nodes

        (nodes,) = families(slicer.mrmlScene)
        return result_from_nodes(nodes)
