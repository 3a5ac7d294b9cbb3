"""What a test reads from a panel and a scene, and a brush on its segments."""

import slicer

from csvd_slicer.segments import Segments, read_segments, write_segments


def contents():
    """The ids of all nodes of the scene."""
    scene = slicer.mrmlScene
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


def column(table, number):
    return [table.item(row, number).text() for row in range(table.rowCount)]


def volumes(ui, number=1):
    """What the table of results shows, by title; column 1 is the automatic result, 2 the edited one."""
    return dict(zip(column(ui.volumesTable, 0), column(ui.volumesTable, number), strict=True))


def cell(table, name):
    """The value of measurement ``name`` in a table node."""
    names = [table.GetCellText(row, 0) for row in range(table.GetNumberOfRows())]
    return table.GetCellText(names.index(name), table.GetColumnIndex("value"))


def paint(nodes, box, label):
    """As a brush of the Segment Editor: label 1, 2, or 0 to erase."""
    segments = read_segments(nodes.segmentation, nodes.scan)
    labels = segments.labels.copy()
    labels[box] = label
    write_segments(nodes.segmentation, nodes.scan, Segments(labels, segments.ventricles, segments.rejected))
