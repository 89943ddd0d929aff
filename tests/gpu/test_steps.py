"""Steps on a GPU: losses, graphs, what they capture, and that nothing waits for the host."""

import copy

import pytest
import torch

from gantrain import builders
from gantrain.builders.device import arithmetic
from gantrain.networks import in_parts, make_networks, power_iterate, shared_spectral_norm
from gantrain.objectives import discriminator_names, generators_for, make_objective
from gantrain.training.executors import CudaGraphExecutor
from gantrain.training.train_step import TrainStep
from gantrain.training.trainer import Trainer
from tests.conftest import TINY, compose
from tests.gpu.needs import NEEDS_GPU
from tests.techniques import RUNS, tiny

pytestmark = NEEDS_GPU


@pytest.mark.parametrize("autocast", [False, True])
def test_losses_are_those_of_the_cpu(autocast: bool) -> None:
    real, fake = torch.linspace(-1.5, 20, 64), torch.linspace(-1.8, 6, 64)
    for disc in discriminator_names():
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
    """Batch norm in parts and spectral norm per step do not synchronize, and equal eager steps."""
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


@pytest.mark.parametrize("overrides", RUNS.values(), ids=RUNS)
def test_the_step_does_not_synchronize(overrides: tuple[str, ...]) -> None:
    """CUDA itself raises on any synchronizing call inside the step."""
    words = (*tiny(overrides), "device=cuda", "executor=eager", "schedule.steps=100", "metrics=none")
    words = (*words, "log.every_steps=10")
    config = compose(*words)
    device = builders.make_device("cuda")
    trainer = builders.build_trainer(config, builders.load_data(config, "train"), [], device)
    for _ in range(3):
        trainer.train_step.run()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    assert trainer.diagnostics is not None
    try:
        for _ in range(5):
            trainer.train_step.run()
            trainer.diagnostics.keep_gradient()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.train_step.buffer.first_bad_update() is None
    assert trainer.train_step.buffer.count == 8


def trainer_of(*overrides: str) -> Trainer:
    words = (*tiny(overrides), "device=cuda", "schedule.steps=100", "metrics=none", "log.every_steps=50")
    config = compose(*words)
    return builders.build_trainer(config, builders.load_data(config, "train"), [], builders.make_device("cuda"))


def states_after(trainer: Trainer, steps: int) -> dict[str, torch.Tensor]:
    """What a body changes, and what it has recorded, after so many steps."""
    torch.cuda.manual_seed(3)  # dropout draws from the device's own generator
    for _ in range(steps):
        trainer.train_step.set_learning_rates(trainer.learning_rate_factor(trainer.step))
        trainer.train_step.run()
    found = {name: tensor.detach().clone() for name, tensor in trainer.train_step.tensors().items()}
    found |= {"logits": trainer.train_step.buffer.logits, "updates": trainer.train_step.buffer.updates}
    return {name: value.nan_to_num(-1.0) for name, value in found.items()}


@pytest.mark.parametrize("overrides", RUNS.values(), ids=RUNS)
def test_a_graph_computes_what_eager_steps_do(overrides: tuple[str, ...]) -> None:
    """Bit for bit with deterministic kernels: the same ones in the same order, with the same random numbers."""
    with arithmetic("tf32", deterministic=True, device=torch.device("cuda", 0)):
        eager, graph = trainer_of(*overrides, "executor=eager"), trainer_of(*overrides, "executor=graph")
        wanted, found = states_after(eager, 20), states_after(graph, 20)
    executor = graph.train_step.executor
    assert isinstance(executor, CudaGraphExecutor)
    assert executor.failure is None
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compiled", "compiled_graph"])
def test_compiled_steps_are_the_eager_ones_within_rounding(name: str) -> None:
    with arithmetic("float32", deterministic=False, device=torch.device("cuda", 0)):
        words = ("model.d_norm=batch", "joint_batch=false")
        eager, compiled = trainer_of(*words, "executor=eager"), trainer_of(*words, f"executor={name}")
        wanted, found = states_after(eager, 3), states_after(compiled, 3)
    assert compiled.train_step.executor.failure is None  # type: ignore[attr-defined]
    torch.testing.assert_close(found["logits"], wanted["logits"], rtol=1e-2, atol=1e-3)


def test_a_streamed_set_trains_on_the_gpu() -> None:
    """Permutations are drawn on the host and differ from a resident set's; each image still occurs once per epoch."""
    trainer = trainer_of("data.on_device=false", "executor=graph", "cond=projection")
    batches = trainer.train_step.batches
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
    assert trainer.train_step.buffer.first_bad_update() is None


def test_an_update_that_is_not_finite_is_skipped_on_the_gpu() -> None:
    trainer = trainer_of("executor=eager")
    train_step = trainer.train_step
    train_step.run()
    before = [p.detach().clone() for p in train_step.networks.discriminator.parameters()]
    train_step.batches.image_range = (float("nan"), float("nan"))
    train_step.run()
    after = list(train_step.networks.discriminator.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert train_step.buffer.first_bad_update() == (1, 0, False)


def test_a_failed_capture_leaves_the_run_and_the_process_intact(caplog: pytest.LogCaptureFixture) -> None:
    """Reading a value back ends a capture; the run continues eagerly, and the next one in the process is captured."""
    words = ("model.d_dropout=0.3", "schedule.steps=20")

    def reads_back(train_step: TrainStep) -> None:
        train_step.body()
        if torch.cuda.is_current_stream_capturing():
            torch.ones(1, device=train_step.device).item()

    eager, broken, after = (trainer_of(*words) for _ in range(3))
    eager.train_step.executor = TrainStep.body
    broken.train_step.executor = failing = CudaGraphExecutor(reads_back)
    after.train_step.executor = working = CudaGraphExecutor()
    states = []
    for trainer in (eager, broken, after):
        states.append(states_after(trainer, 5))
        torch.cuda.empty_cache()
        torch.rand(1, device="cuda")
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert failing.failure is not None
    assert working.failure is None
    assert len([record for record in caplog.records if "cannot be captured" in record.getMessage()]) == 1
    for name, value in states[0].items():
        for other in states[1:]:
            torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4, msg=name)
