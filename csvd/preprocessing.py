"""How voxels become network input. Training and use share these lines, so that they cannot drift apart.

Every function takes and returns an array or a tensor of any shape.
"""

BRAIN_CENTRE = 1.0
BRAIN_SCALE = 0.25  # choice: of the order of the spread of brain voxels around their median on FLAIR
FOREGROUND_LEVEL = 0.5  # choice: leaves room for what is twice as bright as the mean before clipping at 2
HIGHEST = 2.0


def standardise(relative):
    """Intensity relative to the brain median -> input of the lesion networks; 0 (outside) becomes ``BACKGROUND``."""
    return (relative - BRAIN_CENTRE) / BRAIN_SCALE


def relative_to_brain(standardised):
    """The way back: input of the lesion networks -> intensity relative to the brain median."""
    return standardised * BRAIN_SCALE + BRAIN_CENTRE


BACKGROUND = standardise(0.0)


def foreground_scaled(image):
    """Any image of a head -> input of the anatomy network: its foreground has mean .5, values end at 2.

    Foreground is what is brighter than the mean, which needs no knowledge of the sequence.
    """
    foreground = image[image > image.mean()]
    level = float(foreground.mean()) if len(foreground) else 1.0
    return (image * (FOREGROUND_LEVEL / max(level, 1e-6))).clip(0, HIGHEST)
