"""Pop-ups do not pop up: they are recorded, and the test answers those that ask.

    dialogs.answer("confirmYesNoDisplay", True)   before the panel asks
    dialogs.texts("errorDisplay")                 what was said

A question without an answer raises, since in Slicer the panel would wait for the user.
"""

import functools
import inspect

from . import members, objects

TELLING = ("infoDisplay", "warningDisplay", "errorDisplay", "delayDisplay", "messageBox", "showStatusMessage")
ASKING = ("confirmOkCancelDisplay", "confirmYesNoDisplay", "confirmRetryCloseDisplay")
OF_QT = {
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


def _reply(function, arguments):
    shown.append((function, arguments))
    if _answers.get(function):
        return _answers[function].pop(0)
    if function == "messageBox":
        return objects.make("QMessageBox").Ok
    if function not in TELLING:
        raise AssertionError(f"{function}({arguments}) waits for the user: dialogs.answer({function!r}, ...) first")
    return None


def install(util):
    """Take the place of the pop-ups of slicer.util and of Qt."""
    for name in TELLING + ASKING:
        original = getattr(util, name)
        setattr(util, name, _recorder(name, original))
    for cls, names in OF_QT.items():
        table = members.INSTEAD.setdefault(cls, {})
        for name in names:
            table[name] = functools.partial(_of_qt, f"{cls}.{name}")


def _recorder(name, original):
    signature = inspect.signature(original)  # so that an argument which Slicer's function has not is refused

    @functools.wraps(original)
    def record(*args, **kwargs):
        return _reply(name, signature.bind(*args, **kwargs).arguments)

    return record


def _of_qt(name, *args):
    return _reply(name, dict(enumerate(args)))
