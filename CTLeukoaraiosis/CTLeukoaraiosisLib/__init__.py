"""The panel of CTLeukoaraiosis. Imported when the panel is set up, not before."""
