"""Everything of `csvd` that knows MRML: volumes, segments, tables and plots of a Result as nodes of a Slicer scene."""
