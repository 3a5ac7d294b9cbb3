"""How synthetic slices are compared with real ones: each measure on slices of which it is known beforehand."""

import numpy as np
import pytest
from PIL import Image as Picture
from scipy import ndimage
from tiny_models import SHARED

pytest.importorskip("training.appearance", reason="training is not beside the tests")
pytest.importorskip("matplotlib", reason="the figures are drawn with matplotlib")

from training import appearance, compare, plots
from training.appearance import EDGE_MM, LAGS_MM, Slice

NAMES = ("background", "white_matter", "cortex", "lateral_ventricles", "deep_grey", "brain_stem", "cerebellum")
SIZE = 120
R, A = np.meshgrid(np.arange(SIZE) - 60, np.arange(SIZE) - 60, indexing="ij")


def disc(radius, centre=(0, 0)):
    return (R - centre[0]) ** 2 + (A - centre[1]) ** 2 < radius**2


def brain(lesion=0.0, noise=0.0, blurred=0.0, radius=12.0, seed=0):
    """White matter at 1, cortex at 1.2 around it, a ventricle at .3; a round lesion at ``lesion``, softened."""
    labels = np.where(disc(45), NAMES.index("white_matter"), np.where(disc(52), NAMES.index("cortex"), 0))
    labels[disc(11, (-20, 0))] = NAMES.index("lateral_ventricles")
    level = np.array([0, 1, 1.2, 0.3, 1, 1, 1])
    share = ndimage.gaussian_filter(disc(radius, (18, 0)).astype(float), blurred) if blurred else disc(radius, (18, 0))
    image = level[labels] + share * max(0.0, lesion - 1)
    image = image + noise * np.random.default_rng(seed).standard_normal(image.shape) * (labels > 0)
    mask = disc(radius, (18, 0)) if lesion else np.zeros(labels.shape, bool)
    return Slice(image, labels, NAMES, mask, True)


def test_contrasts_are_over_normal_white_matter():
    found = appearance.measures(brain(lesion=1.5))
    for name, value in (("cortex", 1.2), ("thick_cortex", 1.2), ("ventricle", 0.3), ("lesion_50", 1.5)):
        assert found[name] == pytest.approx(value, abs=0.01), name
    assert found["lesion_over_cortex"] == pytest.approx(1.25, abs=0.01)
    assert found["brain_25"] == pytest.approx(1, abs=0.01)
    assert "deep_grey" not in found  # there is none


def test_normal_white_matter_keeps_off_lesions_and_borders():
    one = brain(lesion=1.5)
    assert not (one.white & (disc(14, (18, 0)) | ~disc(44))).any()
    assert np.count_nonzero(one.white) > 0.6 * np.count_nonzero(disc(45))
    assert one.usable
    assert not Slice(one.image[:60, :60], one.labels[:60, :60] * 0, NAMES, one.lesion[:60, :60], True).usable


@pytest.mark.parametrize("sigma", [0.02, 0.08])
def test_the_noise_is_measured_and_waves_are_not_taken_for_it(sigma):
    found = appearance.measures(brain(noise=sigma))
    assert found["noise"] == pytest.approx(sigma, rel=0.1)
    assert found["spread"] == pytest.approx(sigma, rel=0.1)
    assert found["length"] == pytest.approx(0.5, abs=0.05)  # white noise: 1 at lag 0, 0 at 1 mm
    waves = brain()
    waves.image[...] *= 1 + 0.1 * np.sin(R / 12)
    assert appearance.measures(waves)["noise"] < 0.003
    assert appearance.measures(waves)["waves"] == pytest.approx(0.1 / np.sqrt(2), rel=0.25)


def test_texture_hangs_together_over_the_width_of_its_blur():
    """Noise blurred with sigma s correlates as exp(-d^2 / 4 s^2): half at d = 1.665 s."""
    rng = np.random.default_rng(1)
    lengths = []
    for _ in range(8):
        field = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), 1.5)
        lengths.append(appearance.length_mm(appearance.autocorrelation(field, disc(45))))
    assert np.mean(lengths) == pytest.approx(1.665 * 1.5, rel=0.1)
    assert appearance.length_mm(np.ones(len(LAGS_MM))) == LAGS_MM[-1]


def test_a_softer_lesion_has_a_wider_edge_crossed_at_half_its_height():
    """A step blurred with sigma s has its plateaus sqrt(2 pi) s apart at its steepest slope."""
    sharp, soft = (appearance.measures(brain(lesion=1.6, blurred=s, radius=16)) for s in (1.0, 2.0))
    assert soft["edge_width"] == pytest.approx(np.sqrt(2 * np.pi) * 2, rel=0.2)
    assert sharp["edge_width"] < 0.75 * soft["edge_width"]
    for found in (sharp, soft):
        assert found["outline_height"] == pytest.approx(0.5, abs=0.07)


def test_the_edge_is_measured_towards_white_matter_only():
    """A lesion that touches a dark ventricle keeps its profile."""
    alone, touching = brain(lesion=1.5, blurred=1), brain(lesion=1.5, blurred=1)
    touching.labels[disc(9, (0, 0))] = NAMES.index("lateral_ventricles")
    touching.image[disc(9, (0, 0)) & ~touching.lesion] = 0.3
    known = EDGE_MM >= -2
    profiles = [appearance.edge_profile(one)[known] for one in (alone, touching)]
    assert np.nanmax(np.abs(profiles[0] - profiles[1])) < 0.06


def test_dark_sulci_are_a_share_of_the_outline_and_ventricles_are_none_of_it():
    one = brain()
    before = appearance.measures(one)
    assert before["sulci"] == pytest.approx(0, abs=0.05)
    furrow = (np.abs(R - 30) < 2) & (A > 0) & disc(53)
    one.image[furrow] = 0.2
    one.labels[furrow] = 0
    after = appearance.measures(one)
    assert after["sulci"] == pytest.approx(100 * furrow.sum() / disc(52).sum(), rel=0.1)
    assert after["steps"] >= before["steps"]


def test_lesions_of_a_slice_are_counted_with_their_corners():
    lesion = np.zeros((10, 10), bool)
    lesion[1, 1] = lesion[2, 2] = True
    lesion[5:8, 5:9] = True
    assert sorted(appearance.areas_mm2(lesion)) == [2, 12]
    assert len(appearance.areas_mm2(lesion & False)) == 0


# What is written


def samples(real=1.0):
    """Synthetic values 0 .. 100 of every measure, and real ones at ``real`` times 50 in three groups."""
    rng = np.random.default_rng(0)
    keys = [row["key"] for section in compare.TABLES for row in section["rows"]]
    made = []
    for group in (
        compare.SYNTHETIC,
        compare.SYNTHETIC_THIN,
        compare.THIN,
        compare.THICK,
        compare.AVERAGED,
        compare.MASKS,
    ):
        middle, spread = (50, 29) if group.startswith("synthetic") else (50 * real, 2)
        values = {key: (middle + spread * rng.standard_normal(40)).clip(0.1).tolist() for key in keys}
        curves = [np.exp(-LAGS_MM / 2.0)] * 3
        histograms, profiles = [np.ones(len(compare.LEVELS) - 1)] * 3, [1.2 - 0.05 * EDGE_MM] * 3
        pictures = [brain(noise=0.05, seed=i).image for i in range(30)]
        made.append(compare.Sample(group, group, values, histograms, profiles, curves, pictures))
    return made


def test_what_lies_within_the_synthetic_range_matches_and_what_does_not_is_said_with_its_direction():
    row = {"key": "noise", "title": "noise, SD", "digits": 3, "higher": "noisier", "lower": "calmer"}
    inside, above = (compare.Verdict.of(row, samples(real)) for real in (1.0, 4.0))
    assert (inside.covered, inside.central, inside.wide) == (1, True, True)
    assert (above.covered, above.higher) == (0, True)
    wide = " Drawn more than 3 times as wide as in these scans: noise, SD."
    assert compare.in_words([above]) == f"**Does not match**: noisier (noise, SD).{wide}"
    assert compare.in_words([inside]) == f"Matches: noise, SD.{wide}"
    aside = compare.Verdict.of(row, samples(0.4))
    assert (aside.covered, aside.central) == (1, False)
    assert compare.in_words([aside]) == f"Covered, but **off centre**: calmer (noise, SD).{wide}"


def test_the_page_has_a_table_and_a_figure_for_every_section():
    text = compare.page(samples(), "wmh-base", 40)
    for section in compare.TABLES:
        assert f"## {section['title']}\n" in text
        assert f"(figures/flair_{section['figure']}.png)" in text
    for block in text.split("\n\n"):
        if block.startswith("| "):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_figures_are_small_and_the_page_with_real_slices_goes_elsewhere(tmp_path):
    made = samples()
    plots.draw(made, compare.TABLES, tmp_path / "figures")
    plots.side_by_side(made, tmp_path / "private")
    drawn = {path.name: path.stat().st_size for path in (tmp_path / "figures").iterdir()}
    named = {f"flair_{section['figure']}.png" for section in compare.TABLES} | {"flair_slices.png"}
    assert set(drawn) == named
    assert max(drawn.values()) < 400e3
    assert [path.name for path in (tmp_path / "private").iterdir()] == ["synthetic-and-real.png"]
    assert Picture.open(tmp_path / "private" / "synthetic-and-real.png").size[0] > 1000


def test_a_picture_shows_the_front_above_and_the_right_side_on_the_left():
    image = np.zeros((100, 120))
    image[10:90, 10:110] = 1.0
    image[70:80, 95:105] = 2.0  # right and in front
    shown = plots.grey(image)
    row, column = np.argwhere(shown > 200).mean(0)
    assert row < shown.shape[0] / 2
    assert column < shown.shape[1] / 2


@pytest.mark.skipif(not (SHARED / "lesion_masks_mni").is_dir(), reason="the masks are not part of the repository")
def test_volumes_of_the_real_masks_are_those_of_their_study(monkeypatch):
    """0.3 to 52 mL in 30 patients (shared/data/README.md)."""
    monkeypatch.setattr(compare, "real_slices", lambda scan: iter([(90, None)]))
    volumes = compare.real_masks(SHARED).values["volume_ml"]
    assert len(volumes) == 30
    assert min(volumes) == pytest.approx(0.3, abs=0.1)
    assert max(volumes) == pytest.approx(52, abs=1)
