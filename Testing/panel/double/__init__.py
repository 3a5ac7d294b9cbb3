"""A double of what a panel sees in Slicer: `qt`, `ctk`, `slicer.qMRML*` and the rest, on PySide6 and real MRML.

It follows the rules by which PythonQt shows C++ classes to Python, and it raises `NotInSlicer` on every class,
property, signal, slot and method that `api.json` does not have for a class. What Slicer has and the double does not
model raises `NotImplementedError`, never nothing.
"""
