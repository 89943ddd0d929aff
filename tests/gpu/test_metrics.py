"""Metrics on a GPU, against torch-fidelity and against the CPU."""

from pathlib import Path

import pytest
import torch
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from gantrain.metrics.features import InceptionFeatures
from gantrain.metrics.fid import FIDMetric, fid_of_halves, frechet_distance, moments_of, reference_of
from gantrain.metrics.inception import InceptionWeights, find_inception_weights
from gantrain.metrics.kid import kid, kid_of_resamples
from gantrain.metrics.metric import IMAGES
from gantrain.metrics.prdc import density_and_coverage, precision_and_recall
from gantrain.metrics.registry import make_metrics
from tests.gpu.needs import GPU, NEEDS_GPU
from tests.metrics.contexts import context_of
from tests.metrics.test_inception import Images, some_images

pytestmark = NEEDS_GPU


@pytest.fixture
def weights(inception_file: Path) -> InceptionWeights:
    return find_inception_weights(str(inception_file))


def eager(features: InceptionFeatures) -> InceptionFeatures:
    """Turns CUDA graphs off."""
    features._forward._captures = False
    return features


@pytest.mark.inception
@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_fid_on_the_gpu_equals_torch_fidelitys_with_and_without_graphs(place: str, weights: InceptionWeights) -> None:
    one, other = some_images(250, seed=0), some_images(250, seed=1) // 2
    features = InceptionFeatures(weights, batch_size=64, device=GPU)  # three full batches and one of 58
    metric = FIDMetric(context_of(one, inception=features, bootstrap=20))
    theirs = calculate_metrics(
        input1=Images(other),
        input2=Images(one),
        cuda=True,
        fid=True,
        batch_size=64,
        feature_extractor_weights_path=str(weights.path),
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    (value,) = metric.measure(other.to(place), None)
    fid = value.value
    wanted = theirs["frechet_inception_distance"]
    assert len(features._forward._graphs) == 1, "one graph of full batches"
    assert features.protocol["precision"] == ("tf32" if torch.backends.cudnn.allow_tf32 else "float32")
    assert value.interval is not None
    assert value.interval[0] < fid < value.interval[1]
    assert fid == pytest.approx(wanted, rel=1e-3, abs=1e-2)  # both in TF32, with different kernels
    assert fid > 1
    without = eager(InceptionFeatures(weights, batch_size=64, device=GPU))
    (again,) = FIDMetric(context_of(one, inception=without)).measure(other, None)
    assert again.value == pytest.approx(fid, abs=1e-3)
    assert not without._forward._graphs


@pytest.mark.inception
def test_images_and_features_stay_on_the_gpu_for_fid_and_kid(
    weights: InceptionWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = InceptionFeatures(weights, batch_size=32, device=GPU)
    one, other = some_images(70, seed=0), (some_images(70, seed=1) // 2).to(GPU)
    metrics = make_metrics(("fid", "kid"), context_of(one, inception=features), IMAGES)
    moved = []
    to, cpu = torch.Tensor.to, torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: moved.append(tensor.shape) or cpu(tensor))
    monkeypatch.setattr(
        torch.Tensor,
        "to",
        lambda tensor, *words, **named: moved.append(tensor.shape) or to(tensor, *words, **named),
    )
    for metric in metrics:
        metric.measure(other, None)
    monkeypatch.undo()
    assert features.features(other).device == GPU
    moments = moments_of(features.features(other))
    assert moments.covariance.device == GPU
    left = {tuple(shape) for shape in moved if shape[:1] == (len(other),)}
    assert not left, f"{left} were moved"


@pytest.mark.inception
def test_features_on_the_gpu_equal_those_of_the_plain_extractor(weights: InceptionWeights) -> None:
    images = some_images(40, seed=2).to(GPU)
    plain = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights.path)
    ).to(GPU)
    tf32 = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = False
        with torch.no_grad():
            (wanted,) = plain(images)
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
    for precision, tolerance in (("float32", 1e-5), ("auto", 1e-2), ("bf16", 0.1)):
        features = InceptionFeatures(weights, batch_size=16, device=GPU, precision=precision)
        found = features.features(images)
        assert torch.backends.cudnn.allow_tf32 == tf32
        error = float((found - wanted).norm() / wanted.norm())
        assert error < tolerance, precision
        assert features.protocol["precision"] == {"float32": "float32", "auto": "tf32", "bf16": "bf16"}[precision]


@pytest.mark.inception
def test_other_inception_metrics_on_the_gpu_equal_those_on_the_cpu(weights: InceptionWeights) -> None:
    names = ("kid", "precision", "recall", "density", "coverage")
    features = InceptionFeatures(weights, batch_size=32, device=GPU)
    one, other = some_images(60, seed=0), some_images(60, seed=1)
    metrics = make_metrics(names, context_of(one, "random", inception=features, bootstrap=20), IMAGES)
    found = {value.name: value for metric in metrics for value in metric.measure(other, None)}
    x, real = features.features(other).cpu(), features.of_reference(one, "random").cpu()
    assert found["kid"].value == pytest.approx(kid(x, real)[0], rel=1e-6)
    theirs = kid_features_to_metric(x.double(), real.double(), kid_subset_size=60, verbose=False)
    assert found["kid"].value == pytest.approx(theirs[KEY_METRIC_KID_MEAN], rel=1e-6, abs=1e-9)
    assert (found["precision"].value, found["recall"].value) == pytest.approx(precision_and_recall(x, real))
    density, coverage = (float(values.mean()) for values in density_and_coverage(x, real))
    assert (found["density"].value, found["coverage"].value) == pytest.approx((density, coverage), abs=0.05)
    resamples = kid_of_resamples(x.to(GPU), real.to(GPU), 20)
    assert resamples == pytest.approx(kid_of_resamples(x, real, 20), rel=1e-6, abs=1e-9)


def test_moments_and_fid_on_the_gpu_equal_those_on_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    real, x = (torch.randn(count, 300, generator=generator).relu() + shift for count, shift in ((900, 0), (500, 0.1)))
    on_gpu, on_cpu = moments_of(x.to(GPU)), moments_of(x)
    torch.testing.assert_close(on_gpu.covariance.cpu(), on_cpu.covariance, rtol=1e-9, atol=1e-12)
    reference = reference_of(moments_of(real))
    wanted = frechet_distance(on_cpu, reference)
    assert frechet_distance(on_gpu, reference.to(GPU)) == pytest.approx(wanted, rel=1e-9)
    halves = fid_of_halves(x.to(GPU), reference.to(GPU), 3)
    assert halves == pytest.approx(fid_of_halves(x, reference, 3), rel=1e-6)
