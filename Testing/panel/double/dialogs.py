"""Pop-ups do not pop up: they are recorded, and the test answers those that ask.

    dialogs.answer("confirmYesNoDisplay", True)   before the panel asks
    dialogs.texts("errorDisplay")                 what was said

A question without an answer raises, since in Slicer the panel would wait for the user.
"""

import functools
import inspect

from . import objects

TELLING = ("infoDisplay", "warningDisplay", "errorDisplay", "delayDisplay", "messageBox", "showStatusMessage")
ASKING = ("confirmOkCancelDisplay", "confirmYesNoDisplay", "confirmRetryCloseDisplay")
STATICS = {
    "QMessageBox": ("information", "warning", "critical", "question", "about"),
    "QFileDialog": ("getOpenFileName", "getOpenFileNames", "getSaveFileName", "getExistingDirectory"),
    "QInputDialog": ("getText", "getItem", "getInt", "getDouble", "getMultiLineText"),
    "QColorDialog": ("getColor",),
    "QDialog": ("exec",),
    "QMenu": ("exec",),
    "QDesktopServices": ("openUrl",),
}

shown = []  # (function, its arguments by name or position)
_answers = {}


def answer(function, *values):
    """The next calls of `function` return these values, one each."""
    _answers.setdefault(function, []).extend(values)


def texts(function):
    """First argument of every call of `function` so far."""
    return [next(iter(arguments.values()), "") for name, arguments in shown if name == function]


def clear():
    shown.clear()
    _answers.clear()


def _reply(function, arguments, otherwise=None):
    shown.append((function, arguments))
    if _answers.get(function):
        return _answers[function].pop(0)
    if otherwise is None:
        raise AssertionError(
            f"{function}({arguments}) waits for the user: call dialogs.answer({function!r}, ...) first"
        )
    return otherwise()


def install(util):
    """Take the place of the pop-ups of slicer.util and of Qt."""
    for name in TELLING + ASKING:
        original = getattr(util, name)
        setattr(util, name, _recorder(name, original, _ok if name == "messageBox" else None, name in ASKING))
    for cls, names in STATICS.items():
        table = objects.STATICS.setdefault(cls, {})
        for name in names:
            table[name] = functools.partial(_static, f"{cls}.{name}")


def _ok():
    return objects.make("QMessageBox").Ok


def _recorder(name, original, result, asks):
    signature = inspect.signature(original)  # so that an argument which Slicer's function has not is refused

    @functools.wraps(original)
    def record(*args, **kwargs):
        arguments = signature.bind(*args, **kwargs).arguments
        return _reply(name, arguments, None if asks else result or (lambda: None))

    return record


def _static(name, *args):
    return _reply(name, dict(enumerate(args)))
