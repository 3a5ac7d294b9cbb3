import headless
import numpy as np
import pytest
from nodes import GEOMETRIES, add_flair, result_of

from csvd.marker import WMH
from csvd.report.segmentation import segments
from csvd_slicer.maps import CLEAR_BELOW, PROBABILITY, UNCERTAINTY, write_map
from csvd_slicer.plots import write_chart, write_slices
from csvd_slicer.tables import LESIONS, Column, fill_table, write_lesions, write_measurements


def add_table(scene, name="T"):
    return scene.AddNewNodeByClass("vtkMRMLTableNode", name)


def rows_of(node):
    columns = range(node.GetNumberOfColumns())
    return [[node.GetCellText(row, column) for column in columns] for row in range(node.GetNumberOfRows())]


def columns_of(node):
    return [node.GetColumnName(n) for n in range(node.GetNumberOfColumns())]


def test_measurements_are_rows_with_name_title_value_unit_and_source(scene):
    result = result_of(add_flair(scene))
    node = add_table(scene)
    write_measurements(node, result)
    assert columns_of(node) == ["name", "title", "value", "unit", "source"]
    rows = rows_of(node)
    assert [row[0] for row in rows] == list(result.measurements)
    assert rows[0] == ["total_volume", "Total WMH, volume", "0.168", "mL", "Voxel count x voxel volume"]
    values = {row[0]: row[2] for row in rows}
    assert values["lesion_count"] == "2"
    assert values["periventricular_rule"] == "voxel"
    assert {values["review_recommended"], values["fazekas_severe"]} <= {"yes", "no"}


def test_what_could_not_be_measured_is_an_empty_cell_and_not_a_zero(scene):
    result = result_of(add_flair(scene)).remeasure(ventricles=np.zeros((40, 50, 8), bool))
    node = add_table(scene)
    write_measurements(node, result)
    row = next(row for row in rows_of(node) if row[0] == "deep_volume")
    assert columns_of(node)[2:4] == ["value", "edited"]
    assert row[2:4] == ["0.048", ""]


def test_the_column_of_the_reader_goes_with_the_edit(scene, tmp_path):
    result = result_of(add_flair(scene))
    node = add_table(scene)
    write_measurements(node, result.remeasure(np.zeros((40, 50, 8), bool)))
    assert rows_of(node)[0][2:4] == ["0.168", "0"]
    assert node.GetColumnTitle("edited") == "Edited by reader"
    write_measurements(node, result)
    rows = rows_of(node)
    headless.save_bundle(tmp_path / "tables.mrb")
    headless.open_bundle(tmp_path / "tables.mrb")
    again = scene.GetFirstNode("T", "vtkMRMLTableNode")
    assert columns_of(again) == ["name", "title", "value", "unit", "source"]
    assert rows_of(again) == rows


def test_lesions_are_rows_of_numbers(scene):
    result = result_of(add_flair(scene))
    node = add_table(scene)
    write_lesions(node, result.lesions)
    assert columns_of(node) == [column.name for column in LESIONS]
    table = node.GetTable()
    assert [table.GetColumnByName("id").GetValue(n) for n in range(2)] == [1, 2]
    assert table.GetColumnByName("volume_ml").GetValue(0) == result.lesions[0].volume_ml
    centroid = [table.GetColumnByName(f"centroid_mm_{axis}").GetValue(1) for axis in "ras"]
    assert centroid == list(result.lesions[1].centroid_mm)
    assert (node.GetColumnUnitLabel("diameter_mm"), node.GetColumnTitle("uncertain_share")) == ("mm", "Uncertain")
    assert node.GetLocked()


def test_no_lesion_is_a_table_without_rows(scene):
    node = add_table(scene)
    write_lesions(node, [])
    assert (node.GetNumberOfRows(), node.GetNumberOfColumns()) == (0, len(LESIONS))


def test_cells_that_slicers_writer_would_break_come_back_whole(scene, tmp_path):
    node = add_table(scene)
    columns = (Column("name", str, 'A "title"'), Column("text", str, "Text"), Column("x", float, "X", "mL", 'say "x"'))
    cells = ['a "quoted", b', "tab\there", "line\nbreak", "", "> 150 mm3 ≥ µ", "1;2", "=1+2"]
    fill_table(node, columns, [(f"row{n}", text, None if n == 1 else n / 3) for n, text in enumerate(cells)])
    headless.save_bundle(tmp_path / "tables.mrb")
    headless.open_bundle(tmp_path / "tables.mrb")
    again = scene.GetFirstNode("T", "vtkMRMLTableNode")
    rows = rows_of(again)
    assert [row[0] for row in rows] == [f"row{n}" for n in range(7)]
    assert [row[1] for row in rows] == ["a 'quoted', b", "tab here", "line break", "", "> 150 mm3 ≥ µ", "1;2", "=1+2"]
    assert rows[1][2] == "nan"
    assert float(rows[5][2]) == pytest.approx(5 / 3, rel=1e-5)
    assert (again.GetColumnTitle("name"), again.GetColumnDescription("x")) == ("A 'title'", "say 'x'")


@pytest.mark.parametrize(
    ("geometry", "direction"), [("axial", "superior"), ("oblique", "superior"), ("sagittal", "right")]
)
def test_slices_add_up_to_the_volumes_and_stand_where_they_are(scene, geometry, direction):
    result = result_of(add_flair(scene, geometry))
    node = add_table(scene)
    write_slices(node, result)
    rows = np.array(rows_of(node), float)
    assert rows[:, 0].tolist() == list(range(1, 9))
    assert rows[:, 2].sum() == pytest.approx(result.measurements["periventricular_volume"].value)
    assert rows[:, 3].sum() == pytest.approx(result.measurements["deep_volume"].value)
    assert np.flatnonzero(rows[:, 2]).tolist() == [3]
    centre = GEOMETRIES[geometry] @ [19.5, 24.5, 3, 1]
    assert rows[3, 1] == pytest.approx(centre[{"right": 0, "superior": 2}[direction]], abs=1e-4)
    assert node.GetColumnTitle("position_mm") == f"Position, {direction}"


def test_the_chart_plots_each_zone_in_the_colour_of_its_segment(scene):
    slices, chart = add_table(scene), scene.AddNewNodeByClass("vtkMRMLPlotChartNode")
    series = [scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode") for _ in range(2)]
    write_slices(slices, result_of(add_flair(scene)))
    write_chart(chart, *series, slices, WMH)
    assert [chart.GetNthPlotSeriesNode(n) for n in range(2)] == series
    for node, segment in zip(series, segments()[:2], strict=True):
        assert node.GetTableNode() is slices
        assert slices.GetTable().GetColumnByName(node.GetYColumnName()) is not None
        assert np.allclose(np.array(node.GetColor()) * 255, segment["color"])
    assert chart.GetXAxisTitle() == "Position, superior (mm)"
    series[0].SetColor(0, 0, 0)
    write_chart(chart, *series, slices, WMH)
    assert series[0].GetColor() == (0, 0, 0)
    assert chart.GetNumberOfPlotSeriesNodes() == 2


@pytest.mark.parametrize(("look", "unit"), [(PROBABILITY, "1"), (UNCERTAINTY, "bit")])
def test_a_map_is_coloured_from_0_to_1_clear_where_it_is_0_and_has_a_unit(scene, look, unit):
    flair = add_flair(scene)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Map")
    write_map(node, result_of(flair).probability, flair, look)
    display = node.GetDisplayNode()
    assert display.GetColorNode() is not None
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax(), display.GetAutoWindowLevel()) == (0, 1, 0)
    assert (display.GetApplyThreshold(), display.GetLowerThreshold()) == (1, CLEAR_BELOW)
    assert (node.GetVoxelValueUnits().GetCodeValue(), node.GetVoxelValueUnits().GetCodingSchemeDesignator()) == (
        unit, "UCUM"
    )  # fmt: skip


def test_a_map_that_is_written_again_keeps_the_readers_window(scene):
    flair = add_flair(scene)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Map")
    write_map(node, result_of(flair).probability, flair, PROBABILITY)
    node.GetDisplayNode().SetWindowLevelMinMax(0.2, 0.8)
    write_map(node, result_of(flair).probability, flair, PROBABILITY)
    assert node.GetDisplayNode().GetWindowLevelMin() == pytest.approx(0.2)
    assert node.GetNumberOfDisplayNodes() == 1
