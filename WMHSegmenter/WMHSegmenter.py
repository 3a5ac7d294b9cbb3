import contextlib
import importlib.util
import json
import sys
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

# In an installed extension csvd and csvd_slicer lie beside this file; in a source checkout, one folder above.
if importlib.util.find_spec("csvd_slicer") is None:
    sys.path.append(str(Path(__file__).resolve().parents[1]))

MODEL = "wmh-seunet"
# Import name: requirement. numpy, scipy and SimpleITK are Slicer's own; torch comes through the PyTorch extension.
PACKAGES = {"torch": "torch>=2.8", "safetensors": "safetensors>=0.5", "jsonschema": "jsonschema>=4.20"}
SAMPLE_FILE = "synthetic_flair_5mm.nii.gz"


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
    import SampleData

    flair = _resources() / "SampleData" / SAMPLE_FILE
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SmallVesselDisease",
        sampleName="SyntheticFLAIR",
        uris=flair.as_uri(),
        fileNames=flair.name,
        nodeNames="Synthetic FLAIR",
        thumbnailFileName=str(Path(__file__).parent / "Resources" / "Icons" / "WMHSegmenter.png"),
    )


def _resources():
    """The folder with Models and SampleData: beside the package csvd."""
    import csvd

    return Path(csvd.__file__).resolve().parents[1] / "Resources"


class WMHSegmenterWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Mounts the panel and tells it when the module or the scene comes and goes."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from WMHSegmenterLib.panel import Panel

        widget = slicer.util.loadUI(self.resourcePath("UI/WMHSegmenter.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = WMHSegmenterLogic()
        self.panel = Panel(self.ui, self.logic, widget)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStart)
        self.addObserver(scene, scene.StartImportEvent, self.onSceneStart)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEnd)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeRemoved)
        self.panel.open()

    def enter(self):
        self.panel.open()

    def exit(self):
        self.panel.close(_("The run was cancelled when the module was left. The scene is as it was."))

    def cleanup(self):
        if self.panel is not None:
            self.panel.close("")
        self.removeObservers()

    def onSceneStart(self, caller, event):
        self.panel.close(_("The run was cancelled, since the scene was closed or another one loaded."))

    def onSceneEnd(self, caller, event):
        if self.parent.isEntered:
            self.panel.open()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, caller, event, node):
        self.panel.on_node_removed(node)


class WMHSegmenterLogic(ScriptedLoadableModuleLogic):
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

    def process(self, flairNode, *, progress=None, cancelled=None, show=True, **settings):
        """Segment one FLAIR and wait for it.

        Args:
            flairNode: vtkMRMLScalarVolumeNode; parent transforms are applied.
            progress: called with (0 to 1, step); cancelled: asked between batches, True stops.
            show: put segments, maps, tables and chart into the scene, over those of an earlier run, edits included.
            settings: model, threshold, pv_distance_mm, pv_rule, device, mirror, as `csvd.pipelines.wmh.segment_wmh`.

        Returns:
            csvd.result.Result: on the FLAIR's voxels, with masks, maps and measurements.

        Raises:
            csvd.errors.CsvdError: one sentence on what is wrong (InputError, ModelError) or Cancelled; ImportError
                where packages are missing. The scene is as it was.
        """
        result = self.prepare(flairNode, **settings)(progress=progress, cancelled=cancelled)
        if show:
            self.show(result, flairNode)
        return result

    def show(self, result, flairNode, save_state=None):
        """Put a Result into the scene, or over that of an earlier run; returns its nodes.

        Args:
            save_state: as in `csvd_slicer.scene.show`.
        """
        from csvd_slicer.review import forget_decisions
        from csvd_slicer.scene import show

        nodes = show(result, flairNode, save_state=save_state)
        forget_decisions(nodes)
        return nodes

    def prepare(self, flairNode, *, model=MODEL, threshold=None, pv_distance_mm=10.0, pv_rule="voxel", device="auto",
                mirror=False):  # fmt: skip
        """Copy the voxels; returns the rest of the work, which knows no node and may run in a thread."""
        from csvd_slicer.volumes import image_from_node

        image = image_from_node(flairNode)
        settings = {
            "threshold": threshold, "pv_distance_mm": pv_distance_mm, "pv_rule": pv_rule, "device": device,
            "mirror": mirror,
        }  # fmt: skip

        def compute(progress=None, cancelled=None):
            from csvd.pipelines.wmh import segment_wmh

            return segment_wmh(image, model, **settings, progress=progress, cancelled=cancelled)

        return compute

    def check(self, image):
        """What a reader should know of a scan before a run; raises InputError where it cannot be used."""
        from csvd.checks import check_flair
        from csvd.grid import world_axes

        grid = image.grid
        axis = grid.slice_axis
        plane = (_("sagittal"), _("coronal"), _("axial"))[world_axes(grid).index(axis)]
        pixel = " x ".join(f"{mm:.2g}" for n, mm in enumerate(grid.spacing_mm) if n != axis)
        text = _("{count} {plane} slices, {spacing} mm apart, pixels of {pixel} mm.").format(
            count=grid.shape[axis], plane=plane, spacing=f"{grid.spacing_mm[axis]:.3g}", pixel=pixel
        )
        doubts = [*image.warnings, *check_flair(image)]
        return "\n".join([text, *doubts]) if doubts else text + " " + _("It looks like a FLAIR of a head.")

    def warmUp(self):
        """Load torch before it is needed: that takes a second or two, in which Slicer may stand still for .3 s."""
        with contextlib.suppress(Exception):  # the run says what is wrong
            import csvd.pipelines.wmh  # noqa: F401

    def models(self):
        """{id: card} of the models that find white matter hyperintensities."""
        from csvd.bundle import available_models

        cards = {}
        for model, folder in available_models().items():
            try:
                card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if card.get("task") == "wmh":
                cards[model] = card
        return cards

    def missingPackages(self, model=MODEL):
        """Requirements of Python packages that a run of this model needs and this Slicer has not."""
        from csvd.networks import EXTRA_PACKAGES

        card = self.models().get(model, {})
        needed = PACKAGES | EXTRA_PACKAGES.get(card.get("network", {}).get("architecture"), {})
        return [requirement for name, requirement in needed.items() if importlib.util.find_spec(name) is None]

    def installPackages(self, model=MODEL):
        """Install what is missing, after asking; returns a sentence for the user."""
        missing = self.missingPackages(model)
        torch = [requirement for requirement in missing if requirement.startswith("torch")]
        extras = [requirement for requirement in missing if requirement not in PACKAGES.values()]
        others = [requirement for requirement in missing if requirement not in (*torch, *extras)]
        if others:
            slicer.packaging.pip_ensure(others, requester="WMHSegmenter")
        if torch:
            try:
                import PyTorchUtils
            except ImportError:
                return _(
                    "PyTorch comes through the extension PyTorch: install it in the Extensions Manager, restart "
                    "Slicer, and press Install again."
                )
            PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=True, torchVersionRequirement=torch[0].removeprefix("torch")
            )
        if extras:  # after torch, since MONAI would bring another build of it
            slicer.packaging.pip_ensure(extras, requester="WMHSegmenter")
        importlib.invalidate_caches()
        left = self.missingPackages(model)
        return _("Still missing: {names}.").format(names=", ".join(left)) if left else _("Everything is installed.")


class WMHSegmenterTest(ScriptedLoadableModuleTest):
    """The walk of a reader on the sample, with the real networks. Whatever is missing makes it fail."""

    def setUp(self):
        slicer.mrmlScene.Clear(False)

    def test_run_and_review(self):
        self.runAndReview()

    def runAndReview(self):
        """Returns the Result after one lesion was deleted."""
        from csvd_slicer.review import decide, progress, review_items
        from csvd_slicer.scene import update

        logic = WMHSegmenterLogic()
        assert not logic.missingPackages(), f"install {', '.join(logic.missingPackages())}"
        flair = slicer.util.loadVolume(str(_resources() / "SampleData" / SAMPLE_FILE))
        result = logic.process(flair, device="cpu", show=False)
        nodes = logic.show(result, flair)
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
        import tempfile

        from csvd_slicer.scene import families, result_from_nodes

        edited = self.runAndReview()
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "review.mrb")
            assert slicer.util.saveScene(path)
            slicer.mrmlScene.Clear(False)
            slicer.util.loadScene(path)
            (nodes,) = families(slicer.mrmlScene)
            reloaded = result_from_nodes(nodes)
        for name, measurement in edited.measurements.items():
            assert reloaded.measurements[name].value == measurement.value, name
