"""How voxels become network input. Training and use share these lines, so that they cannot drift apart.

Every function takes and returns an array or a tensor. A lesion network's input starts as intensity relative to the
brain's median, 0 outside the brain or, for a whole head, in air. The functions of ``SCALINGS`` make of it what the
network was published with; they take one slice (R, A) or many, (..., R, A), and scale each slice by itself.
"""

BRAIN_CENTRE = 1.0
BRAIN_SCALE = 0.25  # choice: of the order of the spread of brain voxels around their median on FLAIR
BRIGHTEST = 255.0
# Choice, in brain medians: a slice whose grey values differ by less than this shows nothing, and is not blown up.
LEAST_CONTRAST = 1e-3
# The brain window of CT (Alamoudi et al., medRxiv 2026.03.10.26348006); files whose negative values were cut to 0 and
# all that is written around a head look alike in it. nnU-Net would cut at the lesions' percentiles, about 0 to 45 HU,
# Ryu et al. (Brain Behav 2025) at -1000 to 1000 HU, where leukoaraiosis is a hundredth of the range.
WINDOW_HU = (0.0, 80.0)
BRAIN_HU, SPREAD_HU = 30.0, 10.0  # choice: about mean and SD of brain in that window (docs/synthetic_ct.md)
FOREGROUND_LEVEL = 0.5  # choice: leaves room for what is twice as bright as the mean before clipping at 2
HIGHEST = 2.0


def standardise(relative):
    """Minus 1, over .25: the same line for every voxel, so that one grey value means one thing in the whole scan."""
    return (relative - BRAIN_CENTRE) / BRAIN_SCALE


def min_max_255(relative):
    """Every slice from its least value, 0, to its greatest, 255 (VUNO Med-DeepBrain: skull-stripped, 0 to 255).

    A choice: by slice and not by volume, since training draws slices and knows no volume.
    """
    low, high = extremes(relative)
    return (relative - low) * (BRIGHTEST / (high - low).clip(LEAST_CONTRAST))


def z_score(relative):
    """Every slice with mean 0 and standard deviation 1 over all its pixels, air too (Tiantan: whole heads, unstripped).

    Where we leave the paper, whose z-score is the volume's: training draws slices and knows no volume.
    """
    deviation = relative - mean(relative)
    return deviation / (mean(deviation**2) ** 0.5).clip(LEAST_CONTRAST)


def mean(image):
    """Of every slice, (..., 1, 1)."""
    return image.mean(axis=(-2, -1), keepdims=True)


def extremes(image):
    """Least and greatest value of every slice, (..., 1, 1); over several axes torch calls them amin and amax."""
    least, greatest = getattr(image, "amin", image.min), getattr(image, "amax", image.max)
    return least(axis=(-2, -1), keepdims=True), greatest(axis=(-2, -1), keepdims=True)


SCALINGS = {"brain_median": standardise, "min_max_255": min_max_255, "z_score": z_score}
BACKGROUND = standardise(0.0)
AIR = (WINDOW_HU[0] - BRAIN_HU) / SPREAD_HU  # what hounsfield_window makes of air
# What a slice becomes that is 0 everywhere; brain_median and min_max_255 also give it to what is 0 around a brain.
BACKGROUNDS = {"brain_median": BACKGROUND, "min_max_255": 0.0, "z_score": 0.0, "hounsfield": AIR}


def foreground_scaled(image):
    """Any image of a head -> input of the anatomy network: its foreground has mean .5, values end at 2.

    Foreground is what is brighter than the mean, which needs no knowledge of the sequence.
    """
    foreground = image[image > image.mean()]
    level = float(foreground.mean()) if len(foreground) else 1.0
    return (image * (FOREGROUND_LEVEL / max(level, 1e-6))).clip(0, HIGHEST)


def hounsfield_window(hu, low=WINDOW_HU[0], high=WINDOW_HU[1]):
    """CT in HU -> network input: cut at ``low`` and ``high``, then minus 30 HU, over 10 HU.

    Brain comes out with mean 0 and standard deviation 1, nearly. The constants are fixed where nnU-Net and Ryu et al.
    take each scan's own, since training draws slices; stripped slices hold ``low`` outside the brain.
    """
    return (hu.clip(low, high) - BRAIN_HU) / SPREAD_HU
