"""Published architectures, one file each. A network knows nothing of files, devices, preprocessing or training."""

from __future__ import annotations


def architectures() -> dict[str, type]:
    """Architectures by the name that a model bundle uses."""
    from .seunet import SEUNet, UNet

    return {"SEUNet": SEUNet, "UNet": UNet}


def build(description: dict):
    """``{"architecture": "SEUNet", "width": 16, ...}`` -> network. Raises KeyError for an unknown architecture."""
    parameters = dict(description)
    return architectures()[parameters.pop("architecture")](**parameters)
