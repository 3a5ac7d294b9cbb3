"""One measured prediction of leukoaraiosis in a process of its own; prints one line of JSON, writes the mask.

ct_run.py csvd STACK MASK      our Predictor
ct_run.py nnunet STACK MASK    nnU-Net's own predictor with the same weights, window, mirroring, neighbouring slices

STACK is a .npy of brain slices in HU, (R, A, S) float32, exactly as large as the window that the network was trained
with, in air: so nnU-Net neither crops nor pads and both see the same pixels. Only the prediction is timed.
"""

import json
import os
import sys
import time

import numpy as np
import torch
from one_run import memory_mb

from csvd.bundle import Bundle, load_bundle
from csvd.inference import Predictor
from csvd.preprocessing import BACKGROUNDS, BRAIN_HU, SPREAD_HU, WINDOW_HU, hounsfield_window

MODEL = "leukoaraiosis-nnunet"


def csvd_predictor(bundle: Bundle):
    predictor = Predictor(bundle.networks(), bundle.canvas, "cpu", mirror=True, slices=bundle.slices)
    background = BACKGROUNDS[bundle.intensity]
    return lambda stack: predictor(hounsfield_window(stack), background) >= 0.5


def nnunet_predictor(bundle: Bundle):
    """nnU-Net's predictor over its own PlainConvUNet, told by a plan what our card says."""
    for folder in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(folder, os.devnull)  # it asks for them when it is loaded, and needs none to predict
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    spacing = [bundle.slice_mm, bundle.in_plane_mm, bundle.in_plane_mm]
    plans = PlansManager(plan(bundle, spacing))
    configuration = plans.get_configuration("2d")
    network = get_network_from_plans(
        configuration.network_arch_class_name, configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import, bundle.slices, 1, deep_supervision=False,
    )  # fmt: skip
    give_weights(bundle.networks()[0], network)
    predictor = nnUNetPredictor(
        use_mirroring=True, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    labels = {
        "channel_names": {str(channel): "CT" for channel in range(bundle.slices)},
        "labels": {"background": 0, "leukoaraiosis": [1, 2]},  # of two labels, as one alone would get a softmax
        "regions_class_order": [1],
        "file_ending": ".nii.gz",
    }
    predictor.manual_initialization(
        network, plans, configuration, [network.state_dict()], labels, "nnUNetTrainer", (0,)
    )

    def predict(stack: np.ndarray) -> np.ndarray:
        last = stack.shape[2] - 1  # at either end it stands for what is beyond
        beside = (np.arange(last + 1) + channel - bundle.slices // 2 for channel in range(bundle.slices))
        image = np.stack([stack[..., near.clip(0, last)].transpose(2, 0, 1) for near in beside])
        mask = predictor.predict_single_npy_array(image, {"spacing": spacing}, None, None, False)
        return mask.transpose(1, 2, 0) > 0

    return predict


def plan(bundle: Bundle, spacing: list[float]) -> dict:
    """What nnU-Net keeps in plans.json. Its CT normalisation with these percentiles is our window."""
    network = bundle.card["network"]
    stages = len(network["features"])
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    window = {"percentile_00_5": WINDOW_HU[0], "percentile_99_5": WINDOW_HU[1], "mean": BRAIN_HU, "std": SPREAD_HU}
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": network["features"],
            "conv_op": "torch.nn.modules.conv.Conv2d",
            "kernel_sizes": [[3, 3]] * stages,
            "strides": [[1, 1]] + [[2, 2]] * (stages - 1),
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    return {
        "dataset_name": "Dataset001_leukoaraiosis",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): window for channel in range(bundle.slices)},
        "configurations": {
            "2d": {
                "data_identifier": "nnUNetPlans_2d",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 12,
                "patch_size": list(bundle.canvas),
                "spacing": spacing[1:],
                "normalization_schemes": ["CTNormalization"] * bundle.slices,
                "use_mask_for_norm": [False] * bundle.slices,
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_seg_kwargs": resampling | {"is_seg": True, "order": 1},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
                "architecture": architecture,
                "batch_dice": True,
            }
        },
    }


def give_weights(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    """Our weights into nnU-Net's network: the same layers in the same order under other names."""
    places = (("encoder", theirs.encoder), ("up", theirs.decoder.transpconvs), ("decoder", theirs.decoder.stages),
              ("heads", theirs.decoder.seg_layers))  # fmt: skip
    with torch.no_grad():
        for name, place in places:
            for source, target in zip(getattr(ours, name).parameters(), place.parameters(), strict=True):
                target.copy_(source)


def main() -> None:
    which, stack_path, mask_path = sys.argv[1:]
    bundle, stack = load_bundle(MODEL), np.load(stack_path)
    predict = {"csvd": csvd_predictor, "nnunet": nnunet_predictor}[which](bundle)
    predict(stack[:, :, :1])  # loads what is loaded late
    before_mb, started = memory_mb("VmHWM"), time.perf_counter()
    mask = predict(stack)
    seconds = time.perf_counter() - started
    np.save(mask_path, mask)
    print(json.dumps({"seconds": seconds, "before_mb": before_mb, "peak_mb": memory_mb("VmHWM")}))


if __name__ == "__main__":
    main()
