"""The panel of WMHSegmenter. Imported when the panel is set up, not before."""
