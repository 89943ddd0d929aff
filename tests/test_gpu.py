"""What only a GPU can show; `make gpu-test`, and the first part of `make gpu-check`."""

import copy
import subprocess
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from gantrain import builders
from gantrain.builders.device import arithmetic
from gantrain.commands import evaluate, sample
from gantrain.evidence.features import InceptionFeatures
from gantrain.evidence.fidelity import InceptionMetric
from gantrain.evidence.frechet import fid_of_halves, frechet_distance, moments_of, reference_of
from gantrain.evidence.inception import InceptionWeights, find_inception_weights
from gantrain.evidence.kernel import kid, kid_of_resamples
from gantrain.evidence.manifold import density_and_coverage, precision_and_recall
from gantrain.evidence.measurement import Measurement
from gantrain.evidence.modes import ModesMetric
from gantrain.logs.records import find_runs, read_run
from gantrain.logs.rows import read_rows
from gantrain.networks import in_parts, make_networks, power_iterate, shared_spectral_norm
from gantrain.objectives import DISCRIMINATOR_NAMES, generators_for, make_objective
from gantrain.sweeps.job import forget
from gantrain.training.checkpoint import load_checkpoint
from gantrain.training.executors import Graphed
from gantrain.training.iteration import Iteration, Variant, eagerly
from gantrain.training.trainer import Trainer
from tests.conftest import TINY, compose
from tests.evidence.test_inception import Images, some_images
from tests.faults.test_long_runs import MOST, growth, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device"),
    # libraries of a GPU machine's own PyTorch warn of things that gantrain does not decide
    pytest.mark.filterwarnings("default"),
]


@pytest.mark.parametrize("autocast", [False, True])
def test_losses_are_those_of_the_cpu(autocast: bool) -> None:
    real, fake = torch.linspace(-1.5, 20, 64), torch.linspace(-1.8, 6, 64)
    for disc in DISCRIMINATOR_NAMES:
        for gen in generators_for(disc):
            orders = {"alpha_disc": 0.3} if disc == "alpha" else {}
            orders |= {"alpha_gen": 1.4} if gen == "alpha" else {}
            objective = make_objective(disc, gen, **orders)
            for loss in (objective.discriminator_loss, lambda r, f, o=objective: o.generator_loss(f, real_logits=r)):
                with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
                    found = loss(real.cuda(), fake.cuda())
                torch.testing.assert_close(found.cpu(), loss(real, fake), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("d_norm", ["batch", "spectral"])
def test_one_pass_over_two_batches_replays_as_a_graph(d_norm: str) -> None:
    """Batch norm in parts and spectral norm once a step wait for nothing on the host, and do what eager steps do."""
    torch.manual_seed(0)
    schedule = "per_step" if d_norm == "spectral" else "per_forward"
    options = {"width": 8, "latent_dim": 8, "prior": "normal", "image_size": 32, "sn_schedule": schedule}
    discriminator = make_networks("dcgan", d_norm=d_norm, **options).discriminator.cuda()
    twin = copy.deepcopy(discriminator)
    images = torch.randn(8, 3, 32, 32, device="cuda")

    def gradients(network: torch.nn.Module) -> tuple[torch.Tensor, ...]:
        power_iterate(network)
        with in_parts(network, 2), shared_spectral_norm(network):
            return torch.autograd.grad(network(images).square().sum(), tuple(network.parameters()))

    warm_ups = 3
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(warm_ups):
            gradients(discriminator)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = gradients(discriminator)
    graph.replay()
    for _ in range(warm_ups + 1):
        wanted = gradients(twin)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(dict(discriminator.named_buffers()), dict(twin.named_buffers()))


RUNS = {
    "points": ("data=ring", "loss=exact", "model.width=8"),
    "kl": ("loss.gen=kl",),
    "poole": ("model=poole", "model.width=4", "loss.gen=hellinger", "metrics=none"),
    "bf16": ("precision=bf16", "loss.disc=hinge", "model.d_norm=batch"),
    "bf16 under spectral norm": ("precision=bf16", "loss=exact"),
    "labels, ADA, history": ("cond=acgan", "augment=ada", "practice.history=20", "practice.top_k=0.5"),
    "residual, bf16, R1 and R2": (
        "model=resnet",
        "model.width=4",
        "model.d_width=4",
        "regularizer=r1r2",
        "precision=bf16",
    ),
    "gradient penalty in bf16": (
        "model=sngan",
        "model.width=4",
        "model.d_norm=none",
        "regularizer=gp",
        "precision=bf16",
    ),
    "virtual batch norm": (
        *("cond=projection", "cond.generator=embedding", "model.g_norm=virtual", "model.d_norm=virtual"),
        *("regularizer=dragan", "data.dequantize=true", "practice.instance_noise=0.1", "optimizer.clip_gradient=1"),
    ),
    "spectral norm once a step, one batch, channels last": (
        *("model.sn_schedule=per_step", "joint_batch=true", "channels_last=true", "precision=bf16", "cond=projection"),
    ),
    "fakes reused": (
        *(
            "schedule.reuse_fakes=true",
            "schedule.d_steps=2",
            "cond=acgan",
            "augment=diffaugment",
            "practice.history=20",
        ),
        *("practice.top_k=0.5", "practice.instance_noise=0.1", "regularizer=r1r2", "model.d_norm=layer"),
    ),
    "clipping": ("regularizer=clip", "model.d_norm=none", "loss=wasserstein", "schedule.early_d_steps=3"),
}
"""A run of every technique."""


def tiny(overrides: tuple[str, ...]) -> list[str]:
    """A run of seconds with these overrides, on the digits unless they name other data."""
    points = any(word.startswith("data=") for word in overrides)
    left_out = ("data=", "log.grid_images") if points else ()
    return [*(word for word in TINY if not word.startswith(left_out or "\0")), *overrides]


@pytest.mark.parametrize("overrides", RUNS.values(), ids=RUNS)
def test_a_run_and_its_resumption_on_the_gpu(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    words = [*tiny(overrides), "device=cuda", "schedule.steps=8", "log.checkpoint_every_steps=4"]
    words.append("log.diagnostics_every_steps=3")
    builders.run(compose(*words), tmp_path / "run")
    rows = [row for row in read_rows(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, 9))
    config, state = builders.resumed_config(tmp_path / "run", {"schedule.steps": 12})
    assert builders.run(config, tmp_path / "run", state).step == 12
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 12


def test_a_run_moves_between_gpu_and_cpu(tmp_path: Path) -> None:
    builders.run(compose(*TINY, "device=cuda", "metrics=none"), tmp_path / "run")
    config, state = builders.resumed_config(tmp_path / "run", {"schedule.steps": 9, "device": "cpu"})
    assert builders.run(config, tmp_path / "run", state).step == 9


def test_a_job_leaves_nothing_on_the_gpu(tmp_path: Path) -> None:
    words = [*TINY, "device=cuda", "metrics=none"]
    builders.run(compose(*words, "schedule.batch_size=64", "model.width=32"), tmp_path / "large")
    large = torch.cuda.max_memory_allocated()
    forget()
    assert torch.cuda.memory_allocated() < large / 4
    builders.run(compose(*words), tmp_path / "small")
    assert torch.cuda.max_memory_allocated() < large, "the peak is of the run, not of the process"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_jobs_of_a_sweep_train_as_alone(
    launcher: str, tmp_path: Path, gantrain: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    if launcher == "joblib" and find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        pytest.skip("no hydra-joblib-launcher is installed: pip install 'gantrain[joblib]'")
    words = [*TINY, "device=cuda", "metrics=none"]
    done = gantrain("-m", *words, "seed=3,4", f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    for folder in find_runs([tmp_path / "sweep"]):
        run = read_run(folder)
        builders.run(compose(*words, f"seed={run.config['seed']}"), tmp_path / f"alone-{run.name}")
        alone = read_run(tmp_path / f"alone-{run.name}")
        assert run.starts[0]["device"] == torch.cuda.get_device_name(0)
        for name in ("loss/discriminator", "loss/generator"):
            found, wanted = (dict(of_run.series(name)) for of_run in (run, alone))
            assert found == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("overrides", RUNS.values(), ids=RUNS)
def test_the_step_does_not_synchronise(overrides: tuple[str, ...]) -> None:
    """CUDA itself raises on any synchronising call inside the step."""
    words = (*tiny(overrides), "device=cuda", "executor=eager", "schedule.steps=100", "metrics=none")
    words = (*words, "log.every_steps=10")
    config = compose(*words)
    device = builders.make_device("cuda")
    trainer = builders.build_trainer(config, builders.load_data(config, "train"), [], device)
    for _ in range(3):
        trainer.iteration.run()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    assert trainer.diagnostics is not None
    try:
        for _ in range(5):
            trainer.iteration.run()
            trainer.diagnostics.keep_gradient()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.iteration.records.first_bad_update() is None
    assert trainer.iteration.records.count == 8


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [(), ("cond=projection",), ("data=grid", "model.width=8")])
def test_commands_on_a_run_of_the_gpu(overrides: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    builders.run(compose(*tiny(overrides), "device=cuda", "metrics=none"), run)
    points = "data=grid" in overrides
    metrics = ["modes", "duplicates"]
    metrics += ["colors", "neighbors"] if find_spec("matplotlib") else []  # a GPU machine's own Python may lack it
    metrics += ["ms_ssim"] if find_spec("torchmetrics") else []
    words = {} if points else {"metrics": metrics, "bootstrap": 20}
    evaluate.run(
        evaluate.Options(
            run=str(run), samples=64, rejection=True, out=str(tmp_path / "found.json"), device="cuda", **words
        )
    )
    for name, asked in {
        "grid.png": {"rank": "log_ratio"},
        "all.npz": {"rejection": True},
        **({} if points else {"walk.gif": {"walk": 1.0, "n": 4}, "rows.png": {"interpolate": 3, "n": 2}}),
    }.items():
        sample.run(sample.Options(run=str(run), out=str(tmp_path / name), device="cuda", **{"n": 16, **asked}))
        assert (tmp_path / name).is_file()


def trainer_of(*overrides: str) -> Trainer:
    words = (*tiny(overrides), "device=cuda", "schedule.steps=100", "metrics=none", "log.every_steps=50")
    config = compose(*words)
    return builders.build_trainer(config, builders.load_data(config, "train"), [], builders.make_device("cuda"))


def states_after(trainer: Trainer, steps: int) -> dict[str, torch.Tensor]:
    """What a body changes, and what it has recorded, after so many steps."""
    torch.cuda.manual_seed(3)  # dropout draws from the device's own generator
    for _ in range(steps):
        trainer.iteration.set_learning_rates(trainer.learning_rate_factor(trainer.step))
        trainer.iteration.run()
    found = {name: tensor.detach().clone() for name, tensor in trainer.iteration.tensors().items()}
    found |= {"logits": trainer.iteration.records.logits, "updates": trainer.iteration.records.updates}
    return {name: value.nan_to_num(-1.0) for name, value in found.items()}


@pytest.mark.parametrize("overrides", RUNS.values(), ids=RUNS)
def test_a_graph_computes_what_eager_steps_do(overrides: tuple[str, ...]) -> None:
    """Bit for bit with deterministic kernels: the same ones in the same order, with the same random numbers."""
    with arithmetic("tf32", deterministic=True, device=torch.device("cuda", 0)):
        eager, graph = trainer_of(*overrides, "executor=eager"), trainer_of(*overrides, "executor=graph")
        wanted, found = states_after(eager, 20), states_after(graph, 20)
    executor = graph.iteration.executor
    assert isinstance(executor, Graphed)
    assert executor.failure is None
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("executor", ["eager", "graph"])
def test_resume_is_exact_under_deterministic_kernels(executor: str, tmp_path: Path) -> None:
    words = [*TINY, "device=cuda", "deterministic=true", f"executor={executor}", "metrics=none"]
    builders.run(compose(*words, "schedule.steps=12"), tmp_path / "whole")
    builders.run(compose(*words, "schedule.steps=7"), tmp_path / "part")
    config, state = builders.resumed_config(tmp_path / "part", {"schedule.steps": 12})
    builders.run(config, tmp_path / "part", state)
    one, other = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "part"))
    for network in ("generator", "discriminator", "ema"):
        for name, value in one[network].items():
            assert torch.equal(value, other[network][name]), (network, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compiled", "compiled_graph"])
def test_compiled_steps_are_the_eager_ones_within_rounding(name: str) -> None:
    with arithmetic("float32", deterministic=False, device=torch.device("cuda", 0)):
        words = ("model.d_norm=batch", "joint_batch=false")
        eager, compiled = trainer_of(*words, "executor=eager"), trainer_of(*words, f"executor={name}")
        wanted, found = states_after(eager, 3), states_after(compiled, 3)
    assert compiled.iteration.executor.failure is None  # type: ignore[attr-defined]
    torch.testing.assert_close(found["logits"], wanted["logits"], rtol=1e-2, atol=1e-3)


def test_a_streamed_set_trains_on_the_gpu() -> None:
    """Other permutations than a resident set's, since they are the host's; each image once an epoch all the same."""
    trainer = trainer_of("data.resident=false", "executor=graph", "cond=projection")
    batches = trainer.iteration.batches
    assert batches.images.device.type == "cpu"
    states_after(trainer, 20)
    batches.prepare(1)
    indices = batches.order[batches.cursor - batches.batch_size : batches.cursor]
    images, labels = batches.batch(0)
    assert labels is not None
    assert batches.labels is not None
    assert torch.equal(labels.cpu(), batches.labels[indices])
    wanted = builders.load_data(compose(*TINY), "train").examples[indices].float() / 127.5 - 1
    torch.testing.assert_close(images.cpu(), wanted, rtol=0, atol=1e-5)
    assert trainer.iteration.records.first_bad_update() is None


@pytest.mark.parametrize("executor", ["eager", "graph"])
def test_a_run_measured_beside_training_equals_one_that_waits(
    executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout draws from the default generator, which a measurement must leave alone; k moves, and is captured anew."""
    words = [*TINY, "device=cuda", "deterministic=true", f"executor={executor}", "model.d_dropout=0.3"]
    words += ["schedule.steps=60", "metrics.every_steps=8", "log.checkpoint_every_steps=20", "metrics.samples=500"]
    words += ["log.grids_every_steps=60", "schedule.early_d_steps=3", "schedule.early_until=30"]
    own, threads = ModesMetric.measure, []

    def measure(metric: ModesMetric, *seen: torch.Tensor | None) -> list[Measurement]:
        threads.append(threading.current_thread().name)
        return own(metric, *seen)

    builders.run(compose(*words, "metrics.asynchronous=false"), tmp_path / "waits")
    monkeypatch.setattr(ModesMetric, "measure", measure)
    builders.run(compose(*words, "metrics.asynchronous=true"), tmp_path / "beside")
    assert threads == ["MainThread", *(f"measuring step {step}" for step in range(16, 57, 8)), "MainThread"]
    for name in ("best.pt", "last.pt"):
        one, other = (load_checkpoint(tmp_path / run / name) for run in ("waits", "beside"))
        assert (one["step"], one["best"], one["figures"]) == (other["step"], other["best"], other["figures"])
        for network in ("generator", "discriminator", "ema"):
            for key, value in one[network].items():
                assert torch.equal(value, other[network][key]), (name, network, key)
    rows = [
        [row for row in read_rows(tmp_path / run / "metrics.jsonl") if row["kind"] == "metric"]
        for run in ("waits", "beside")
    ]
    assert rows[0] == rows[1]


@pytest.mark.slow
@pytest.mark.inception
def test_fid_and_kid_beside_training_are_those_of_a_run_that_waits(tmp_path: Path, inception_file: Path) -> None:
    """The last batch of the Inception is no full one, and runs eagerly beside the graph."""
    words = [*TINY, "device=cuda", "deterministic=true", "metrics.names=[fid,kid]", "metrics.samples=130"]
    words += ["metrics.batch_size=50", "metrics.reference_samples=200", f"metrics.inception_weights={inception_file}"]
    words += ["schedule.steps=40", "metrics.every_steps=10", "log.checkpoint_every_steps=40"]
    for name, asked in (("waits", "false"), ("beside", "true"), ("auto", "null")):
        builders.run(compose(*words, f"metrics.asynchronous={asked}"), tmp_path / name)
    found = [
        [
            (row["step"], row["name"], row["value"])
            for row in read_rows(tmp_path / name / "metrics.jsonl")
            if row["kind"] == "metric"
        ]
        for name in ("waits", "beside", "auto")
    ]
    for others in found[1:]:
        assert [row[:2] for row in others] == [row[:2] for row in found[0]]
        assert [row[2] for row in others] == pytest.approx([row[2] for row in found[0]], rel=1e-4)


def test_the_default_run_fits_into_two_gigabytes() -> None:
    forget()
    torch.cuda.reset_peak_memory_stats()
    config = compose("metrics=none", "log.every_steps=50", "data=digits", "device=cuda")
    trainer = builders.build_trainer(config, builders.load_data(config, "train"), [], builders.make_device("cuda"))
    cifar10 = torch.zeros(50_000, 3, 32, 32, dtype=torch.uint8, device="cuda")  # in place of the digits' few
    for _ in range(20):
        trainer.iteration.run()
    assert len(cifar10) == 50_000
    assert torch.cuda.max_memory_reserved() < 2 * 2**30


def test_an_update_that_is_not_finite_is_skipped_on_the_gpu() -> None:
    trainer = trainer_of("executor=eager")
    iteration = trainer.iteration
    iteration.run()
    before = [p.detach().clone() for p in iteration.networks.discriminator.parameters()]
    iteration.batches.image_range = (float("nan"), float("nan"))
    iteration.run()
    after = list(iteration.networks.discriminator.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert iteration.records.first_bad_update() == (1, 0, False)


GPU = torch.device("cuda", 0)


@pytest.fixture
def weights(inception_file: Path) -> InceptionWeights:
    return find_inception_weights(str(inception_file))


def eager(features: InceptionFeatures) -> InceptionFeatures:
    """The same without CUDA graphs."""
    features._forward._captures = False
    return features


@pytest.mark.inception
@pytest.mark.parametrize("place", ["cpu", "cuda"])
def test_fid_on_the_gpu_is_torch_fidelitys_with_graphs_and_without(place: str, weights: InceptionWeights) -> None:
    one, other = some_images(250, seed=0), some_images(250, seed=1) // 2
    features = InceptionFeatures(weights, batch_size=64, device=GPU)  # three full batches and one of 58
    metric = InceptionMetric(("fid",), features, reference=one, reference_name="random", bootstrap=20)
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
    (figure,) = metric.measure(other.to(place), None)
    fid = figure.value
    wanted = theirs["frechet_inception_distance"]
    assert len(features._forward._graphs) == 1, "the forward was captured"
    assert features.protocol["precision"] == ("tf32" if torch.backends.cudnn.allow_tf32 else "float32")
    assert figure.interval is not None
    assert figure.interval[0] < fid < figure.interval[1]
    assert fid == pytest.approx(wanted, rel=1e-3, abs=1e-2)  # both in TF32, by other kernels
    assert fid > 1
    without = eager(InceptionFeatures(weights, batch_size=64, device=GPU))
    (again,) = InceptionMetric(("fid",), without, reference=one, reference_name="random").measure(other, None)
    assert again.value == pytest.approx(fid, abs=1e-3)
    assert not without._forward._graphs


@pytest.mark.inception
def test_neither_images_nor_features_leave_the_gpu_for_fid_and_kid(
    weights: InceptionWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = InceptionFeatures(weights, batch_size=32, device=GPU)
    one, other = some_images(70, seed=0), (some_images(70, seed=1) // 2).to(GPU)
    metric = InceptionMetric(("fid", "kid"), features, reference=one, reference_name="random")
    assert metric._statistics is not None
    assert metric._statistics.root.device == metric._statistics.mean.device == GPU
    taken = []
    to, cpu = torch.Tensor.to, torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: taken.append(tensor.shape) or cpu(tensor))
    monkeypatch.setattr(
        torch.Tensor,
        "to",
        lambda tensor, *words, **named: taken.append(tensor.shape) or to(tensor, *words, **named),
    )
    metric.measure(other, None)
    monkeypatch.undo()
    assert features.of(other)["2048"].device == GPU
    moments = moments_of(features.of(other)["2048"])
    assert moments.covariance.device == GPU
    left = {tuple(shape) for shape in taken if shape[:1] == (len(other),)}
    assert not left, f"{left} were moved whole"


@pytest.mark.inception
def test_features_of_the_gpu_are_those_of_the_plain_extractor(weights: InceptionWeights) -> None:
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
    for precision, near in (("float32", 1e-5), ("auto", 1e-2), ("bf16", 0.1)):
        features = InceptionFeatures(weights, batch_size=16, device=GPU, precision=precision)
        found = features.of(images)["2048"]
        assert torch.backends.cudnn.allow_tf32 == tf32
        apart = float((found - wanted).norm() / wanted.norm())
        assert apart < near, precision
        assert features.protocol["precision"] == {"float32": "float32", "auto": "tf32", "bf16": "bf16"}[precision]


@pytest.mark.inception
def test_the_other_figures_of_features_on_the_gpu_are_those_on_the_cpu(weights: InceptionWeights) -> None:
    names = ("kid", "precision", "recall", "density", "coverage")
    features = InceptionFeatures(weights, batch_size=32, device=GPU)
    one, other = some_images(60, seed=0), some_images(60, seed=1)
    metric = InceptionMetric(names, features, reference=one, reference_name="random", bootstrap=20)
    found = {figure.name: figure for figure in metric.measure(other, None)}
    x, real = features.of(other)["2048"].cpu(), features.of_reference(one, "random").cpu()
    assert found["kid"].value == pytest.approx(kid(x, real)[0], rel=1e-6)
    theirs = kid_features_to_metric(x.double(), real.double(), kid_subset_size=60, verbose=False)
    assert found["kid"].value == pytest.approx(theirs[KEY_METRIC_KID_MEAN], rel=1e-6, abs=1e-9)
    assert (found["precision"].value, found["recall"].value) == pytest.approx(precision_and_recall(x, real))
    density, coverage = (float(values.mean()) for values in density_and_coverage(x, real))
    assert (found["density"].value, found["coverage"].value) == pytest.approx((density, coverage), abs=0.05)
    resamples = kid_of_resamples(x.to(GPU), real.to(GPU), 20)
    assert resamples == pytest.approx(kid_of_resamples(x, real, 20), rel=1e-6, abs=1e-9)


def test_moments_and_fid_on_the_gpu_are_those_on_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    real, x = (torch.randn(count, 300, generator=generator).relu() + shift for count, shift in ((900, 0), (500, 0.1)))
    on_gpu, on_cpu = moments_of(x.to(GPU)), moments_of(x)
    torch.testing.assert_close(on_gpu.covariance.cpu(), on_cpu.covariance, rtol=1e-9, atol=1e-12)
    reference = reference_of(moments_of(real))
    wanted = frechet_distance(on_cpu, reference)
    assert frechet_distance(on_gpu, reference.to(GPU)) == pytest.approx(wanted, rel=1e-9)
    halves = fid_of_halves(x.to(GPU), reference.to(GPU), 3)
    assert halves == pytest.approx(fid_of_halves(x, reference, 3), rel=1e-6)


def test_a_capture_that_fails_leaves_the_run_and_the_process_whole() -> None:
    """Reading a value back ends a capture; the run goes on eagerly, and the next one in the process is captured."""
    config = compose(*TINY, "device=cuda", "metrics=none", "model.d_dropout=0.3", "schedule.steps=20")
    device = builders.make_device("cuda")

    def made() -> Trainer:
        return builders.build_trainer(config, builders.load_data(config, "train"), [], device)

    told: list[str] = []

    def reads_back(iteration: Iteration, variant: Variant) -> None:
        iteration.body(variant)
        if torch.cuda.is_current_stream_capturing():
            torch.ones(1, device=device).item()

    eager, broken, after = made(), made(), made()
    eager.iteration.executor = eagerly
    broken.iteration.executor = failing = Graphed(reads_back, say=told.append)
    after.iteration.executor = working = Graphed()
    states = []
    for trainer in (eager, broken, after):
        torch.cuda.manual_seed(0)
        for _ in range(5):
            trainer.iteration.run()
        torch.cuda.empty_cache()
        torch.rand(1, device=device)
        states.append({name: tensor.clone() for name, tensor in trainer.iteration.tensors().items()})
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert (failing.failure is None, working.failure) == (False, None)
    assert len(told) == 1
    for name, value in states[0].items():
        for other in states[1:]:
            torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_runs_side_by_side_are_what_they_are_alone(tmp_path: Path, command: Callable[..., tuple[int, str]]) -> None:
    """Graphs read the default generator's state where it lies; dropout draws from it."""
    words = (*TINY[:-1], "device=cuda", "deterministic=true", "model.d_dropout=0.3", "schedule.steps=30")
    swept = ("seed=0,1", "executor=graph,eager", "metrics=none")
    side = ("hydra/launcher=side_by_side", "hydra.launcher.runs=3")
    assert command("-m", *words, *swept, "hydra.sweep.dir=turns", *side)[0] == 0
    assert command("-m", *words, *swept, "hydra.sweep.dir=alone")[0] == 0
    for folder in find_runs([tmp_path / "alone"]):
        one, other = (load_checkpoint(place / "last.pt") for place in (folder, tmp_path / "turns" / folder.name))
        for network in ("generator", "discriminator", "ema"):
            assert all(torch.equal(value, other[network][key]) for key, value in one[network].items())


@pytest.mark.slow
def test_what_a_run_holds_on_the_device_is_flat_and_a_leak_is_seen(tmp_path: Path) -> None:
    """From half the run on; in its last quarter 1 kB a step is kept. The host's own memory is the CPU's test."""
    steps = 1200
    samples = train(tmp_path / "run", steps, leaks_from=3 * steps // 4, device="cuda")
    flat, leaking = growth(samples, steps // 2, 3 * steps // 4), growth(samples, 3 * steps // 4, steps)
    for name in ("on the device", "objects", "files", "threads"):
        assert flat[name] <= MOST[name] < leaking[name], name
