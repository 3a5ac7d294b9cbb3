"""How veins are measured, on a vein whose width and darkness are known."""

import numpy as np
import pytest

pytest.importorskip("training.heads", reason="training is not beside the tests")
pytest.importorskip("matplotlib")

from training.compare_veins import PIXEL_MM, as_markdown, local_ratio, measured, swi_of

VEIN = np.s_[20:23, :, :]  # three pixels wide, through all of the crop


def crop(vein=0.5):
    image = np.ones((51, 51, 6))
    image[VEIN] = vein
    return image


def test_a_vein_is_as_dark_and_as_wide_as_it_was_drawn():
    told = measured(crop())
    assert told["their median ratio"] == pytest.approx(0.5)
    assert told["voxels below 0.8, %"] == pytest.approx(100 * 3 / 51)
    assert told["their width, median, mm"] == pytest.approx(3 * PIXEL_MM)


def test_what_is_bright_everywhere_is_no_vein_and_a_slow_change_neither():
    image = crop(1.0) * np.linspace(0.6, 1.4, 51)[:, None, None]
    assert measured(image)["voxels below 0.8, %"] == 0
    assert np.isnan(measured(image)["their median ratio"])
    assert local_ratio(image)[25, 25, 3] == pytest.approx(1)


@pytest.mark.parametrize("sign", [1, -1])
def test_swi_darkens_a_vein_whatever_the_sign_of_its_phase(sign):
    magnitude, phase = crop(0.75), np.zeros((51, 51, 6))
    phase[VEIN] = sign * 0.6
    swi = swi_of(magnitude, phase)
    inside = swi[21, 25, 3]
    # The low pass takes a part of the vein's phase with it, so that it is less dark than (1 - .6 / pi) ** 4.
    assert 0.75 * (1 - 0.6 / np.pi) ** 4 < inside < 0.75 * (1 - 0.4 / np.pi) ** 4
    assert swi[5, 25, 3] == pytest.approx(1, abs=0.05)


def test_the_page_names_what_lies_outside_the_synthetic_ones():
    narrow, wide = measured(crop()), measured(crop(0.3))
    page = as_markdown({"real magnitude": narrow, "real SWI": wide}, [narrow, narrow])
    assert "| their median ratio | 0.50 | 0.30 | 0.50 (0.50 to 0.50) | SWI below |" in page
    assert "small crop" in page
