"""slicer.app, its managers, and slicer.modules."""

import tempfile
import types

import slicer
from PySide6 import QtCore, QtWidgets

from . import mrml
from .mrml_widgets import _SceneWidget
from .native import Native, models, values


@models
class qSlicerApplication(Native, QtWidgets.QApplication):
    defaults = values(
        majorVersion=5, minorVersion=13, platform="linux-amd64", os="linux", arch="amd64", mainApplicationName="Slicer",
        documentationBaseUrl="https://slicer.readthedocs.io/en/latest/", documentationVersion="latest",
    )  # fmt: skip

    def start(self):
        self.setApplicationName("Slicer")
        self._folder = tempfile.TemporaryDirectory(prefix="slicer-double-")
        self._values["temporaryPath"] = self._values["cachePath"] = self._folder.name
        for scope in (QtCore.QSettings.Scope.UserScope, QtCore.QSettings.Scope.SystemScope):
            QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, scope, self._folder.name)
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        self.setOrganizationName("NA-MIC")
        self.logic, self.logics = mrml.boot()
        self._modules, self._layout = qSlicerModuleManager(), None

    def applicationLogic(self):
        return self.logic

    def mrmlScene(self):
        return slicer.mrmlScene

    def moduleManager(self):
        return self._modules

    def moduleLogic(self, name):
        return self.logics.get(name)

    def layoutManager(self):
        """None as with --no-main-window, until a test asks for slice views."""
        return self._layout

    def setLayoutManager(self, manager):
        self._layout = manager

    def settings(self):
        return QtCore.QSettings()

    userSettings = revisionUserSettings = settings

    def testingEnabled(self):
        return False

    def processEvents(self):
        QtWidgets.QApplication.processEvents()

    def pauseRender(self):
        """Nothing is rendered here."""

    resumeRender = pauseRender

    def moduleDocumentationUrl(self, module):
        return f"{self.default('documentationBaseUrl', 'QString')}user_guide/modules/{module.lower()}.html"


@models
class qSlicerModuleManager(Native, QtCore.QObject):
    def module(self, name):
        return getattr(slicer.modules, name.lower(), None)

    def modulesNames(self):
        return list(slicer.modules.names)

    def factoryManager(self):
        self._factory = getattr(self, "_factory", None) or qSlicerModuleFactoryManager(self)
        return self._factory


@models
class qSlicerModuleFactoryManager(Native, QtCore.QObject):
    def loadedModuleNames(self):
        return list(slicer.modules.names)

    registeredModuleNames = instantiatedModuleNames = loadedModuleNames

    def isLoaded(self, name):
        return name in slicer.modules.names

    isRegistered = isInstantiated = isLoaded

    def loadedModule(self, name):
        return self.parent().module(name)


@models
class qSlicerLoadableModule(Native, QtCore.QObject):
    logic_object = None

    def logic(self):
        return self.logic_object


class Modules(types.SimpleNamespace):
    """slicer.modules: one attribute for every module, and the names in `names`."""

    def __getattr__(self, name):
        raise AttributeError(
            f"module '{name}' is not loaded; the double has {', '.join(self.__dict__.get('names', ()))}"
        )


def boot():
    """Start the application once: slicer.app, slicer.mrmlScene and slicer.modules of the module logics."""
    from . import convert

    application = qSlicerApplication([])
    application.start()
    slicer.app = convert.wrap(application)
    slicer.modules = Modules(names=list(mrml.LOGICS))
    for name, logic in application.logics.items():
        module = qSlicerLoadableModule(application)
        module.logic_object = logic
        module._values.update(name=name, title=name)
        setattr(slicer.modules, name.lower(), convert.wrap(module))
    application.booted = {"app": slicer.app, "mrmlScene": slicer.mrmlScene, "modules": slicer.modules}
    return application


@models
class qMRMLSliceWidget(_SceneWidget):
    slice_logic = None

    def sliceLogic(self):
        return self.slice_logic

    def mrmlSliceNode(self):
        return self.slice_logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self.slice_logic.GetSliceCompositeNode()

    def fitSliceToBackground(self):
        self.slice_logic.FitSliceToAll(256, 256)


@models
class qMRMLThreeDView(_SceneWidget):
    focal_resets = 0  # for tests

    def resetFocalPoint(self):
        self.focal_resets += 1

    def resetCamera(self, *_):
        pass

    def forceRender(self):
        pass

    scheduleRender = forceRender


@models
class qMRMLThreeDWidget(_SceneWidget):
    def threeDView(self):
        self._view = getattr(self, "_view", None) or qMRMLThreeDView(self)
        return self._view


@models
class qSlicerLayoutManager(Native, QtCore.QObject):
    """Three slice views with real slice logics and one 3D view, none of them rendered."""

    defaults = values(layout=3, threeDViewCount=1, enabled=True)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slices = {}
        for name, logic in mrml.add_slice_views(slicer.app._native.logic).items():
            self._slices[name] = widget = qMRMLSliceWidget()
            widget.slice_logic = logic
            widget._values["sliceViewName"] = name
        self._three_d = qMRMLThreeDWidget()

    def sliceViewNames(self):
        return list(self._slices)

    def sliceWidget(self, name):
        return self._slices.get(name)

    def mrmlSliceLogics(self):
        return slicer.app._native.logic.GetSliceLogics()

    def threeDWidget(self, index):
        return self._three_d if index == 0 else None

    def resetSliceViews(self):
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self):
        self._three_d.threeDView().resetFocalPoint()

    def setLayout(self, number):
        self.write("layout", number)
