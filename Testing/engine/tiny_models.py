"""Networks whose answer is known beforehand, bundles of them, and a head that they read without error.

``threshold_network`` is a real (SE-)UNet whose weights are nearly all 0: what is left passes the pixel through, so its
logit is a straight line of the pixel's value. Scans of ``sharp_head`` on the networks' own pixel size are not
interpolated, so masks and volumes can be worked out by hand.
"""

import functools
import hashlib
import importlib.util
import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from phantoms import oriented_affine, world
from safetensors.torch import save

from csvd.anatomy import find_anatomy
from csvd.bundle import available_models, load_bundle
from csvd.image import Image, read_image
from csvd.networks import build
from csvd.pipelines.wmh import network_slices, relative_slices, slice_grid
from csvd.preprocessing import BACKGROUND

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "Resources" / "SampleData" / "synthetic_ct_5mm_flair.nii.gz"
SHARED = ROOT.parent / "shared" / "data"
ANATOMY_LABELS = (
    *("background", "white_matter", "cortex", "lateral_ventricles", "third_ventricle"),
    *("fourth_ventricle", "deep_grey", "brain_stem", "cerebellum", "csf"),
)

HAS_MONAI = importlib.util.find_spec("monai") is not None
requires_models = pytest.mark.skipif(
    not ({"anatomy", "wmh-seunet", "wmh-hybrid"} <= set(available_models()) and HAS_MONAI),
    reason="the trained models are not in Resources/Models, or MONAI is not installed",
)
requires_monai = pytest.mark.skipif(not HAS_MONAI, reason="MONAI is not installed")
ARCHITECTURES = ["SEUNet", "UNet", "TiantanCNN", pytest.param("ResNet34UNet", marks=requires_monai)]
requires_sample = pytest.mark.skipif(not SAMPLE.exists(), reason="the sample scan is not in Resources/SampleData")

PIXEL_MM = 1.5
LESION_LIMIT = 1.40625  # of the brain's median: where the logit 8 x - 13 of x = (relative - 1) / .25 is 0


@contextmanager
def only_models_of(folder):
    """csvd finds the models of this folder; for fixtures that outlive one test, which `monkeypatch` cannot serve."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CSVD_MODELS", str(folder))
        yield folder


def threshold_network(architecture="SEUNet", slope=8.0, limit=1.625, shift=(0, 0), width=1):
    """Network whose logit is slope * (x - limit) of a pixel x > 0, moved by up to 6 pixels, ``shift``, along (R, A)."""
    network = build({"architecture": architecture, "in_channels": 1, "out_channels": 1, "width": width})
    silence(network)
    convolutions = [block[i] for block in (network.encoder[0], network.decoder[0]) for i in (0, 3, 6)]
    steps = [[int(np.sign(s)) * (n < abs(s)) for n in range(6)] for s in shift]
    for convolution, right, anterior in zip(convolutions, *steps, strict=True):
        convolution.weight.data[0, 0, 1 - right, 1 - anterior] = 1
    gate = 0.5 if architecture == "SEUNet" else 1.0  # a gate of zero weights halves: sigmoid(0)
    network.head.weight.data[0, 0] = slope / gate
    network.head.bias.data[:] = -slope * limit
    return network.eval()


def anatomy_network(ventricle_above=0.08, tissue_above=0.3, channel=0, channels=1):
    """UNet that reads anatomy off the scaled grey value of one channel: nothing, then ventricle, then white matter."""
    network = build({"architecture": "UNet", "in_channels": channels, "out_channels": len(ANATOMY_LABELS), "width": 1})
    silence(network)
    for block in (network.encoder[0], network.decoder[0]):
        for i in (0, 3, 6):
            block[i].weight.data[0, 0, 1, 1] = 1
    network.encoder[0][0].weight.data[0, :, 1, 1] = torch.eye(channels)[channel]
    network.head.bias.data[:] = -60
    ventricle, white = ANATOMY_LABELS.index("lateral_ventricles"), ANATOMY_LABELS.index("white_matter")
    network.head.bias.data[0] = 0
    network.head.weight.data[ventricle, 0] = 100
    network.head.bias.data[ventricle] = -100 * ventricle_above
    network.head.weight.data[white, 0] = 200
    network.head.bias.data[white] = -100 * (tissue_above + ventricle_above)
    return network.eval()


def silence(network):
    """All weights of the convolutions, gates and the head to 0; batch norms pass through."""
    for name, parameter in network.named_parameters():
        if not any(isinstance(m, torch.nn.BatchNorm2d) for n, m in network.named_modules() if name == f"{n}.weight"):
            parameter.data.zero_()


def write_bundle(folder, networks, description, task="wmh", labels=("lesion",), canvas=(64, 80), **changes):
    """A valid bundle with the given networks as its members; ``changes`` replace entries of its card."""
    folder.mkdir(parents=True, exist_ok=True)
    card = {
        "id": folder.name, "title": f"Tiny {task}", "version": "0.0.1", "task": task, "network": description,
        "inputs": ["FLAIR"], "preprocessing": {"in_plane_mm": PIXEL_MM, "canvas": list(canvas)},
        "labels": list(labels), "threshold": 0.5, "weights": [], "training": {"summary": "made by hand"},
        "scores": [], "licence": "Apache-2.0", "citation": [],
    }  # fmt: skip
    for i, network in enumerate(networks, 1):
        state = {k: v.half() if v.dtype == torch.float32 else v for k, v in network.state_dict().items()}
        content = save(state)
        (folder / f"member-{i}.safetensors").write_bytes(content)
        card["weights"].append(
            {
                "file": f"member-{i}.safetensors",
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        )
    write_card(folder, {**card, **changes})
    return folder


def write_card(folder, card):
    (folder / "model.json").write_text(json.dumps(card))


def write_random_bundle(folder, architecture, members=1, **changes):
    """A lesion bundle of small networks with random weights."""
    torch.manual_seed(0)
    description = {"architecture": architecture, "in_channels": 1, "out_channels": 1, "width": 4}
    return write_bundle(folder, [build(description).eval() for _ in range(members)], description, **changes)


def read_card(folder):
    return json.loads((folder / "model.json").read_text())


def write_models(folder, members=2):
    """Both bundles that ``csvd wmh`` needs, under their usual ids."""
    anatomy = {"architecture": "UNet", "in_channels": 1, "out_channels": len(ANATOMY_LABELS), "width": 1}
    lesions = {"architecture": "SEUNet", "in_channels": 1, "out_channels": 1, "width": 1}
    write_bundle(folder / "anatomy", [anatomy_network()], anatomy, task="anatomy", labels=ANATOMY_LABELS)
    write_bundle(folder / "wmh-hybrid", [threshold_network() for _ in range(members)], lesions)
    return folder


@dataclass(frozen=True)
class Ellipsoid:
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def holds(self, x, y, z):
        points = zip((x, y, z), self.centre, self.radii, strict=True)
        return sum(((p - c) / r) ** 2 for p, c, r in points) < 1


BRAIN = Ellipsoid((0, -12, 20), (48, 62, 44))
VENTRICLE = Ellipsoid((-10, -6, 22), (7, 20, 10))  # on the left
NEAR = Ellipsoid((-10, 18, 22), (4, 3, 5))  # 1 to 7 mm before the ventricle: periventricular
FAR = Ellipsoid((28, -30, 30), (6, 8, 7))  # on the right, more than 20 mm from the ventricle: deep
LEVELS = {"brain": 200, "ventricle": 60, "lesion": 340}


def sharp_head(shape=(80, 96, 26), spacing_mm=(PIXEL_MM, PIXEL_MM, 4.0), lesions=(NEAR, FAR), brain=BRAIN):
    """int16 FLAIR of a skull-stripped brain with one ventricle on its left and two lesions; edges one voxel sharp."""
    affine = oriented_affine((0, 1, 2), (1, 1, 1), spacing_mm, shape, centre_mm=(0, -12, 20))
    x, y, z = world(shape, affine)
    voxels = LEVELS["brain"] * (1 + 0.04 * np.sin(x / 5) * np.sin(y / 7 + 1) * np.sin(z / 6 + 2))
    voxels = np.where(VENTRICLE.holds(x, y, z), LEVELS["ventricle"], voxels)
    for lesion in lesions:
        voxels = np.where(lesion.holds(x, y, z), LEVELS["lesion"], voxels)
    return Image(np.rint(np.where(brain.holds(x, y, z), voxels, 0)).astype(np.int16), affine, "head.nii.gz")


def inside(ellipsoid, image):
    """Voxels of ``image`` whose centres the ellipsoid holds."""
    return ellipsoid.holds(*world(image.voxels.shape, image.affine))


def centroid_mm(mask, affine):
    return affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]


@functools.cache
def sample_scan():
    """The sample FLAIR and what the anatomy model finds in it."""
    flair = read_image(SAMPLE)
    return flair, find_anatomy(flair, device="cpu")[0]


def sample_slices():
    """Input of the lesion networks, (R, A, S), and the value of its empty voxels."""
    flair, anatomy = sample_scan()
    return slices_for(load_bundle("wmh-seunet"), flair, anatomy), BACKGROUND


def slices_for(bundle, flair, anatomy):
    """What the networks of ``bundle`` are shown of a scan, (R, A, S)."""
    grid, _ = slice_grid(flair, anatomy, bundle)
    return network_slices(*relative_slices(flair, anatomy, grid), bundle)


def ball_in(shape, centre, radii):
    """An ellipsoid in a volume of ``shape``, all in voxels: bool tensor."""
    square = sum(
        ((torch.arange(n).float() - c) / r).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2
        for axis, (n, c, r) in enumerate(zip(shape, centre, radii, strict=True))
    )
    return square < 1
