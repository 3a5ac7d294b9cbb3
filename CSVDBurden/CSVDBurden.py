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

from csvd.sequences import TITLES
from csvd_panel import selftest
from csvd_panel.logic import ModelLogic, registerSample
from csvd_panel.module import SegmentationWidget

SAMPLES = {name: f"synthetic_burden_{name}.nii.gz" for name in TITLES}


class CSVDBurden(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("CSVD Burden")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = ["Segmentations", "SegmentEditor", "SubjectHierarchy", "Plots"]
        self.parent.contributors = ["SmallVesselDisease contributors"]
        self.parent.helpText = _(
            "Finds four markers of cerebral small vessel disease on FLAIR, T1 and SWI of one head: white matter "
            "hyperintensities, lacunes, perivascular spaces and microbleeds. Measures them, lists every candidate for "
            "a review, and adds up the burden scores, of which each number says its rule and source. Give one sequence "
            "or more; a marker without its sequence is missing and not zero. "
            "For research and teaching. Not a medical device: nothing here may be used to diagnose or treat a patient."
        )
        self.parent.acknowledgementText = _(
            "The method follows MO-UNet (Front Neurol 2025, 1540923), trained on synthetic images; markers are named "
            "and measured by STRIVE-2. The card of each model names its sources."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the three sequences of the synthetic patient that ships with the extension in the Sample Data module."""
    icon = Path(__file__).parent / "Resources" / "Icons" / "CSVDBurden.png"
    for name, title in TITLES.items():
        node = f"Synthetic burden {title}"
        registerSample(SAMPLES[name], name=node.title().replace(" ", ""), nodeName=node, icon=icon)


class CSVDBurdenWidget(SegmentationWidget):
    def makeLogic(self):
        return CSVDBurdenLogic()

    def makePanel(self, ui, logic, parent):
        from CSVDBurdenLib.panel import BurdenPanel

        return BurdenPanel(ui, logic, parent)


class CSVDBurdenLogic(ModelLogic):
    """For scripts, without a panel and without a pop-up. The scores of a patient, and the same without one lacune::

    import slicer
    from CSVDBurden import CSVDBurdenLogic
    from csvd_slicer.burden_nodes import find
    from csvd_slicer.burden_review import decide, review_items

    logic = CSVDBurdenLogic()
    scans = {name: slicer.util.loadVolume(f"{name}.nii.gz") for name in ("flair", "t1", "swi")}
    result = logic.process(**scans, siderosis="none")
    for name in ("svd_score", "amended_svd_score", "caa_svd_score"):
        print(result.measurements[name].title, result.measurements[name].value)
    lacunes = [item for item in review_items(result) if item.candidate.marker == "lacune"]
    if lacunes:
        result = decide(find(scans), result, lacunes[0], False)
        print("Without one lacune:", result.measurements["svd_score"].value)
    """

    task, model = "burden", "burden-mounet"

    def pipeline(self):
        from csvd.pipelines.burden import measure_burden

        return measure_burden

    def purpose(self):
        return _("Find the markers of the chosen sequences, and add up the scores")

    def steps(self):
        return super().steps() | {title: _("Reading the {name}").format(name=title) for title in TITLES.values()}

    def process(self, flair=None, t1=None, swi=None, *, progress=None, cancelled=None, show=True, **settings):
        """Measure the burden of one patient and wait for it.

        Args:
            flair, t1, swi: vtkMRMLScalarVolumeNode of one head, at least one; parent transforms are applied.
            progress: called with (0 to 1, step); cancelled: asked between batches, True stops.
            show: put segments, maps, tables and chart into the scene, over those of an earlier run, edits included.
            settings: as in `prepare`.

        Returns:
            csvd.burden_result.BurdenResult: every marker on the voxels of its own sequence, and the scores.

        Raises:
            csvd.errors.CsvdError: one sentence on what is wrong (InputError, ModelError) or Cancelled; ImportError
                where packages are missing. The scene is as it was.
        """
        given = {name: node for name, node in (("flair", flair), ("t1", t1), ("swi", swi)) if node is not None}
        result = self.prepare(given, **settings)(progress=progress, cancelled=cancelled)
        if show:
            self.show(result, given)
        return result

    def prepare(self, scans, *, model=None, reference=None, **settings):
        """Copy the voxels; returns the rest of the work, which knows no node and may run in a thread.

        Args:
            scans: the volume nodes by sequence: flair, t1, swi.
            reference: what the Z-score is measured against: a `csvd.measure.zscore.Reference`, or the file that
                `csvd.cohort.declared.declared_reference` reads; without one there is no Z-score.
            settings: wmh_model, own_decoders, thresholds, siderosis, pvs_threshold, pv_distance_mm, pv_rule, device,
                mirror, as in `csvd.pipelines.burden.measure_burden`.
        """
        from csvd.cohort.declared import declared_reference
        from csvd.measure.zscore import Reference
        from csvd_slicer.volumes import image_from_node

        images = {name: image_from_node(node) for name, node in scans.items()}
        if reference is not None and not isinstance(reference, Reference):
            reference = declared_reference(reference)

        def compute(progress=None, cancelled=None):
            return self.pipeline()(
                **images, model=model or self.model, reference=reference, **settings, progress=progress,
                cancelled=cancelled,
            )  # fmt: skip

        return compute

    def show(self, result, scans, save_states=None):
        """Put a BurdenResult into the scene, or over that of an earlier run; returns its nodes.

        Args:
            scans: as in `prepare`.
            save_states: as in `csvd_slicer.burden_scene.show`.
        """
        from csvd_slicer.burden_scene import show

        return show(result, scans, save_states=save_states)

    def check(self, images):
        """What a reader should know of the sequences before a run, by name; raises InputError where one cannot be used.

        Args:
            images: csvd.image.Image by sequence.
        """
        from csvd.checks_sequences import check_sequences

        doubts = [text for image in images.values() for text in image.warnings]
        doubts += check_sequences(**images)
        given = ", ".join(TITLES[name] for name in images)
        missing = " ".join(
            _("Without {name}, its markers are missing and scores are given as a range.").format(name=title)
            for name, title in TITLES.items()
            if name not in images
        )
        return "\n".join([" ".join(filter(None, (_("Given: {names}.").format(names=given), missing))), *doubts])


class CSVDBurdenTest(selftest.ReaderWalk):
    makeLogic = CSVDBurdenLogic

    def runAndReview(self):
        """Returns the BurdenResult after one candidate was rejected."""
        from csvd_slicer.burden_nodes import find
        from csvd_slicer.burden_review import decide, progress, review_items

        logic, scans = self.readyLogic(), {name: self.load(file) for name, file in SAMPLES.items()}
        result = logic.process(**scans, device="cpu", siderosis="none")
        nodes = find(scans)
        assert result.measurements["total_volume"].value > 1
        assert nodes.candidates.GetNumberOfRows() == len(result.candidates) > 1

        item = review_items(result)[0]
        edited = decide(nodes, result, item, False)
        count = f"{item.candidate.marker}_count"
        assert edited.measurements[count].value == result.measurements[count].value - 1
        assert progress(review_items(edited))[0] == 1
        return edited

    def reloaded(self):
        from csvd_slicer.burden_nodes import families
        from csvd_slicer.burden_scene import result_from_nodes

        (nodes,) = families(slicer.mrmlScene)
        return result_from_nodes(nodes)
