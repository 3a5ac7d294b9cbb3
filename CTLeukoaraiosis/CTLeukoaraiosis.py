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

from csvd.marker import LEUKOARAIOSIS, WMH
from csvd_panel import selftest
from csvd_panel.logic import SegmentationLogic, registerSample
from csvd_panel.module import SegmentationWidget

SAMPLE_FILE, SAMPLE_FLAIR = "synthetic_ct_5mm.nii.gz", "synthetic_ct_5mm_flair.nii.gz"
FLAIR_WORK = 0.8  # choice: share of the progress bar until the FLAIR is segmented; the rest is its registration


class CTLeukoaraiosis(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CT Leukoaraiosis")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = ["Segmentations", "SegmentEditor", "SubjectHierarchy"]
        self.parent.contributors = ["SmallVesselDisease contributors"]
        self.parent.helpText = _(
            "Outlines leukoaraiosis on a noncontrast CT of the head, splits it into periventricular and deep, measures "
            "it, says how sure the networks were, helps to review it lesion by lesion, and compares it with the white "
            "matter hyperintensities on a FLAIR of the same patient. "
            "For research and teaching. Not a medical device: nothing here may be used to diagnose or treat a patient."
        )
        self.parent.acknowledgementText = _(
            "The method follows Ryu et al., Brain Behav 2025, with the 2D network of nnU-Net, trained on synthetic "
            "images; the card of each model names its sources."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the synthetic CT that ships with the extension, and the patient's FLAIR, in the Sample Data module."""
    icon = Path(__file__).parent / "Resources" / "Icons" / "CTLeukoaraiosis.png"
    registerSample(SAMPLE_FILE, name="SyntheticCT", nodeName="Synthetic CT", icon=icon)
    registerSample(SAMPLE_FLAIR, name="SyntheticCTFLAIR", nodeName="FLAIR of the synthetic CT", icon=icon)


class CTLeukoaraiosisWidget(SegmentationWidget):
    def makeLogic(self):
        return CTLeukoaraiosisLogic()

    def makePanel(self, ui, logic, parent):
        from CTLeukoaraiosisLib.panel import CTPanel

        return CTPanel(ui, logic, parent)


class CTLeukoaraiosisLogic(SegmentationLogic):
    """For scripts, without a panel and without a pop-up. A CT, and how far it agrees with the patient's FLAIR::

    import slicer
    from CTLeukoaraiosis import CTLeukoaraiosisLogic

    logic = CTLeukoaraiosisLogic()
    ct, flair = slicer.util.loadVolume("ct.nii.gz"), slicer.util.loadVolume("flair.nii.gz")
    result = logic.process(ct)
    print(result.measurements["total_volume"].value, "mL")
    agreement = logic.compare(ct, flair)
    print(f"Dice {agreement.dice:.2f}, FLAIR {agreement.flair_ml:.1f} mL. {agreement.quality}")
    """

    marker, model, mirror = LEUKOARAIOSIS, "leukoaraiosis-nnunet", True

    def pipeline(self):
        from csvd.pipelines.ct import segment_leukoaraiosis

        return segment_leukoaraiosis

    def doubts(self, image):
        from csvd.checks_ct import check_ct

        return check_ct(image)

    def compare(self, ctNode, flairNode, *, device="auto", progress=None, cancelled=None):
        """Compare the leukoaraiosis that the scene shows of a CT with the FLAIR of the same patient, and wait for it.

        Args:
            ctNode, flairNode: vtkMRMLScalarVolumeNode; of the FLAIR, a result that the scene holds is used, edits
                included, and otherwise the networks run on it.
            device, progress, cancelled: as in `process`.

        Returns:
            csvd_slicer.comparison.Agreement: volumes, their difference and Dice.

        Raises:
            csvd.errors.CsvdError: as `process`; InputError too where the CT has no result, or the scans cannot be laid
                on each other. The scene is as it was.
        """
        from csvd.errors import InputError
        from csvd_slicer.comparison import agreement
        from csvd_slicer.scene import find, result_from_nodes

        nodes = find(ctNode, LEUKOARAIOSIS)
        if nodes is None:
            raise InputError(f"{ctNode.GetName()} has no leukoaraiosis yet: process the CT first.")
        result = result_from_nodes(nodes)
        compute = self.prepareComparison(result, flairNode, device=device)
        self.showComparison(nodes, flairNode, *compute(progress=progress, cancelled=cancelled))
        return agreement(nodes, result)

    def prepareComparison(self, result, flairNode, *, device="auto"):
        """Copy what is needed of the FLAIR; returns the rest of the work, which knows no node and may run in a thread.

        That returns the Result of the FLAIR and a `csvd.comparison.Comparison`.
        """
        from csvd_slicer.scene import find, result_from_nodes
        from csvd_slicer.volumes import image_from_node

        nodes = find(flairNode, WMH)
        known = result_from_nodes(nodes) if nodes is not None else None
        image = image_from_node(flairNode) if known is None else None

        def compute(progress=None, cancelled=None):
            from csvd.comparison import compare_with_flair
            from csvd.pipelines.wmh import segment_wmh

            def report(share, step):
                if progress is not None:
                    progress(FLAIR_WORK * share, step)

            flair = known or segment_wmh(image, device=device, progress=report, cancelled=cancelled)
            if progress is not None:
                progress(FLAIR_WORK, "registration")
            return flair, compare_with_flair(result, flair)

        return compute

    def showComparison(self, nodes, flairNode, flairResult, comparison):
        """Show the outline of the FLAIR on the CT, and the FLAIR's own result where the scene has none of it yet."""
        from csvd_slicer.comparison import show_comparison
        from csvd_slicer.scene import find

        show_comparison(nodes, comparison, flairNode)
        if find(flairNode, WMH) is None:
            self.show(flairResult, flairNode)


class CTLeukoaraiosisTest(selftest.ReaderWalk):
    makeLogic, sample = CTLeukoaraiosisLogic, SAMPLE_FILE
