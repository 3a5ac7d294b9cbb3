import importlib.util
import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

# In an installed extension the packages csvd* lie beside this file; in a source checkout, one folder above.
if importlib.util.find_spec("csvd_panel") is None:
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from csvd.marker import WMH
from csvd_panel import selftest
from csvd_panel.logic import SegmentationLogic, registerSample
from csvd_panel.module import SegmentationWidget

SAMPLE_FILE = "synthetic_ct_5mm_flair.nii.gz"


class WMHSegmenter(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("WMH Segmenter")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = ["Segmentations", "SegmentEditor", "SubjectHierarchy"]
        self.parent.contributors = ["SmallVesselDisease contributors"]
        self.parent.helpText = _(
            "Outlines white matter hyperintensities on a FLAIR volume, splits them into periventricular and deep, "
            "measures and grades them, says how sure the networks were, and helps to review them lesion by lesion. "
            "For research and teaching. Not a medical device: nothing here may be used to diagnose or treat a patient."
        )
        self.parent.acknowledgementText = _(
            "The method follows Kim et al., AJNR Am J Neuroradiol 2024. The networks were trained on synthetic images "
            "and on a few real ones without human outlines; the card of each model names its sources."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the synthetic FLAIR that ships with the extension in the Sample Data module."""
    icon = Path(__file__).parent / "Resources" / "Icons" / "WMHSegmenter.png"
    registerSample(SAMPLE_FILE, name="SyntheticFLAIR", nodeName="Synthetic FLAIR", icon=icon)


class WMHSegmenterWidget(SegmentationWidget):
    def makeLogic(self):
        return WMHSegmenterLogic()

    def makePanel(self, ui, logic, parent):
        from WMHSegmenterLib.panel import WMHPanel

        return WMHPanel(ui, logic, parent)


class WMHSegmenterLogic(SegmentationLogic):
    """For scripts, without a panel and without a pop-up. A folder of FLAIRs into one table::

    import csv, pathlib, slicer
    from WMHSegmenter import WMHSegmenterLogic

    logic = WMHSegmenterLogic()
    with open("wmh.tsv", "w", newline="") as file:
        table = None
        for path in sorted(pathlib.Path("flairs").glob("*.nii.gz")):
            flair = slicer.util.loadVolume(str(path))
            result = logic.process(flair, show=False)
            row = {"scan": path.name} | {name: m.value for name, m in result.measurements.items()}
            if table is None:
                table = csv.DictWriter(file, row, delimiter="\\t")
                table.writeheader()
            table.writerow(row)
            slicer.mrmlScene.RemoveNode(flair)
    """

    marker, model = WMH, "wmh-hybrid"

    def pipeline(self):
        from csvd.pipelines.wmh import segment_wmh

        return segment_wmh

    def doubts(self, image):
        from csvd.checks import check_flair

        return check_flair(image)


class WMHSegmenterTest(selftest.ReaderWalk):
    makeLogic, sample = WMHSegmenterLogic, SAMPLE_FILE
