"""Published architectures, one file each. A network knows nothing of files, devices, preprocessing or training."""

from __future__ import annotations

# What pip is asked for where an architecture needs a package that the others do without: {import name: requirement}.
EXTRA_PACKAGES = {name: {"monai": "monai>=1.6.1"} for name in ("ResNet34UNet", "MOUNet", "UNet3D")}


def architectures() -> dict[str, type]:
    """Architectures by the name that a model bundle uses."""
    from .mounet import MOUNet
    from .plainconvunet import PlainConvUNet2d
    from .resnet34unet import ResNet34UNet
    from .seunet import SEUNet, UNet
    from .tiantan import TiantanCNN
    from .unet3d import UNet3D

    known = (SEUNet, UNet, ResNet34UNet, TiantanCNN, PlainConvUNet2d, MOUNet, UNet3D)
    return {network.__name__: network for network in known}


def build(description: dict):
    """``{"architecture": "SEUNet", "width": 16, ...}`` -> network. Raises KeyError for an unknown architecture."""
    parameters = dict(description)
    return architectures()[parameters.pop("architecture")](**parameters)
