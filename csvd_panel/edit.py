"""The section of the panel with Slicer's Segment Editor, and what tells of its edits."""

import slicer

from csvd_slicer.segments import spare_hidden_segments


class EditSection:
    """Args:
    tag: of the singleton that keeps the editor's settings, so that those of Slicer's own Segment Editor stay.
    """

    def __init__(self, ui, tag):
        self.editor, self._tag = ui.segmentEditor, tag

    def open(self):
        if slicer.app.layoutManager() is not None:
            self.editor.setupViewObservations()
            self.editor.installKeyboardShortcuts()

    def close(self):
        self.stop_painting()
        if slicer.app.layoutManager() is not None:
            self.editor.uninstallKeyboardShortcuts()
            self.editor.removeViewObservations()

    def stop_painting(self):
        """The brush of an effect works in the slice views whatever is open."""
        if self.editor.mrmlSegmentEditorNode() is not None:
            self.editor.setActiveEffect(None)

    def show(self, view):
        """Edit `view.segmentation` on `view.scan`; None lets go of what was edited."""
        if view is not None:
            self.editor.setMRMLSegmentEditorNode(self._settings())
            self.editor.setSegmentationNode(view.segmentation)
            self.editor.setSourceVolumeNode(view.scan)
        elif self.editor.mrmlSegmentEditorNode() is not None:
            self.editor.setSegmentationNode(None)

    def save_state(self, view):
        """What saves the segments of `view` for Undo, or None when the editor does not show them."""
        if view is None or self.editor.segmentationNode() is not view.segmentation:
            return None
        return self.editor.saveStateForUndo

    def _settings(self):
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(self._tag, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(self._tag)
            spare_hidden_segments(node)
            node = scene.AddNode(node)
        return node


def edit_events():
    """Events of a segmentation that tell of an edit; Undo tells of nothing but modified segments."""
    kind = slicer.vtkSegmentation
    return kind.SourceRepresentationModified, kind.SegmentModified, kind.SegmentAdded, kind.SegmentRemoved
