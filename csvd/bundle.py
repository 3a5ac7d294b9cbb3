"""A model bundle: ``model.json`` (schema-checked), sha256 of every weight file, safetensors weights -> networks.

Weights are stored as fp16, or as int8 with a scale for each slice of their first axis (``<name>.scale``), and widened
to fp32 when loaded; a file may be packed by gzip. No pickle is ever read. Whatever is damaged, missing or not ours is a
``ModelError`` that names the file.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ModelError

if TYPE_CHECKING:
    from torch import nn

SCALE = ".scale"
PACKED = ".gz"
ROUNDING = 0.05  # of a slice: 3 slices of 1.01 mm make 3 mm
REINSTALL = "Install SmallVesselDisease again, or take the file from its release."


def model_folders() -> list[Path]:
    """Where bundles are looked for: ``$CSVD_MODELS``, a source checkout or extension, an installed wheel."""
    here = Path(__file__).resolve().parent.parent
    folders = [here / "Resources" / "Models", here / "csvd_models"]
    if own := os.environ.get("CSVD_MODELS"):
        folders.insert(0, Path(own))
    return [folder for folder in folders if folder.is_dir()]


def available_models() -> dict[str, Path]:
    """Folder of every bundle by its id; the first folder that has an id wins."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        for path in sorted(folder.iterdir()):
            if path.is_dir() and (path / "model.json").exists():
                found.setdefault(path.name, path)
    return found


@dataclass(frozen=True)
class Bundle:
    """A bundle whose ``model.json`` was read and checked; weight files are checked when ``networks`` reads them."""

    folder: Path
    card: dict

    @property
    def id(self) -> str:
        return self.card["id"]

    @property
    def threshold(self) -> float:
        return self.card.get("threshold", 0.5)

    @property
    def thresholds(self) -> dict[str, float]:
        """The threshold of every label; of models for several markers, each marker has its own."""
        return {label: self.card.get("thresholds", {}).get(label, self.threshold) for label in self.card["labels"]}

    @property
    def in_plane_mm(self) -> float | None:
        """Pixel size of the slices that the networks see; None where they see a ``matrix``."""
        return self.card["preprocessing"].get("in_plane_mm")

    @property
    def matrix(self) -> tuple[int, int] | None:
        """Pixels (R, A) of the slices that the networks see; None where their pixels have a fixed size."""
        return tuple(self.card["preprocessing"]["matrix"]) if self.in_plane_mm is None else None

    @property
    def rule(self) -> str | None:
        """How a slice is brought to the ``matrix``: ``resize`` or ``crop_or_resize``."""
        return self.card["preprocessing"].get("rule")

    @property
    def canvas(self) -> tuple[int, int]:
        """Smallest window (R, A) in pixels that the networks see; the ``matrix`` where there is one."""
        return self.matrix or tuple(self.card["preprocessing"]["canvas"])

    @property
    def intensity(self) -> str:
        """One of ``preprocessing.SCALINGS``, or ``hounsfield`` for CT."""
        return self.card["preprocessing"].get("intensity", "brain_median")

    @property
    def slice_mm(self) -> float | None:
        """To what thickness thinner slices of a CT are averaged; None where slices stay as they are."""
        return self.card["preprocessing"].get("slice_mm")

    def slices_averaged(self, spacing_mm: float) -> int:
        """How many slices so far apart networks that see in 3D see averaged: as many as fit into ``slab_mm``."""
        return max(1, int(self.card["preprocessing"].get("slab_mm", 0) / spacing_mm + ROUNDING))

    @property
    def white_hu(self) -> float | None:
        """To what HU the median of a CT's white matter is brought; None where its level stays as it is."""
        return self.card["preprocessing"].get("white_hu")

    @property
    def gaps_mm(self) -> float:
        """How wide gaps of the brain's mask networks that see in 3D see filled (``walk.without_gaps``)."""
        return self.card["preprocessing"].get("gaps_mm", 0.0)

    @property
    def beside_mm(self) -> float:
        """How far off the neighbouring slices are, about, that the anatomy network sees; 0: the next ones."""
        return self.card["preprocessing"].get("beside_mm", 0.0)

    @property
    def in_3d(self) -> bool:
        """Whether the networks see whole volumes (``inference_volume``) and not slices."""
        return self.card["network"]["architecture"] == "UNet3D"

    @property
    def mirrored_along(self) -> tuple[str, ...]:
        """Axes along which networks that see in 3D also see a volume mirrored (``inference_volume``)."""
        return tuple(self.card.get("mirrored_along", ()))

    @property
    def slices(self) -> int:
        """How many neighbouring slices the networks see at once (``inference.Predictor``)."""
        return self.card["network"].get("in_channels", 1)

    @property
    def skull_strip(self) -> bool:
        return self.card["preprocessing"].get("skull_strip", True)

    @property
    def members(self) -> int:
        """Networks that vote, those of other bundles too."""
        return sum(count for _, count in self.voters())

    def voters(self, members: int | None = None) -> list[tuple[Bundle, int]]:
        """This bundle and those that its card lets vote with it, each with how many of its networks take part.

        ``members`` takes only the first networks, this bundle's before the others'. Raises ModelError, also where the
        others see other pixels or slices.
        """
        chosen = []
        for bundle in (self, *map(load_bundle, self.card.get("votes_with", ()))):
            bundle.require(self.card["task"])
            if (bundle.in_plane_mm, bundle.slice_mm) != (self.in_plane_mm, self.slice_mm):
                known = f"{self.id} and {bundle.id} cannot vote together"
                raise ModelError(f"{known}: their pixels differ, or their slices. {REINSTALL}")
            count = len(bundle.card["weights"])
            count = count if members is None else min(count, members - sum(used for _, used in chosen))
            chosen += [(bundle, count)] * (count > 0)
        return chosen

    @property
    def provenance(self) -> dict:
        """What a result keeps of the model that made it."""
        return {
            "id": self.id,
            "version": self.card["version"],
            "sha256": [row["sha256"] for row in self.card["weights"]],
            "statement": self.card["training"].get("summary", ""),
        }

    def require(self, task: str) -> Bundle:
        """This bundle, if it is one for ``task``. Raises ModelError."""
        if self.card["task"] != task:
            raise ModelError(
                f"{self.folder / 'model.json'}: {self.id} is a model for {self.card['task']}, not for {task}. "
                "csvd models lists the models."
            )
        return self

    @property
    def missing_packages(self) -> list[str]:
        """What pip has to be asked for before this model can run."""
        from .networks import EXTRA_PACKAGES

        needed = {}
        for bundle, _ in self.voters():
            needed |= EXTRA_PACKAGES.get(bundle.card["network"]["architecture"], {})
        return [requirement for name, requirement in needed.items() if importlib.util.find_spec(name) is None]

    def networks(self, members: int | None = None) -> list[nn.Module]:
        """The first ``members`` networks of its own (all when None) in evaluation mode, on the CPU, fp32.

        Raises ModelError when a weight file is missing, damaged or does not fit the architecture, or when a package is
        not installed.
        """
        from safetensors.torch import load

        from .networks import EXTRA_PACKAGES, build

        networks = []
        for row in self.card["weights"][:members]:
            content = self.read_verified(row)
            try:
                network = build(self.card["network"])
                content = gzip.decompress(content) if row["file"].endswith(PACKED) else content
                network.load_state_dict(widened(load(content)))
            except (KeyError, TypeError) as error:
                raise ModelError(
                    f"{self.folder / 'model.json'}: unknown network {self.card['network']} ({error}). {REINSTALL}"
                ) from error
            except ImportError as error:
                needed = " ".join(EXTRA_PACKAGES.get(self.card["network"]["architecture"], {}).values())
                raise ModelError(
                    f"The model {self.id} needs a Python package that is not installed ({error}). "
                    f'Install it: pip install "{needed}"'
                ) from error
            except Exception as error:  # safetensors and torch raise their own kinds for foreign content
                raise ModelError(
                    f"{self.folder / row['file']}: the weights do not fit the network. {REINSTALL}"
                ) from error
            networks.append(network.eval().requires_grad_(False))
        return networks

    def read_verified(self, row: dict) -> bytes:
        """Bytes of one weight file once its size and sha256 agree with the card."""
        path = self.folder / row["file"]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(
                f"{path}: the model file is missing or unreadable ({error.strerror}). {REINSTALL}"
            ) from error
        if len(content) != row["bytes"] or hashlib.sha256(content).hexdigest() != row["sha256"]:
            raise ModelError(f"{path}: the model file is damaged (its checksum is wrong). {REINSTALL}")
        return content

    def verify(self) -> None:
        """Check every weight file and, where its packages are installed, build every network; raises ModelError."""
        if not self.missing_packages:
            self.networks()
            return
        for row in self.card["weights"]:
            self.read_verified(row)


def widened(stored: dict) -> dict:
    """Tensors of a weight file by name -> fp32, int8 times its scale."""
    scales = {name.removesuffix(SCALE): values for name, values in stored.items() if name.endswith(SCALE)}
    plain = {name: values.float() for name, values in stored.items() if not name.endswith(SCALE)}
    for name, scale in scales.items():
        plain[name] = plain[name] * scale.float().reshape(-1, *[1] * (plain[name].ndim - 1))
    return plain


def load_bundle(model: str | Path) -> Bundle:
    """Read the bundle with this id, or in this folder. Raises ModelError."""
    import jsonschema

    folder = Path(model)
    if not (folder / "model.json").exists():
        known = available_models()
        if str(model) not in known:
            raise ModelError(
                f"There is no model {str(model)!r}. Known models: {', '.join(known) or 'none'}. {REINSTALL}"
            )
        folder = known[str(model)]
    path = folder / "model.json"
    schema = json.loads((Path(__file__).parent / "model.schema.json").read_text(encoding="utf-8"))
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.validate(card, schema)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a readable model card ({error}). {REINSTALL}") from error
    except jsonschema.ValidationError as error:
        raise ModelError(f"{path}: not a valid model card ({error.json_path}: {error.message}). {REINSTALL}") from error
    return Bundle(folder, card)
