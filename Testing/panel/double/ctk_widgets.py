"""CTK widgets whose behaviour a panel relies on."""

from PySide6 import QtCore, QtGui, QtWidgets

from .native import Native, models, values


class DoubleValue(Native):
    """A number between minimum and maximum that says when it changes."""

    defaults = values(minimum=0.0, maximum=99.0, value=0.0, singleStep=1.0, pageStep=10.0, tracking=True)

    def setValue(self, value):
        self.set_value(value)

    def set_value(self, value):
        before = self._number("value")
        value = float(min(max(value, self._number("minimum")), self._number("maximum")))
        self._values["value"] = value
        self.show_number()
        if value != before:
            self.emit("valueChanged(double)", value)

    def set_minimum(self, value):
        self._values.update(minimum=float(value), maximum=max(self._number("maximum"), float(value)))
        self.set_value(self._number("value"))

    def set_maximum(self, value):
        self._values.update(maximum=float(value), minimum=min(self._number("minimum"), float(value)))
        self.set_value(self._number("value"))

    def set_decimals(self, value):
        self._values["decimals"] = value
        self.show_number()
        if "decimalsChanged(int)" in self.own_signals:
            self.emit("decimalsChanged(int)", value)

    setDecimals = set_decimals

    def set_singleStep(self, value):
        self._values["singleStep"] = value
        self.show_number()

    def set_suffix(self, value):
        self._values["suffix"] = value
        self.show_number()

    def _number(self, name):
        return self._values.get(name, self.default(name, "double"))

    def show_number(self):
        """Bring what the user sees in line, without a signal."""
        for part in (self.findChild(QtWidgets.QDoubleSpinBox), self.findChild(QtWidgets.QSlider)):
            if part is not None:
                with QtCore.QSignalBlocker(part):
                    self._show_in(part)

    def _show_in(self, part):
        low, high, step = self._number("minimum"), self._number("maximum"), self._number("singleStep") or 1.0
        if isinstance(part, QtWidgets.QSlider):
            part.setRange(0, min(round((high - low) / step), 10**6))
            part.setValue(round((self._number("value") - low) / step))
        else:
            part.setDecimals(self.read("decimals", "int"))
            part.setSuffix(self._values.get("suffix", ""))
            part.setSingleStep(step)
            part.setRange(low, high)
            part.setValue(self._number("value"))


class _Slider(DoubleValue, QtWidgets.QWidget):
    with_spin_box = False

    def __init__(self, parent=None):
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        slider.setObjectName("Slider")
        slider.valueChanged.connect(
            lambda steps: self.set_value(self._number("minimum") + steps * self._number("singleStep"))
        )
        row.addWidget(slider)
        if self.with_spin_box:
            box = QtWidgets.QDoubleSpinBox()
            box.setObjectName("SpinBox")
            box.valueChanged.connect(self.set_value)
            row.addWidget(box)
        self.show_number()


@models
class ctkDoubleSlider(_Slider):
    pass


@models
class ctkSliderWidget(_Slider):
    with_spin_box = True
    defaults = values(decimals=2, spinBoxVisible=True)

    def set_spinBoxVisible(self, visible):
        self._values["spinBoxVisible"] = visible
        self.findChild(QtWidgets.QDoubleSpinBox).setVisible(visible)

    setSpinBoxVisible = set_spinBoxVisible


@models
class ctkDoubleSpinBox(DoubleValue, QtWidgets.QWidget):
    defaults = values(maximum=99.99, decimals=2)

    def __init__(self, parent=None):
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        box = QtWidgets.QDoubleSpinBox()
        box.valueChanged.connect(self.set_value)
        box.editingFinished.connect(lambda: self.emit("editingFinished()"))
        row.addWidget(box)
        self.show_number()


@models
class ctkRangeWidget(Native, QtWidgets.QWidget):
    defaults = values(minimum=0.0, maximum=99.0, minimumValue=0.0, maximumValue=99.0, decimals=2)

    def setValues(self, low, high):
        before = [self.read(n, "double") for n in ("minimumValue", "maximumValue")]
        self._values.update(minimumValue=float(min(low, high)), maximumValue=float(max(low, high)))
        after = [self._values[n] for n in ("minimumValue", "maximumValue")]
        for name, old, new in zip(("minimum", "maximum"), before, after, strict=True):
            if old != new:
                self.emit(f"{name}ValueChanged(double)", new)
        if before != after:
            self.emit("valuesChanged(double,double)", *after)

    def set_minimumValue(self, value):
        self.setValues(value, self.read("maximumValue", "double"))

    def set_maximumValue(self, value):
        self.setValues(self.read("minimumValue", "double"), value)

    setMinimumValue, setMaximumValue = set_minimumValue, set_maximumValue


class _Collapsible(Native):
    """Checked is open. Closing hides the children that were shown, and opening shows those again."""

    def start(self):
        self._closed = ()
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._on_toggled)

    def get_collapsed(self):
        return not self.isChecked()

    def set_collapsed(self, collapsed):
        self.setChecked(not collapsed)

    def _on_toggled(self, opened):
        if opened:
            for child in self._closed:
                child.show()
            self._closed = ()
        else:
            self._closed = [c for c in self.children() if c.isWidgetType() and not c.isHidden()]
            for child in self._closed:
                child.hide()
        if "contentsCollapsed(bool)" in self.own_signals:
            self.emit("contentsCollapsed(bool)", not opened)


@models
class ctkCollapsibleGroupBox(_Collapsible, QtWidgets.QGroupBox):
    def __init__(self, parent=None):
        super().__init__(parent)
        self.start()


@models
class ctkCollapsibleButton(_Collapsible, QtWidgets.QAbstractButton):
    def __init__(self, parent=None):
        super().__init__(parent)
        self.start()
        self.setContentsMargins(0, 22, 0, 0)  # room for the bar

    def sizeHint(self):
        inner = self.layout().totalSizeHint() if self.layout() else QtCore.QSize(0, 0)
        return QtCore.QSize(max(inner.width(), 100), 24 if self.get_collapsed() else max(inner.height(), 24))

    minimumSizeHint = sizeHint

    def hitButton(self, position):
        return position.y() < 22

    def paintEvent(self, event):
        painter = QtGui.QPainter(self)
        bar = QtCore.QRect(0, 0, self.width(), 20)
        painter.fillRect(bar, self.palette().button())
        arrow = "▾" if self.isChecked() else "▸"
        painter.drawText(bar.adjusted(6, 0, 0, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, f"{arrow} {self.text()}")
