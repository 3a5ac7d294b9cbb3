"""The section of the panel that runs the networks: check, Apply and Cancel, progress, log, messages, installation."""

import time

import qt
import slicer
from slicer.i18n import tr as _

from csvd.errors import CsvdError
from csvd_slicer.running import Runner

ERROR = "color: #c62828"


class RunSection:
    """Args:
    start: () -> the computation to run, or None when the user thought better of it; may raise CsvdError.
    done: called with the Result, on the main thread; may raise CsvdError.
    reason: () -> why there is nothing to run, or "".
    model: () -> id of the chosen model, or "".
    """

    def __init__(self, ui, logic, parent, start, done, reason, model):
        self.ui, self.logic = ui, logic
        self._start, self._done, self._reason, self._model = start, done, reason, model
        self._refusal, self._steps, self._began = "", set(), 0.0
        run_timer, check_timer = qt.QTimer(parent), qt.QTimer(parent)
        self.runner = Runner(run_timer, self._on_done, self.show_error, self._on_progress)
        self.checker = Runner(check_timer, lambda nothing: None, self.refuse, self._on_checked)
        run_timer.connect("timeout()", self.runner.poll)
        check_timer.connect("timeout()", self.checker.poll)
        ui.applyButton.connect("clicked(bool)", self._on_apply)
        ui.installButton.connect("clicked(bool)", self._on_install)
        ui.progressBar.visible = ui.logText.visible = False
        self._say_of_scan("")
        self.show_message("")
        self.show_missing()

    # The scan

    def check(self, images):
        """Say in the panel what is known about a scan; in a thread, as a large one takes a second.

        Args:
            images: what `check` of the module's logic takes: an Image, or Images by sequence.
        """

        def compute(progress, cancelled):
            progress(0, self.logic.check(images))
            self.logic.warmUp()

        self.forget_check()
        self.checker.start(compute)

    def forget_check(self):
        self.checker.cancel()
        self._refusal = ""
        self._say_of_scan("")
        self.update_apply()

    def refuse(self, text):
        self._refusal = text
        self._say_of_scan(_("Cannot be used. {reason}").format(reason=text))
        self.update_apply()

    def _on_checked(self, share, text, seconds):
        self._say_of_scan(text)

    def _say_of_scan(self, text):
        self.ui.checkLabel.text = text
        self.ui.checkLabel.visible = bool(text)

    # Apply and Cancel

    def update_apply(self):
        ui, button = self.ui, self.ui.applyButton
        # What a reader edited during a run would be lost at its end.
        for section in (ui.advancedCollapsible, ui.resultsCollapsible, ui.reviewCollapsible, ui.editCollapsible):
            section.enabled = not self.runner.running
        if self.runner.running:
            button.enabled = True
            button.text, button.toolTip = _("Cancel"), _("Stop; the scene stays as it was before the run")
            return
        reason = self._reason()
        if self.logic.missingPackages(self._model()):
            reason = _("Install the missing Python packages first")
        reason = reason or self._refusal
        button.enabled = not reason
        button.text = _("Apply")
        button.toolTip = reason or self.logic.purpose()

    def cancel(self, message):
        """Stop a run, if there is one; the scene is as it was before."""
        if self.runner.running:
            self.runner.cancel()
            self._end()
            self.show_message(message)

    def _on_apply(self):
        if self.runner.running:
            self.cancel(_("Cancelled. The scene is as it was."))
            return
        try:
            compute = self._start()
        except CsvdError as error:
            self.show_error(str(error))
            return
        if compute is None:
            return
        self.show_message("")
        self.ui.logText.plainText = ""
        self.ui.progressBar.value = 0
        self.ui.progressBar.visible = self.ui.logText.visible = True
        self._steps, self._began = set(), time.monotonic()
        self._log(0, _("Checking the scan"))
        self.runner.start(compute)
        self.update_apply()

    def _on_progress(self, share, step, seconds):
        self.ui.progressBar.value = int(100 * share)
        if step not in self._steps:
            self._steps.add(step)
            self._log(seconds, self.logic.steps().get(step, step))

    def _on_done(self, result):
        self._log(time.monotonic() - self._began, _("Measured"))
        try:
            self._done(result)
        except CsvdError as error:
            self.show_error(str(error))
            return
        self._end()
        self.show_message("\n".join([_("Done."), *result.warnings]))

    def _end(self):
        self.ui.progressBar.visible = self.runner.running
        self.update_apply()

    def _log(self, seconds, text):
        self.ui.logText.appendPlainText(f"{seconds:6.1f} s  {text}")

    # Messages

    def show_message(self, text):
        self.ui.messageLabel.styleSheet = ""
        self.ui.messageLabel.text = text
        self.ui.messageLabel.visible = bool(text)

    def show_error(self, text):
        """One sentence, in red; the scene was not changed."""
        self._end()
        self.show_message(text)
        self.ui.messageLabel.styleSheet = ERROR

    # Packages

    def show_missing(self):
        """Offer to install what the chosen model needs; nothing if it is all there."""
        missing = self.logic.missingPackages(self._model())
        self.ui.installFrame.visible = bool(missing)
        self.ui.installLabel.text = _("To find lesions, these Python packages are needed: {names}.").format(
            names=", ".join(missing)
        )
        self.update_apply()

    def _on_install(self):
        with slicer.util.tryWithErrorDisplay(_("The packages could not be installed."), waitCursor=True):
            self.show_message(self.logic.installPackages(self._model()))
        self.show_missing()
