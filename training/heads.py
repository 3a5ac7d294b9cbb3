"""Heads to draw from: label maps and real lesion shapes, turned once into compact volumes that a generator samples.

Label maps are FreeSurfer-style, 1 mm (BBillot/SynthSeg, Apache-2.0); lesion shapes are the consensus masks of Lesjak et
al. (Neuroinformatics 2017, CC BY) in MNI space. Neither is part of this repository: ``--data`` names the folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage

TISSUES = json.loads((Path(__file__).parent / "tissues.json").read_text(encoding="utf-8"))
CODE = {name: code for code, name in enumerate(TISSUES)}
BRAIN = [CODE[t] for t, row in TISSUES.items() if row["anatomy"] not in ("background", "csf")]
HEAD = [CODE[t] for t, row in TISSUES.items() if row.get("head")]
ANATOMY = ("background", "white_matter", "cortex", "lateral_ventricles", "third_ventricle", "fourth_ventricle")
ANATOMY += ("deep_grey", "brain_stem", "cerebellum", "csf")
ANATOMY_OF_CODE = torch.tensor([ANATOMY.index(row["anatomy"]) for row in TISSUES.values()])

STEP_MM = 0.2  # distances are stored as bytes in steps of .2 mm, so up to 51 mm
MARGIN_MM = 12  # kept around the brain in the crop: scalp and skull must be in the picture
VALIDATION = ("07", "19", "26")  # the real FLAIRs that judge the models: their lesions are never drawn


@dataclass
class Head:
    """One head on a 1 mm RAS grid; all volumes are tensors of shape (X, Y, Z), uint8 but for the picture."""

    name: str
    tissue: torch.Tensor  # codes into TISSUES
    ventricle_mm: torch.Tensor  # distance to the lateral ventricles, in STEP_MM
    cortex_mm: torch.Tensor  # distance to the nearest cortex or outer fluid, in STEP_MM
    lesion: torch.Tensor  # the map's own lesion label, softened, 0..255; of a real scan, the teacher's probability
    brain_box: tuple[tuple[int, int], ...]  # first and last brain voxel along each axis
    image: torch.Tensor | None = None  # float16: the picture over its brain median, where this is a real scan

    def to(self, device: torch.device) -> Head:
        volumes = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, torch.Tensor)}
        return replace(self, **volumes)

    @property
    def centre(self) -> torch.Tensor:
        return torch.tensor([(a + b) / 2 for a, b in self.brain_box])


def read_ras(path: Path) -> np.ndarray:
    """Voxels of a 1 mm image as (R, A, S)."""
    return sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")).transpose(2, 1, 0)


def brain_box(brain: np.ndarray) -> tuple[tuple[int, int], ...]:
    return tuple((int(s.start), int(s.stop) - 1) for s in ndimage.find_objects(brain.astype(np.uint8))[0])


def soften(mask: np.ndarray) -> np.ndarray:
    """A mask as a smooth byte field whose .5 level is its outline, so that warped lesions keep soft edges."""
    return np.clip(ndimage.gaussian_filter(mask.astype(np.float32), 0.7) * 255, 0, 255).astype(np.uint8)


def distance_bytes(target: np.ndarray) -> np.ndarray:
    distance = ndimage.distance_transform_edt(~target) / STEP_MM
    return np.clip(distance, 0, 255).astype(np.uint8)


def prepare_head(path: Path) -> dict[str, np.ndarray]:
    labels = read_ras(path).astype(np.int32)
    lookup = np.zeros(1024, np.uint8)
    for code, row in enumerate(TISSUES.values()):
        lookup[row["labels"]] = code
    tissue = lookup[labels]
    box = brain_box(np.isin(tissue, BRAIN))
    pad = (MARGIN_MM + 25, MARGIN_MM + 25, MARGIN_MM)
    crop = tuple(slice(max(a - p, 0), b + p + 1) for (a, b), p in zip(box, pad, strict=True))
    tissue, labels = tissue[crop], labels[crop]
    inner = tuple(slice(a, b + 1) for a, b in brain_box(np.isin(tissue, BRAIN)))
    ventricle = np.full(tissue.shape, 255, np.uint8)
    cortex = np.zeros(tissue.shape, np.uint8)
    ventricle[inner] = distance_bytes(np.isin(tissue[inner], [CODE["lateral_ventricle"], CODE["choroid_plexus"]]))
    cortex[inner] = distance_bytes(np.isin(tissue[inner], [CODE["cortex"], CODE["csf"]]))
    # The maps have no septum pellucidum or fornix: it is the white matter that lies between both lateral ventricles.
    left, right = (ndimage.binary_dilation(labels[inner] == side, iterations=4) for side in (4, 43))
    septum = left & right & np.isin(tissue[inner], [CODE["white_matter"], CODE["lesion"]])
    tissue[inner][septum & (cortex[inner] > 2 / STEP_MM)] = CODE["septum"]
    lesion = np.zeros(tissue.shape, np.uint8)
    lesion[inner] = soften(tissue[inner] == CODE["lesion"])
    return {"tissue": tissue, "ventricle_mm": ventricle, "cortex_mm": cortex, "lesion": lesion}


def load_heads(data: Path, cache: Path, exclude: tuple[str, ...] = ()) -> list[Head]:
    """All heads of ``data/label_maps``, prepared on first use and memory-mapped from ``cache``."""
    heads = []
    for path in sorted((data / "label_maps").glob("training_seg_*.nii.gz")):
        name = path.name[len("training_seg_") : -len(".nii.gz")]
        folder = cache / name
        if not folder.exists():
            partial = cache / (name + ".partial")
            partial.mkdir(parents=True, exist_ok=True)
            for key, array in prepare_head(path).items():
                np.save(partial / f"{key}.npy", array)
            partial.rename(folder)
        if name in exclude:
            continue
        volumes = {
            key: torch.from_numpy(np.load(folder / f"{key}.npy", mmap_mode="c"))
            for key in ("tissue", "ventricle_mm", "cortex_mm", "lesion")
        }
        brain = np.isin(np.load(folder / "tissue.npy", mmap_mode="r"), BRAIN)
        heads.append(Head(name, **volumes, brain_box=brain_box(brain)))
    return heads


def load_lesion_shapes(data: Path) -> tuple[list[torch.Tensor], tuple[tuple[int, int], ...]]:
    """Softened real lesion masks in MNI (R, A, S) order, validation patients left out, and MNI's own brain box.

    The brain box comes from the MARS regions in the same space, so a shape is carried into a head by fitting
    box to box; what then falls outside white matter is dropped by the generator.
    """
    shapes = []
    for path in sorted((data / "lesion_masks_mni").glob("patient*.nii.gz")):
        if path.name[len("patient") : len("patient") + 2] not in VALIDATION:
            shapes.append(torch.from_numpy(soften(read_ras(path) > 0)))
    regions = read_ras(next((data / "mars_atlas").glob("*.nii.gz")))
    return shapes, brain_box(regions > 0)
