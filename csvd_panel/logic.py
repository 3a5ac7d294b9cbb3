"""What the logic of every module that outlines a marker shares: a run, its nodes, models, packages, sample data."""

import contextlib
import importlib.util
import json
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

# Import name: requirement. numpy, scipy and SimpleITK are Slicer's own; torch comes through the PyTorch extension.
PACKAGES = {"torch": "torch>=2.8", "safetensors": "safetensors>=0.5", "jsonschema": "jsonschema>=4.20"}


def resources():
    """The folder with Models and SampleData: beside the package csvd."""
    import csvd

    return Path(csvd.__file__).resolve().parents[1] / "Resources"


def registerSample(file, *, name, nodeName, icon):
    """Offer a scan that ships with the extension in the Sample Data module.

    Args:
        file: its name in Resources/SampleData.
        name, nodeName: of the button, and of the volume that it loads.
        icon: path of its picture.
    """
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="SmallVesselDisease",
        sampleName=name,
        uris=(resources() / "SampleData" / file).as_uri(),
        fileNames=file,
        nodeNames=nodeName,
        thumbnailFileName=str(icon),
    )


class ModelLogic(ScriptedLoadableModuleLogic):
    """What runs on a bundle of networks: which there are, and which packages they need.

    A module says the task of its bundles and the one it takes unless told otherwise, and gives the pipeline.
    """

    task, model = "", ""

    def pipeline(self):
        """The engine's function; imported only now, since it loads torch."""
        raise NotImplementedError

    def purpose(self):
        """What a run does, for the button that starts it."""
        raise NotImplementedError

    def steps(self):
        """{what the pipeline calls a step: its words in the log}."""
        return {"anatomy": _("Finding brain and ventricles"), "lesions": _("Finding lesions")}

    def warmUp(self):
        """Load torch before it is needed: that takes a second or two, in which Slicer may stand still for .3 s."""
        with contextlib.suppress(Exception):  # the run says what is wrong
            self.pipeline()

    def models(self, task=None):
        """{id: card} of the models for a task; this module's own unless told otherwise."""
        from csvd.bundle import available_models

        cards = {}
        for model, folder in available_models().items():
            try:
                card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if card.get("task") == (task or self.task):
                cards[model] = card
        return cards

    def missingPackages(self, model=None):
        """Requirements of Python packages that a run of this model needs and this Slicer has not."""
        from csvd.networks import EXTRA_PACKAGES

        cards, needed = self.models(), dict(PACKAGES)
        chosen = model or self.model
        for voter in (chosen, *cards.get(chosen, {}).get("votes_with", ())):
            needed |= EXTRA_PACKAGES.get(cards.get(voter, {}).get("network", {}).get("architecture"), {})
        return [requirement for name, requirement in needed.items() if importlib.util.find_spec(name) is None]

    def installPackages(self, model=None):
        """Install what is missing, after asking; returns a sentence for the user."""
        missing = self.missingPackages(model)
        torch = [requirement for requirement in missing if requirement.startswith("torch")]
        extras = [requirement for requirement in missing if requirement not in PACKAGES.values()]
        others = [requirement for requirement in missing if requirement not in (*torch, *extras)]
        if others:
            slicer.packaging.pip_ensure(others, requester=self.moduleName)
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
            slicer.packaging.pip_ensure(extras, requester=self.moduleName)
        importlib.invalidate_caches()
        left = self.missingPackages(model)
        return _("Still missing: {names}.").format(names=", ".join(left)) if left else _("Everything is installed.")


class SegmentationLogic(ModelLogic):
    """A run on a volume node. For scripts too: no panel, no pop-up.

    A module says what it looks for, with which model, and whether slices are read mirrored too unless told otherwise;
    and it gives the pipeline, (image, model, **settings) -> Result, and the check of the engine.
    """

    marker, mirror = None, False

    @property
    def task(self):
        return self.marker.key

    def purpose(self):
        return _("Find the {what} of the chosen {image}").format(what=self.marker.name, image=self.marker.image)

    def doubts(self, image):
        """What a reader should know of a scan before a run, in sentences; raises InputError where it cannot be used."""
        raise NotImplementedError

    def process(self, scanNode, *, progress=None, cancelled=None, show=True, **settings):
        """Segment one scan and wait for it.

        Args:
            scanNode: vtkMRMLScalarVolumeNode; parent transforms are applied.
            progress: called with (0 to 1, step); cancelled: asked between batches, True stops.
            show: put segments, maps, tables and chart into the scene, over those of an earlier run, edits included.
            settings: model, threshold, pv_distance_mm, pv_rule, device, mirror, as the module's pipeline has them.

        Returns:
            csvd.result.Result: on the scan's voxels, with masks, maps and measurements.

        Raises:
            csvd.errors.CsvdError: one sentence on what is wrong (InputError, ModelError) or Cancelled; ImportError
                where packages are missing. The scene is as it was.
        """
        result = self.prepare(scanNode, **settings)(progress=progress, cancelled=cancelled)
        if show:
            self.show(result, scanNode)
        return result

    def show(self, result, scanNode, save_state=None):
        """Put a Result into the scene, or over that of an earlier run; returns its nodes.

        Args:
            save_state: as in `csvd_slicer.scene.show`.
        """
        from csvd_slicer.review import forget_decisions
        from csvd_slicer.scene import show

        nodes = show(result, scanNode, save_state=save_state)
        forget_decisions(nodes)
        return nodes

    def prepare(self, scanNode, *, model=None, threshold=None, pv_distance_mm=10.0, pv_rule="voxel", device="auto",
                mirror=None):  # fmt: skip
        """Copy the voxels; returns the rest of the work, which knows no node and may run in a thread."""
        from csvd_slicer.volumes import image_from_node

        image = image_from_node(scanNode, slanted=self.marker.slanted)
        settings = {
            "threshold": threshold, "pv_distance_mm": pv_distance_mm, "pv_rule": pv_rule, "device": device,
            "mirror": self.mirror if mirror is None else mirror,
        }  # fmt: skip

        def compute(progress=None, cancelled=None):
            return self.pipeline()(image, model or self.model, **settings, progress=progress, cancelled=cancelled)

        return compute

    def check(self, image):
        """What a reader should know of a scan before a run; raises InputError where it cannot be used."""
        from csvd.grid import world_axes

        grid = image.grid
        axis = grid.slice_axis
        plane = (_("sagittal"), _("coronal"), _("axial"))[world_axes(grid).index(axis)]
        pixel = " x ".join(f"{mm:.2g}" for n, mm in enumerate(grid.spacing_mm) if n != axis)
        text = _("{count} {plane} slices, {spacing} mm apart, pixels of {pixel} mm.").format(
            count=grid.shape[axis], plane=plane, spacing=f"{grid.spacing_mm[axis]:.3g}", pixel=pixel
        )
        doubts = [*image.warnings, *self.doubts(image)]
        if doubts:
            return "\n".join([text, *doubts])
        return text + " " + _("It looks like a {image} of a head.").format(image=self.marker.image)
