import enum
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
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
SAMPLE = "SyntheticFLAIR"
# Choices: edits and moves of a slider that come closer together than this are measured once.
PAUSE_MS = 50


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
        self.parent.helpText += self.getDefaultModuleDocumentationLink()
        self.parent.acknowledgementText = _(
            "The method follows Kim et al., AJNR Am J Neuroradiol 2024. The networks were trained on synthetic images "
            "only; the card of each model names its sources."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Offer the synthetic FLAIR that ships with the extension in the Sample Data module."""
    import SampleData

    folder = _resources() / "SampleData"
    flair = folder / "synthetic_flair_5mm.nii.gz"
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SmallVesselDisease",
        sampleName=SAMPLE,
        uris=flair.as_uri(),
        fileNames=flair.name,
        nodeNames="Synthetic FLAIR",
        thumbnailFileName=str(Path(__file__).parent / "Resources" / "Icons" / "WMHSegmenter.png"),
        loadFileType="VolumeFile",
    )


def _resources():
    """The folder with Models and SampleData: beside the package csvd."""
    import csvd

    return Path(csvd.__file__).resolve().parents[1] / "Resources"


class ZoneRule(enum.Enum):
    VOXEL = "voxel"
    CLUSTER = "cluster"

    def label(self):
        return {"voxel": _("Each voxel by itself"), "cluster": _("Each lesion as a whole")}[self.value]


class DisplayMode(enum.Enum):
    BOTH = "both"
    FILL = "fill"
    OUTLINE = "outline"

    def label(self):
        return {"both": _("Fill and outline"), "fill": _("Fill"), "outline": _("Outline")}[self.value]


@parameterNodeWrapper
class WMHSegmenterParameterNode:
    """What the panel holds; `model` is empty until a model was chosen."""

    flair: slicer.vtkMRMLScalarVolumeNode
    model: str = ""
    threshold: Annotated[float, WithinRange(0.05, 0.95)] = 0.5
    pvDistance: Annotated[float, WithinRange(1.0, 29.0)] = 10.0
    pvRule: ZoneRule = ZoneRule.VOXEL
    device: Annotated[str, Choice(["auto", "cpu", "cuda", "mps"])] = "auto"
    mirror: bool = False
    displayMode: DisplayMode = DisplayMode.BOTH
    opacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    showUncertainty: bool = False


class WMHSegmenterWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel. `result` and `nodes` are what it shows of the chosen FLAIR, None before a run."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.parameters = None
        self.guiTag = None
        self.nodes = None
        self.result = None
        self.refusal = ""
        self.writing = False
        self.seen = {}

    # Life cycle

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from csvd_slicer.running import Runner
        from WMHSegmenterLib.display import Display
        from WMHSegmenterLib.results import ResultsView

        widget = slicer.util.loadUI(self.resourcePath("UI/WMHSegmenter.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = WMHSegmenterLogic()
        self.results = ResultsView(self.ui)
        self.display = Display(self.ui)
        self.runner = Runner(
            self.timer(widget, lambda: self.runner.poll()), self.onDone, self.showError, self.onProgress
        )
        self.checker = Runner(self.timer(widget, lambda: self.checker.poll()), self.onChecked, self.onRefused)
        self.editTimer = self.timer(widget, self.followEdit, once=True)
        self.settingsTimer = self.timer(widget, self.followSettings, once=True)

        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.ui.installButton.connect("clicked(bool)", self.onInstall)
        self.ui.modelComboBox.connect("currentIndexChanged(int)", self.onModelChosen)
        self.ui.thresholdSlider.connect("valueChanged(double)", self.onThresholdSlider)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEnd)
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeRemoved)
        for model, card in self.logic.models().items():
            self.ui.modelComboBox.addItem(card["title"], model)
        self.ui.progressBar.visible = self.ui.logText.visible = False
        self.showMissingPackages()
        self.initializeParameterNode()

    def timer(self, parent, slot, once=False):
        timer = qt.QTimer(parent)
        timer.singleShot = once
        if once:
            timer.setInterval(PAUSE_MS)
        timer.connect("timeout()", slot)
        return timer

    def enter(self):
        self.initializeParameterNode()

    def exit(self):
        self.cancelRun()
        self.releaseParameterNode()

    def cleanup(self):
        self.cancelRun()
        self.releaseParameterNode()
        self.removeObservers()

    def onSceneStartClose(self, caller, event):
        self.cancelRun()
        self.releaseParameterNode()

    def onSceneEnd(self, caller, event):
        if self.parent.isEntered:
            self.releaseParameterNode()
            self.initializeParameterNode()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, caller, event, node):
        if self.parameters is not None and node is self.parameters.flair:
            self.cancelRun()
        if self.nodes is not None and node in (self.nodes.flair, self.nodes.segmentation, self.nodes.probability):
            self.forget()

    def initializeParameterNode(self):
        if self.parameters is not None:
            return
        self.parameters = WMHSegmenterParameterNode(self.logic.getParameterNode())
        self.seen = {}
        if self.parameters.model not in self.logic.models() and self.ui.modelComboBox.count:
            self.chooseModel(self.ui.modelComboBox.itemData(0))
        self.guiTag = self.parameters.connectGui(self.ui)
        self.addObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self.onParametersChanged()

    def releaseParameterNode(self):
        if self.parameters is None:
            return
        self.checker.cancel()
        self.removeObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self.parameters.disconnectGui(self.guiTag)
        self.parameters = None
        self.forget()

    # Parameters

    def onParametersChanged(self, caller=None, event=None):
        p = self.parameters
        now = {
            "flair": p.flair,
            "model": p.model,
            "settings": (p.threshold, p.pvDistance, p.pvRule),
            "display": (p.displayMode, p.opacity, p.showUncertainty),
        }
        before, self.seen = self.seen, now
        changed = {name for name in now if name not in before or now[name] != before[name]}
        if "model" in changed:
            self.ui.modelComboBox.setCurrentIndex(self.ui.modelComboBox.findData(p.model))
        if "settings" in changed:
            self.ui.thresholdSlider.value = p.threshold
            self.settingsTimer.start()
        if "flair" in changed:
            self.chooseFlair()
        elif "display" in changed:
            self.display.apply(p, self.nodes)
        self.updateApply()

    def onThresholdSlider(self, value):
        if self.parameters is not None and abs(value - self.parameters.threshold) > 1e-6:
            self.parameters.threshold = value

    def onModelChosen(self, index):
        if (
            self.parameters is not None
            and index >= 0
            and self.ui.modelComboBox.itemData(index) != self.parameters.model
        ):
            self.chooseModel(self.ui.modelComboBox.itemData(index))

    def chooseModel(self, model):
        """A model brings its own threshold; a result on show keeps its one."""
        self.parameters.model = model
        if self.result is None:
            self.parameters.threshold = self.logic.models()[model].get("threshold", 0.5)

    def chooseFlair(self):
        """Check the chosen volume, and show what the scene holds of it."""
        from csvd.errors import CsvdError

        from csvd_slicer.scene import find, result_from_nodes
        from csvd_slicer.volumes import image_from_node

        self.cancelRun()
        self.checker.cancel()
        self.forget()
        self.refusal, self.ui.checkLabel.text = "", ""
        self.showMessage("")
        flair = self.parameters.flair
        if flair is None:
            return
        try:
            image = image_from_node(flair)
            nodes = find(flair)
            if nodes is not None:
                self.take(nodes, result_from_nodes(nodes))
        except CsvdError as error:
            self.onRefused(str(error))
            return
        self.checker.start(lambda progress, cancelled: self.logic.check(image))

    def onChecked(self, text):
        self.ui.checkLabel.text = text

    def onRefused(self, text):
        self.refusal, self.ui.checkLabel.text = text, _("Cannot be used. {reason}").format(reason=text)
        self.updateApply()

    def updateApply(self):
        button = self.ui.applyButton
        reason = self.reasonNotToRun()
        button.enabled = self.runner.running or not reason
        if self.runner.running:
            button.text, button.toolTip = _("Cancel"), _("Stop; the scene stays as it was before the run")
        else:
            button.text = _("Apply")
            button.toolTip = reason or _("Find the white matter hyperintensities of the chosen FLAIR")

    def reasonNotToRun(self):
        if self.parameters is None:
            return _("The scene is being closed")
        if self.logic.missingPackages():
            return _("Install the missing Python packages first")
        if not self.ui.modelComboBox.count:
            return _("No model was found: install SmallVesselDisease again")
        if self.parameters.flair is None:
            return _("Choose a FLAIR volume first")
        return self.refusal

    # Packages

    def showMissingPackages(self):
        missing = self.logic.missingPackages()
        self.ui.installFrame.visible = bool(missing)
        self.ui.installLabel.text = _("To find lesions, these Python packages are needed: {names}.").format(
            names=", ".join(missing)
        )

    def onInstall(self):
        with slicer.util.tryWithErrorDisplay(_("The packages could not be installed."), waitCursor=True):
            self.showMessage(self.logic.installPackages())
        self.showMissingPackages()
        self.updateApply()

    # A run

    def onApply(self):
        from csvd.errors import CsvdError

        from csvd_slicer.scene import edited_by_reader

        if self.runner.running:
            self.cancelRun(_("Cancelled. The scene is as it was."))
            return
        p = self.parameters
        try:
            if (
                self.nodes is not None
                and edited_by_reader(self.nodes)
                and not slicer.util.confirmYesNoDisplay(
                    _(
                        "The segments of {name} were edited or reviewed. A new run replaces them, and the edits and "
                        "decisions are lost. Undo in the Edit section brings the segments back. Run again?"
                    ).format(name=p.flair.GetName())
                )
            ):
                return
            compute = self.logic.prepare(
                p.flair,
                model=p.model,
                threshold=p.threshold,
                pv_distance_mm=p.pvDistance,
                pv_rule=p.pvRule.value,
                device=p.device,
                mirror=p.mirror,
            )
        except CsvdError as error:
            self.showError(str(error))
            return
        self.settingsTimer.stop()
        self.showMessage("")
        self.ui.logText.plainText = ""
        self.ui.progressBar.value = 0
        self.ui.progressBar.visible = self.ui.logText.visible = True
        self.steps, self.started = set(), time.monotonic()
        self.runner.start(compute)
        self.updateApply()

    def onProgress(self, share, step, seconds):
        steps = {"anatomy": _("Finding brain and ventricles"), "lesions": _("Finding lesions")}
        self.ui.progressBar.value = int(100 * share)
        if step not in self.steps:
            self.steps.add(step)
            self.log(seconds, steps.get(step, step))

    def log(self, seconds, text):
        self.ui.logText.appendPlainText(f"{seconds:6.1f} s  {text}")

    def cancelRun(self, message=""):
        if self.runner.running:
            self.runner.cancel()
            self.endRun()
            self.showMessage(message)

    def endRun(self):
        self.ui.progressBar.visible = False
        self.updateApply()

    def onDone(self, result):
        from csvd.errors import CsvdError

        from csvd_slicer.scene import show

        self.endRun()
        flair = self.parameters.flair
        try:
            with self.ours():
                nodes = show(result, flair, save_state=self.saveState())
        except CsvdError as error:
            self.showError(str(error))
            return
        self.log(time.monotonic() - self.started, _("Done"))
        self.take(nodes, result)
        self.display.show(nodes)
        self.showMessage("\n".join([_("Done."), *result.warnings]))

    def showMessage(self, text):
        self.ui.messageLabel.styleSheet = ""
        self.ui.messageLabel.text = text
        self.ui.messageLabel.visible = bool(text)

    def showError(self, text):
        """One sentence in the panel; the scene was not changed."""
        self.endRun()
        self.showMessage(text)
        self.ui.messageLabel.styleSheet = "color: #c62828"

    # What is shown

    def take(self, nodes, result):
        """Show `result`, and follow its segments from now on."""
        self.forget(refresh=False)
        self.nodes, self.result = nodes, result
        segmentation = nodes.segmentation.GetSegmentation()
        for event in self.editEvents():
            self.addObserver(segmentation, event, self.onSegmentsModified)
        settings = result.parameters
        was = self.parameters.StartModify()
        self.parameters.threshold = settings["threshold"]
        self.parameters.pvDistance = settings["pv_distance_mm"]
        self.parameters.pvRule = ZoneRule(settings["pv_rule"])
        self.parameters.EndModify(was)
        self.settingsTimer.stop()
        self.refresh()

    def forget(self, refresh=True):
        """Let go of the nodes on show; they stay in the scene."""
        self.editTimer.stop()
        self.settingsTimer.stop()
        if self.nodes is not None:
            segmentation = self.nodes.segmentation.GetSegmentation()
            for event in self.editEvents():
                self.removeObserver(segmentation, event, self.onSegmentsModified)
        self.nodes = self.result = None
        if refresh:
            self.refresh()

    def refresh(self):
        self.results.write(self.result)
        for section in (self.ui.resultsCollapsible, self.ui.reviewCollapsible, self.ui.editCollapsible):
            section.enabled = self.result is not None
        self.ui.show3DButton.setSegmentationNode(self.nodes.segmentation if self.nodes else None)
        if self.parameters is not None:
            self.display.apply(self.parameters, self.nodes)

    @staticmethod
    def editEvents():
        kind = slicer.vtkSegmentation
        return kind.SourceRepresentationModified, kind.SegmentAdded, kind.SegmentRemoved

    def ours(self):
        """A context in which changes of segments are ours and not the reader's."""
        return _Flag(self, "writing")

    def saveState(self):
        return None

    def onSegmentsModified(self, caller, event):
        if not self.writing:
            self.editTimer.start()

    def followEdit(self):
        """Measure what the reader made of the segments."""
        from csvd_slicer.scene import follow_edit

        self.attempt(lambda: follow_edit(self.nodes, self.result))

    def followSettings(self):
        """Another threshold, distance or rule: segments and numbers follow, no network runs."""
        from csvd_slicer.scene import update

        if self.result is None or self.runner.running:
            return
        p, now = self.parameters, self.result.parameters
        wanted = {"threshold": p.threshold, "pv_distance_mm": p.pvDistance, "pv_rule": p.pvRule.value}
        changed = {name: value for name, value in wanted.items() if value != now[name]}
        if changed:
            self.attempt(lambda: update(self.nodes, self.result.remeasure(**changed)))

    def attempt(self, change):
        """Change the segments and show the Result that this gives, or one sentence why it cannot be."""
        from csvd.errors import CsvdError

        try:
            with self.ours():
                self.result = change()
        except CsvdError as error:
            self.showError(str(error))
            return
        self.refresh()


class _Flag:
    """Sets an attribute to True for a while."""

    def __init__(self, owner, name):
        self.owner, self.name = owner, name

    def __enter__(self):
        setattr(self.owner, self.name, True)

    def __exit__(self, *error):
        setattr(self.owner, self.name, False)


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
            from csvd_slicer.scene import show as show_result

            show_result(result, flairNode)
        return result

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

    def missingPackages(self):
        """Requirements of Python packages that a run needs and this Slicer has not."""
        return [requirement for name, requirement in PACKAGES.items() if importlib.util.find_spec(name) is None]

    def installPackages(self):
        """Install what is missing, after asking; returns a sentence for the user."""
        missing = self.missingPackages()
        torch = [requirement for requirement in missing if requirement.startswith("torch")]
        others = [requirement for requirement in missing if requirement not in torch]
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
        importlib.invalidate_caches()
        left = self.missingPackages()
        return _("Still missing: {names}.").format(names=", ".join(left)) if left else _("Everything is installed.")


class WMHSegmenterTest(ScriptedLoadableModuleTest):
    """The walk of a reader on the sample: run, threshold, edit, save. Anything missing makes it fail."""

    def setUp(self):
        slicer.mrmlScene.Clear(False)

    def test_WMHSegmenter(self):
        from csvd_slicer.scene import find

        logic = WMHSegmenterLogic()
        self.assertEqual(logic.missingPackages(), [])
        flair = slicer.util.loadVolume(str(_resources() / "SampleData" / "synthetic_flair_5mm.nii.gz"))
        result = logic.process(flair, device="cpu")
        self.assertGreater(result.measurements["total_volume"].value, 1)
        nodes = find(flair)
        self.assertEqual(nodes.lesions.GetNumberOfRows(), len(result.lesions))
