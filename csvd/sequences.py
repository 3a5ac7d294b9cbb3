"""Which marker of small vessel disease is seen on which sequence, as in MO-UNet (Front Neurol 2025, 1540923)."""

SEQUENCES = {"flair": ("wmh",), "t1": ("lacune", "perivascular_space"), "swi": ("microbleed",)}
"""Markers by sequence, in the order of a report."""
TITLES = {"flair": "FLAIR", "t1": "T1", "swi": "SWI"}
SEQUENCE_OF = {marker: sequence for sequence, markers in SEQUENCES.items() for marker in markers}
