"""A MO-UNet whose answer is known beforehand, and one head in FLAIR, T1 and SWI that it reads without error.

Nearly all weights are 0. What is left carries the mean of two by two pixels through the encoder's first block and each
decoder's last steps, so that a marker is where a slice is brighter than the marker's own limit: every lesion of these
scans is bright, whatever its sequence. Anatomy is read by ``tiny_models.anatomy_network``.
"""

import numpy as np
from phantoms import oriented_affine, world
from tiny_models import (
    ANATOMY_LABELS,
    BRAIN,
    LEVELS,
    PIXEL_MM,
    VENTRICLE,
    Ellipsoid,
    anatomy_network,
    read_card,
    write_bundle,
    write_card,
)
from torch import nn

from csvd.image import Image
from csvd.networks import build
from csvd.pipelines import mimics

MARKERS = ("wmh", "microbleed", "lacune", "perivascular_space")
NETWORK = {"architecture": "MOUNet", "in_channels": 1, "markers": 4, "channels": [2, 2, 2, 2]}
LIMITS = {"wmh": 1.4, "microbleed": 1.4, "lacune": 2.2, "perivascular_space": 1.4}  # of the brain's median
SHIFT, SLOPE = 8.0, 20.0  # SHIFT keeps every pixel where swish is nearly a straight line


def bright_network(limits=LIMITS):
    """MO-UNet of which every decoder fires where a pixel is brighter than its limit."""
    network = build(NETWORK).eval()
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not (isinstance(module, nn.BatchNorm2d) and name == "weight"):
                parameter.data.zero_()
    encoder = network.encoder
    encoder._conv_stem.weight.data[0, 0, :2, :2] = 0.25
    encoder._bn0.bias.data[0] = SHIFT
    block = encoder._blocks[0][0]
    block._depthwise_conv.weight.data[0, 0, 1, 1] = 1
    block._project_conv.weight.data[0, 0, 0, 0] = 2  # the block's own gate of zero weights halves
    for decoder, marker in zip(network.decoders, MARKERS, strict=True):
        skip, last = decoder.steps[-2], decoder.steps[-1]
        skip.convolutions[0].weight.data[0, 2, 1, 1] = 1  # after the two channels from below comes the encoder's first
        for convolution in (skip.convolutions[3], last.convolutions[0], last.convolutions[3]):
            convolution.weight.data[0, 0, 1, 1] = 1
        decoder.head.weight.data[0, 0, 1, 1] = SLOPE
        decoder.head.bias.data[:] = -SLOPE * ((limits[marker] - 1) / 0.25 + SHIFT)
    return network


def bright_network_3d(limit, channels=(2, 2)):
    """UNet3D that fires where a voxel is brighter than ``limit``, of the brain's median."""
    description = {"architecture": "UNet3D", "channels": list(channels), "in_plane_levels": 1}
    network = build(description).eval()
    for name, parameter in network.named_parameters():
        if not ("norm" in name and name.endswith("weight")):
            parameter.data.zero_()
    first, last = network.down[0], network.up[-1].conv_block
    for convolution, channel in ((first.conv1, 0), (first.conv2, 0), (last.conv1, channels[0]), (last.conv2, 0)):
        convolution.conv.weight.data[0, channel, 1, 1, 1] = 1  # after the channels from below comes what was skipped
    network.head.weight.data[0, 0] = SLOPE
    network.head.bias.data[:] = -SLOPE * (limit - 1) / 0.25
    return network, description


def write_foci_model(folder, limit, marker="microbleed", threshold=0.6):
    """A bundle that sees in 3D, for one marker."""
    network, description = bright_network_3d(limit)
    card = {
        "task": "foci", "labels": [marker], "thresholds": {marker: threshold},
        "preprocessing": {
            "in_plane_mm": PIXEL_MM, "slice_mm": 3.0, "intensity": "brain_median", "skull_strip": True,
        },
    }  # fmt: skip
    bundle = write_bundle(folder, [network], description, **card)
    card = read_card(bundle)
    del card["threshold"]
    write_card(bundle, card)
    return bundle


def write_burden_models(folder, networks=None, **changes):
    """The bundles that ``csvd burden`` needs, under their usual ids."""
    anatomy = {"architecture": "UNet", "in_channels": 1, "out_channels": len(ANATOMY_LABELS), "width": 1}
    write_bundle(folder / "anatomy", [anatomy_network()], anatomy, task="anatomy", labels=ANATOMY_LABELS)
    preprocessing = {
        "in_plane_mm": PIXEL_MM / 2,
        "canvas": [128, 160],
        "intensity": "brain_median",
        "skull_strip": True,
    }
    card = {
        "task": "burden", "labels": MARKERS, "preprocessing": preprocessing,
        "thresholds": dict.fromkeys(MARKERS, 0.5), "inputs": ["FLAIR", "SWI", "T1"],
    } | changes  # fmt: skip
    bundle = write_bundle(folder / "burden-mounet", networks or [bright_network()], NETWORK, **card)
    card = read_card(bundle)
    del card["threshold"]
    write_card(bundle, card)
    return folder


BRIGHT = {"wmh": 340, "microbleed": 340, "perivascular_space": 340, "lacune": 640}
PERIVENTRICULAR = Ellipsoid((-10, 20, 22), (4, 4, 6))
DEEP = Ellipsoid((28, -30, 30), (6, 8, 8))
LOBAR_BLEED = Ellipsoid((30, -20, 34), (3.2, 3.2, 3.2))  # more than 10 mm from the ventricle
DEEP_BLEED = Ellipsoid((-21, -2, 22), (3, 3, 3))  # 4 mm beside the ventricle
LACUNE = Ellipsoid((24, 10, 26), (4.5, 4.5, 4.5))
TUBE = Ellipsoid((18, -34, 32), (1.4, 1.4, 9))
FLAIR = {"wmh": (PERIVENTRICULAR, DEEP)}
T1 = {"perivascular_space": (TUBE,)}
T1_WITH_LACUNE = {"lacune": (LACUNE,)}  # its own rim is as bright as a tube, so that it has a scan for itself
SWI = {"microbleed": (LOBAR_BLEED, DEEP_BLEED)}


def let_bright_lacunes_count(monkeypatch):
    """A lacune of these scans is bright, as their networks ask for, where that of a T1 is dark."""
    monkeypatch.setattr(mimics, "LIKE_FLUID", -np.inf)


def scan(lesions, spacing_mm=(1.5, 1.5, 3.0), axes=(0, 1, 2), signs=(1, 1, 1), move=None, name="", level=1000.0):
    """One sequence of the head: ``lesions`` are Ellipsoids by marker, ``move`` (4x4) is how the head lay.

    The T1 has a darker rim, as its cortex is.
    """
    extent = np.array([120, 150, 102])[list(axes)]
    shape = tuple(int(n) for n in np.ceil(extent / spacing_mm))
    affine = oriented_affine(axes, signs, spacing_mm, shape, centre_mm=(0, -12, 20))
    points = world(shape, affine).reshape(3, -1)
    if move is not None:
        affine[:] = move @ affine
    x, y, z = points
    brightness = LEVELS["brain"] * (1 + 0.03 * np.sin(x / 5) * np.sin(y / 7 + 1) * np.sin(z / 6 + 2))
    if not {"wmh", "microbleed"} & set(lesions):
        white = Ellipsoid(BRAIN.centre, tuple(0.64 * r for r in BRAIN.radii)).holds(x, y, z)
        brightness = np.where(white, brightness, 0.8 * brightness)
    brightness = np.where(VENTRICLE.holds(x, y, z), LEVELS["ventricle"], brightness)
    for marker, places in lesions.items():
        for place in places:
            brightness = np.where(place.holds(x, y, z), BRIGHT[marker], brightness)
    voxels = np.where(BRAIN.holds(x, y, z), brightness, 0) * (level / LEVELS["brain"])
    return Image(np.rint(voxels).astype(np.int16).reshape(shape), affine, name)
