"""slicer.ScriptedLoadableModule: base classes of scripted modules, and building a module as Slicer does."""

import functools
import importlib.util
import inspect
import logging
import sys
import types
import unittest
from pathlib import Path

import slicer
from PySide6 import QtCore, QtWidgets

from . import convert, signals
from .mrml_widgets import qSlicerWidget
from .native import Native, models


class ScriptedLoadableModule:
    def __init__(self, parent):
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        for name in ("categories", "dependencies", "contributors"):
            setattr(parent, name, [])

    def resourcePath(self, filename):
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        base = slicer.app.documentationBaseUrl
        url = base + docPage if docPage else slicer.app.moduleDocumentationUrl(self.moduleName)
        return f'<p>For more information see the <a href="{url}">online documentation</a>.</p>'

    def runTest(self, msec=100, **kwargs):
        case = getattr(sys.modules[self.__module__], f"{self.moduleName}Test")()
        case.messageDelay = msec
        case.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        super().__init__()
        if parent is None:
            raise NotImplementedError("the double gives every module widget a parent, as the module panel does")
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        self.parent = parent
        self.layout = parent.layout()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename):
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self):
        pass

    def cleanup(self):
        pass

    def _onModuleAboutToBeUnloaded(self, moduleName):
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getAllParameterNodes(self):
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [n for n in nodes if n.GetAttribute("ModuleName") == self.moduleName]

    def getParameterNode(self):
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node:
                node.SetAttribute("ModuleName", self.moduleName)  # closing the scene may have removed it
        else:
            node = next(iter(self.getAllParameterNodes()), None)
        return node or slicer.mrmlScene.AddNode(self.createParameterNode())

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def delayDisplay(self, message, requestedDelay=None, msec=None):
        slicer.util.delayDisplay(message, msec or requestedDelay or 100)

    def runTest(self):
        tests = [n for n in dir(self) if n.startswith("test")]
        if not tests:
            logging.warning("No test is defined in %s", type(self).__name__)
        for name in tests:
            self.setUp()
            getattr(self, name)()
            self.tearDown()


@models
class qSlicerScriptedLoadableModule(Native, QtCore.QObject):
    widget = None

    def logic(self):
        return None

    def widgetRepresentation(self):
        self.widget = self.widget or self.createNewWidgetRepresentation()
        return self.widget

    def createNewWidgetRepresentation(self):
        """The Qt widget of the panel: its Python half is built, set up, and then given the scene."""
        widget = qSlicerScriptedLoadableModuleWidget()
        widget.module_object = self
        QtWidgets.QVBoxLayout(widget)
        name = self._values["name"]
        python_class = getattr(sys.modules[name], f"{name}Widget")
        widget.python = python_class(convert.wrap(widget))
        setattr(slicer.modules, f"{name}Widget", widget.python)
        widget.python.setup()
        widget.setMRMLScene(slicer.mrmlScene)
        return widget


@models
class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    python = module_object = None
    entered = False

    def self(self):
        return self.python

    def module(self):
        return self.module_object

    def get_isEntered(self):
        return self.entered

    def get_moduleName(self):
        return self.python.moduleName

    def enter(self):
        self.entered = True
        getattr(self.python, "enter", lambda: None)()

    def exit(self):
        self.entered = False
        getattr(self.python, "exit", lambda: None)()

    def setEditedNode(self, node, role="", context=""):
        return bool(getattr(self.python, "setEditedNode", lambda *_: False)(node, role, context))

    def nodeEditable(self, node):
        return float(getattr(self.python, "nodeEditable", lambda _: 0.0)(node))


def load(path):
    """Import a scripted module's file and register the module as slicer.modules.<name>; returns the module object."""
    path = Path(path).resolve()
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    native = qSlicerScriptedLoadableModule()
    native._values.update(name=name, path=str(path))
    module = convert.wrap(native)
    native.python = getattr(sys.modules[name], name)(module)
    setattr(slicer.modules, name.lower(), module)
    slicer.modules.names.append(name)
    return module


def unload(module):
    """As Slicer at exit: the panel is left and cleaned up, and its widgets die."""
    native, name = module._native, module.name
    if native.widget is not None and native.widget.entered:
        native.widget.exit()
    manager = slicer.app._native.moduleManager()
    signals.emit(manager, "moduleAboutToBeUnloaded(QString)", name)
    if native.widget is not None:
        native.widget.deleteLater()
        native.widget.python, native.widget = None, None
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
    slicer.modules.names.remove(name)
    for attribute in (name.lower(), f"{name}Widget"):
        vars(slicer.modules).pop(attribute, None)
    sys.modules.pop(name, None)


pip_calls = []  # (function, its arguments by name), for tests


def _recorded(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        pip_calls.append((function.__name__, inspect.signature(function).bind(*args, **kwargs).arguments))
        return function(*args, **kwargs)

    return call


@_recorded
def pip_check(req):
    return True


@_recorded
def pip_ensure(requirements, constraints=None, skip_packages=None, prompt_install=True, prompt_restart=True,
               requester=None, skip_in_testing=True, show_progress=True):  # fmt: skip
    return []


@_recorded
def pip_install(requirements, constraints=None, no_deps_requirements=None, skip_packages=None, blocking=True,
                show_progress=True, requester=None, logCallback=None, completedCallback=None):  # fmt: skip
    return []


def modules():
    """{import name: module} of slicer.ScriptedLoadableModule, slicer.i18n and slicer.packaging."""
    scripted, i18n, packaging = (
        types.ModuleType(f"slicer.{n}") for n in ("ScriptedLoadableModule", "i18n", "packaging")
    )
    for base in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(scripted, base.__name__, base)
    scripted.__all__ = [n for n in vars(scripted) if n.startswith("Scripted")]
    i18n.tr = lambda text: text
    i18n.translate = lambda context, text: text
    i18n.getContext = lambda sourceFile: Path(sourceFile).stem
    vars(packaging).update(pip_check=pip_check, pip_ensure=pip_ensure, pip_install=pip_install, calls=pip_calls)
    return {m.__name__: m for m in (scripted, i18n, packaging)}
