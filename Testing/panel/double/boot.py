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
        if CLASSES.get(attribute, {}).get("ns") != name or attribute.startswith("__"):
            raise NotInSlicer(f"{name} has no {attribute} (or make_api.py was not asked for it)")
        value = objects.make(attribute)
        setattr(module, attribute, value)
        return value

    module.__getattr__ = find
    return module


@functools.cache
def boot():
    """Once for the process. Returns the native application; the panel sees it as slicer.app."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import slicer
    import slicer.util

    from . import application, ctk_widgets, dialogs, mrml_widgets, objects, scripted, segment_editor, ui_files  # noqa: F401

    sys.modules["qt"], sys.modules["ctk"] = namespace("qt"), namespace("ctk")

    def find(attribute):
        if CLASSES.get(attribute, {}).get("ns") != "slicer":
            raise AttributeError(f"module 'slicer' has no attribute '{attribute}'")
        return objects.make(attribute)

    slicer.__getattr__ = find
    slicer.selfTests = {}
    native = application.boot()
    from . import parameter_node

    for name, module in {**scripted.modules(), "slicer.parameterNodeWrapper": parameter_node.module()}.items():
        sys.modules[name] = module
        setattr(slicer, name.partition(".")[2], module)
    dialogs.install(slicer.util)
    return native
