"""A model bundle is loaded whole and unharmed, or refused with the name of the file and exit status 3; nothing is
unpickled."""

import gzip
import hashlib
import json
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from tiny_models import (
    read_card,
    requires_models,
    requires_monai,
    threshold_network,
    write_bundle,
    write_card,
    write_models,
    write_random_bundle,
)

import csvd.bundle
from csvd.bundle import available_models, load_bundle, model_folders
from csvd.cli import main
from csvd.errors import ModelError

DESCRIPTION = {"architecture": "SEUNet", "in_channels": 1, "out_channels": 1, "width": 2}


@pytest.fixture
def bundle(tmp_path):
    """Folder of a good bundle with two members of random weights."""
    torch.manual_seed(0)
    networks = [csvd.networks.build(DESCRIPTION) for _ in range(2)]
    return write_bundle(tmp_path / "tiny", networks, DESCRIPTION)


def put(folder, content, name="member-1.safetensors"):
    """Replace a weight file and make the card agree with it, as someone who wants us to load it would."""
    (folder / name).write_bytes(content)
    card = read_card(folder)
    row = next(row for row in card["weights"] if row["file"] == name)
    row.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    write_card(folder, card)


def test_weights_are_stored_in_16_bits_and_used_in_32(bundle):
    torch.manual_seed(0)
    original = csvd.networks.build(DESCRIPTION).state_dict()
    network = load_bundle(bundle).networks()[0]
    assert not network.training
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            assert value.dtype == torch.float32
            assert torch.equal(value, original[name].half().float())
    assert not any(p.requires_grad for p in network.parameters())


def test_kernels_stored_in_8_bits_come_back_within_half_a_step_of_their_slice(bundle):
    ship = pytest.importorskip("training.ship", reason="training is not beside the tests")
    kernel, bias = torch.randn(3, 4, 5, 5), torch.randn(3)
    kernel[1] *= 100  # each slice has steps of its own
    kernel[2] = 0
    stored = load(save(ship.narrowed({"kernel": kernel, "bias": bias}, 31)))
    assert stored["kernel"].dtype == torch.int8
    assert stored["kernel"].abs().amax((1, 2, 3)).tolist() == [31, 31, 0]
    used = csvd.bundle.widened(stored)
    assert set(used) == {"kernel", "bias"}
    step = kernel.abs().amax((1, 2, 3)) / 31
    assert ((used["kernel"] - kernel).abs().amax((1, 2, 3)) <= 0.5001 * step).all()
    assert torch.equal(used["bias"], bias.half().float())
    put(bundle, save(ship.narrowed(csvd.networks.build(DESCRIPTION).state_dict(), 127)))
    assert len(load_bundle(bundle).networks(1)) == 1


def test_packed_weights_are_those_that_were_packed(bundle):
    card = read_card(bundle)
    plain = load_bundle(bundle).networks()
    for row in card["weights"]:
        content = gzip.compress((bundle / row["file"]).read_bytes())
        row.update(file=row["file"] + ".gz", bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        (bundle / row["file"]).write_bytes(content)
    write_card(bundle, card)
    for unpacked, network in zip(load_bundle(bundle).networks(), plain, strict=True):
        assert all(map(torch.equal, unpacked.state_dict().values(), network.state_dict().values()))
    (bundle / card["weights"][0]["file"]).write_bytes(cut := content[:-9])
    card["weights"][0].update(bytes=len(cut), sha256=hashlib.sha256(cut).hexdigest())
    write_card(bundle, card)
    with pytest.raises(ModelError, match=r"member-1\.safetensors\.gz: the weights do not fit"):
        load_bundle(bundle).networks()


def test_a_bundle_tells_what_a_pipeline_needs_to_know(bundle):
    loaded = load_bundle(bundle)
    assert (loaded.id, loaded.threshold, loaded.in_plane_mm, loaded.canvas) == ("tiny", 0.5, 1.5, (64, 80))
    assert loaded.members == 2
    assert loaded.provenance["sha256"] == [
        hashlib.sha256((bundle / f"member-{n}.safetensors").read_bytes()).hexdigest() for n in (1, 2)
    ]


def test_without_a_word_on_intensities_the_brain_alone_is_divided_by_its_median(bundle):
    loaded = load_bundle(bundle)
    assert (loaded.matrix, loaded.rule, loaded.intensity, loaded.skull_strip) == (None, None, "brain_median", True)


VUNO = {"matrix": [256, 256], "rule": "resize", "intensity": "min_max_255", "skull_strip": True}
TIANTAN = {"matrix": [384, 384], "rule": "crop_or_resize", "intensity": "z_score", "skull_strip": False}


@pytest.mark.parametrize("preprocessing", [VUNO, TIANTAN], ids=["VUNO", "Tiantan"])
def test_a_bundle_with_a_matrix_tells_how_slices_become_it(bundle, preprocessing):
    write_card(bundle, read_card(bundle) | {"preprocessing": preprocessing})
    loaded = load_bundle(bundle)
    assert loaded.in_plane_mm is None
    assert loaded.canvas == loaded.matrix == tuple(preprocessing["matrix"])
    told = {"rule": loaded.rule, "intensity": loaded.intensity, "skull_strip": loaded.skull_strip}
    assert told == {name: preprocessing[name] for name in told}


@pytest.fixture
def resnet(tmp_path):
    return load_bundle(write_random_bundle(tmp_path / "models" / "resnet", "ResNet34UNet"))


@pytest.fixture
def without_monai(monkeypatch):
    """Python as it is where MONAI was never installed."""
    for name in [name for name in sys.modules if name.split(".")[0] == "monai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "monai", None)


@requires_monai
def test_a_model_whose_package_is_not_installed_says_how_to_install_it(resnet, without_monai, monkeypatch, capsys):
    with pytest.raises(ModelError, match=r'model resnet needs .*: pip install "monai>=1\.6\.1"$'):
        resnet.networks()
    # The others can still be listed and used, and its own files are checked.
    write_models(resnet.folder.parent)
    monkeypatch.setattr(csvd.bundle, "model_folders", lambda: [resnet.folder.parent])
    assert main(["models"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert ["needs monai>=1.6.1" in line for line in told] == [False, True, False]
    (resnet.folder / "member-1.safetensors").write_bytes(b"these are not its weights")
    assert main(["models"]) == 3


def test_only_as_many_members_are_read_as_are_asked_for(bundle):
    (bundle / "member-2.safetensors").unlink()
    assert len(load_bundle(bundle).networks(1)) == 1
    with pytest.raises(ModelError, match=r"member-2\.safetensors"):
        load_bundle(bundle).networks()


def flip_a_byte(folder):
    path = folder / "member-2.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(folder):
    path = folder / "member-2.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def lose_a_member(folder):
    (folder / "member-2.safetensors").unlink()


def put_a_folder_in_its_place(folder):
    lose_a_member(folder)
    (folder / "member-2.safetensors").mkdir()


def put_text(folder):
    put(folder, b"these are not weights", "member-2.safetensors")


def put_a_torch_checkpoint(folder):
    path = folder / "checkpoint.pt"
    torch.save(threshold_network().state_dict(), path)
    put(folder, path.read_bytes(), "member-2.safetensors")


def put_weights_of_another_width(folder):
    other = write_bundle(folder / "other", [threshold_network(width=4)], DESCRIPTION)
    put(folder, (other / "member-1.safetensors").read_bytes(), "member-2.safetensors")


DAMAGE = [
    *(flip_a_byte, truncate, lose_a_member, put_a_folder_in_its_place),
    *(put_text, put_a_torch_checkpoint, put_weights_of_another_width),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_or_foreign_weights_are_refused_by_name(bundle, damage, monkeypatch, capsys):
    damage(bundle)
    with pytest.raises(ModelError, match=r"member-2\.safetensors") as refused:
        load_bundle(bundle).verify()
    assert str(bundle) in str(refused.value)
    monkeypatch.setattr(csvd.bundle, "model_folders", lambda: [bundle.parent])
    assert main(["models"]) == 3
    assert "member-2.safetensors" in capsys.readouterr().err


def change(**entries):
    return lambda card: card.update(entries)


BAD_CARDS = {
    "no id": lambda card: card.pop("id"),
    "a version that is no version": change(version="new"),
    "a task nobody knows": change(task="diagnosis"),
    "no weights": change(weights=[]),
    "an entry nobody knows": change(hidden=1),
    "a weight file outside the folder": lambda card: card["weights"][0].update(file="../member-1.safetensors"),
    "a pickle as weight file": lambda card: card["weights"][0].update(file="member-1.pt"),
    "a threshold of 1": change(threshold=1),
    "a pixel size of 0": lambda card: card["preprocessing"].update(in_plane_mm=0),
    "a pixel size without a canvas": lambda card: card["preprocessing"].pop("canvas"),
    "a pixel size and a matrix": lambda card: card["preprocessing"].update(VUNO),
    "a matrix without a rule": lambda card: card.update(preprocessing={"matrix": [256, 256]}),
    "a rule nobody knows": lambda card: card.update(preprocessing=VUNO | {"rule": "stretch"}),
    "an intensity nobody knows": lambda card: card["preprocessing"].update(intensity="histogram"),
    "a FLAIR model with Hounsfield units": lambda card: card["preprocessing"].update(intensity="hounsfield"),
    "a FLAIR model that averages slices": lambda card: card["preprocessing"].update(slice_mm=5),
    "a FLAIR model with a level in Hounsfield units": lambda card: card["preprocessing"].update(white_hu=32),
    "a CT model without its slices": lambda card: card.update(
        task="leukoaraiosis", preprocessing=card["preprocessing"] | {"intensity": "hounsfield"}
    ),
    "a CT model of whole heads": lambda card: card.update(
        task="leukoaraiosis",
        preprocessing=card["preprocessing"] | {"intensity": "hounsfield", "slice_mm": 5, "skull_strip": False},
    ),
    "an anatomy model with an intensity": lambda card: card.update(
        task="anatomy", preprocessing=card["preprocessing"] | {"intensity": "z_score"}
    ),
    "an anatomy model on a matrix": lambda card: card.update(task="anatomy", preprocessing=VUNO),
    "a FLAIR model with slices beside": lambda card: card["preprocessing"].update(beside_mm=4),
    "slabs of a network that sees slices": lambda card: card["preprocessing"].update(slab_mm=3),
    "slices mirrored as a volume is": change(mirrored_along=["S"]),
    "a width of 0": lambda card: card["network"].update(width=0),
    "an architecture nobody knows": lambda card: card["network"].update(architecture="Transformer"),
    "a parameter nobody knows": lambda card: card["network"].update(depth=5),
}


@pytest.mark.parametrize("spoil", BAD_CARDS.values(), ids=BAD_CARDS)
def test_a_card_that_breaks_the_schema_or_names_a_foreign_network_is_refused(bundle, spoil, monkeypatch, capsys):
    card = read_card(bundle)
    spoil(card)
    write_card(bundle, card)
    monkeypatch.setattr(csvd.bundle, "model_folders", lambda: [bundle.parent])
    assert main(["models"]) == 3
    message = capsys.readouterr().err
    assert str(bundle / "model.json") in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"[" * 100_000], ids=lambda c: repr(c[:4]))
def test_a_card_that_is_not_json_is_refused(bundle, content):
    (bundle / "model.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.json"):
        load_bundle(bundle)


def test_an_unknown_model_is_told_what_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("CSVD_MODELS", str(write_models(tmp_path)))
    with pytest.raises(ModelError, match=r"no model 'ct'.*anatomy, wmh-hybrid"):
        load_bundle("ct")


def test_no_model_at_all_is_exit_status_3(monkeypatch, capsys):
    monkeypatch.setattr(csvd.bundle, "model_folders", list)
    assert main(["models"]) == 3
    assert "No model was found" in capsys.readouterr().err


def test_the_folder_named_by_csvd_models_goes_before_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setattr(csvd.bundle, "__file__", str(tmp_path / "shipped" / "csvd" / "bundle.py"))
    monkeypatch.delenv("CSVD_MODELS", raising=False)
    shipped = write_models(tmp_path / "shipped" / "Resources" / "Models")
    assert available_models() == {name: shipped / name for name in ("anatomy", "wmh-hybrid")}
    own = tmp_path / "own"
    shutil.copytree(shipped / "wmh-hybrid", own / "wmh-hybrid")
    monkeypatch.setenv("CSVD_MODELS", str(own))
    assert model_folders() == [own, shipped]
    assert available_models() == {"wmh-hybrid": own / "wmh-hybrid", "anatomy": shipped / "anatomy"}


def test_an_installed_wheel_finds_the_models_beside_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(csvd.bundle, "__file__", str(tmp_path / "csvd" / "bundle.py"))
    monkeypatch.delenv("CSVD_MODELS", raising=False)
    write_models(tmp_path / "csvd_models")
    assert set(available_models()) == {"anatomy", "wmh-hybrid"}


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "opened"))


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_no_pickle_is_ever_opened(bundle, tmp_path, how):
    trap = Trap(tmp_path / "sprung")
    if how == "pickle":
        content = pickle.dumps(trap)
    else:
        torch.save({"weight": trap}, tmp_path / "trap.pt")
        content = (tmp_path / "trap.pt").read_bytes()
    put(bundle, content)
    with pytest.raises(ModelError, match=r"member-1\.safetensors"):
        load_bundle(bundle).verify()
    assert not trap.path.exists()
    pickle.loads(pickle.dumps(trap))
    assert trap.path.exists(), "the trap itself does not work"


@requires_models
def test_the_shipped_models_are_intact_and_say_what_they_were_trained_on():
    ids = available_models()
    for model in ("anatomy", "wmh-hybrid"):
        bundle = load_bundle(ids[model])
        bundle.verify()
        assert bundle.id == model
        assert bundle.card["training"]["summary"]
        assert bundle.card["limits"]
    size = sum(path.stat().st_size for folder in ids.values() for path in folder.iterdir())
    assert size < 60e6


def test_the_schema_is_json_and_forbids_what_it_does_not_know():
    schema = json.loads(Path(csvd.bundle.__file__).with_name("model.schema.json").read_text())
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("setting", ["gaps_mm", "beside_mm"])
def test_networks_see_gaps_filled_and_slices_beside_as_they_learned_it(setting):
    for id in available_models():
        card = load_bundle(id).card
        learned = [run["settings"].get(setting, 0) for run in card["training"].get("runs", ())[-1:]]
        assert learned in ([], [card["preprocessing"].get(setting, 0)])
