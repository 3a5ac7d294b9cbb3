"""Put the double in the place of Slicer: the modules qt, ctk and slicer.*, and slicer.app with the scene."""

import functools
import os
import sys
import types

from .facts import CLASSES, NotInSlicer


def namespace(name):
    """qt or ctk: a module whose classes are built when they are first asked for."""
    from . import objects

    module = types.ModuleType(name)

    def find(attribute):
        if CLASSES.get(attribute, {}).get("ns") != name:
            raise NotInSlicer(f"{name} has no {attribute}, or api_classes.txt does not name it")
        value = objects.make(attribute)
        setattr(module, attribute, value)
        return value

    module.__getattr__ = find
    return module


@functools.cache
def boot():
    """Once for the process. Returns the native application; its `booted` says what `slicer` was given."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import slicer
    import slicer.util

    # Some of these are imported for the widgets that they model.
    from . import application, ctk_widgets, dialogs, objects, parameter_node, scripted, segment_editor, ui_files  # noqa: F401

    sys.modules["qt"], sys.modules["ctk"] = namespace("qt"), namespace("ctk")

    def find(attribute):
        if CLASSES.get(attribute, {}).get("ns") != "slicer":
            raise AttributeError(f"module 'slicer' has no attribute '{attribute}'")
        return objects.make(attribute)

    slicer.__getattr__ = find
    slicer.selfTests = {}
    native = application.boot()
    for name, module in {**scripted.modules(), "slicer.parameterNodeWrapper": parameter_node.module()}.items():
        sys.modules[name] = module
        setattr(slicer, name.partition(".")[2], module)
    dialogs.install(slicer.util)
    return native
