"""The panel of CSVDBurden. Imported when the panel is set up, not before."""
