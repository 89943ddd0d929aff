"""All executors pass through the same states, and a graph contains nothing that the host decides in each iteration."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from gantrain.builders.executing import is_channels_last, is_joint_batch
from gantrain.networks import power_iterate
from gantrain.training import executors
from gantrain.training.executors import CompiledExecutor, Snapshot
from gantrain.training.train_step import TrainStep
from gantrain.training.trainer import Trainer
from tests.conftest import compose
from tests.techniques import RUNS
from tests.training.helpers import TapeExecutor, make_trainer

EVERY_TECHNIQUE = {
    **RUNS,
    "default": (),
    "decay, noise that fades, top-k that shrinks, lazy penalties": (
        *("schedule.lr_decay=cosine", "tricks.instance_noise=0.2", "tricks.instance_noise_until=0.5"),
        *("regularizer=r1", "regularizer.interval=3", "schedule.d_steps=2", "model.d_norm=layer"),
        *("tricks.top_k=0.5", "tricks.top_k_decay=0.5", "loss=relativistic"),
    ),
}


def run(trainer: Trainer, steps: int) -> dict[str, torch.Tensor]:
    """Everything that the body changes, after so many steps, with the buffer."""
    train_step = trainer.train_step
    torch.manual_seed(3)  # dropout draws from the global generator
    for _ in range(steps):
        train_step.set_learning_rates(trainer.learning_rate_factor(train_step.step))
        train_step.run()
    found = {name: tensor.detach().clone() for name, tensor in train_step.tensors().items()}
    found |= {"logits": train_step.buffer.logits, "updates": train_step.buffer.updates}
    found |= {f"notes.{name}": values for name, values in train_step.buffer.notes.items()}
    found = {name: values.nan_to_num(-1.0) for name, values in found.items()}  # NaN where nothing was noted
    return found | {f"random.{k}": g.get_state() for k, g in enumerate(train_step.generators())}


def assert_alike(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], **tolerance: float) -> None:
    for name in ("logits", "updates"):
        assert_close(found[name], expected[name], **tolerance)


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.fixture(autouse=True)
def _free_compiled_code() -> Iterator[None]:
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("overrides", EVERY_TECHNIQUE.values(), ids=EVERY_TECHNIQUE)
def test_replayed_operations_equal_eager_ones_bit_for_bit(overrides: tuple[str, ...]) -> None:
    """Over steps in which schedules move: so nothing that changes is recorded as a number of the host."""
    eager, taped = (make_trainer(*overrides, "schedule.batch_size=8", steps=8) for _ in range(2))
    for trainer in (eager, taped):  # a short epoch, so that it ends on the way
        batches = trainer.train_step.batches
        batches.order, batches.cursor = batches.order[:27].clone(), 0
        batches._permutation = lambda b=batches: torch.randperm(27, generator=b.generator)  # type: ignore[method-assign]
    executor = taped.train_step.executor = TapeExecutor()
    assert_same(run(taped, 8), run(eager, 8))
    assert executor.failure is None
    assert 1 <= len(executor._graphs) <= 8


def test_gradients_after_a_replay_are_those_of_its_graph() -> None:
    """Lazy penalties alternate between two graphs; the generator's parameters show the last step's gradient."""
    words = ("regularizer=r1", "regularizer.interval=2", "model.d_norm=none")
    eager, taped = make_trainer(*words), make_trainer(*words)
    taped.train_step.executor = TapeExecutor()
    for _ in range(5):
        gradients = []
        for trainer in (eager, taped):
            trainer.train_step.run()
            gradients.append([p.grad for p in trainer.train_step.networks.generator.parameters()])
        assert_close(*gradients, rtol=0, atol=0)


def test_a_checkpoint_is_loaded_in_place_under_a_captured_graph(tmp_path: Path) -> None:
    words = ("augment=ada", "tricks.history=16", "optimizer.lr_g=0.001")
    whole, other = make_trainer(*words), make_trainer(*words, "seed=5")
    run(whole, 4)
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    whole.train_step.buffer.clear()
    expected = run(whole, 4)
    other.train_step.executor = executor = TapeExecutor()
    run(other, 6)  # captures, in another state than the checkpoint's
    before = {name: tensor.data_ptr() for name, tensor in other.train_step.tensors().items()}
    graphs = len(executor._graphs)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    other.train_step.buffer.clear()
    assert {name: tensor.data_ptr() for name, tensor in other.train_step.tensors().items()} == before
    assert_same(run(other, 4), expected)
    assert len(executor._graphs) == graphs >= 1


def test_with_too_many_graphs_all_are_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Freeing one graph would free memory that the others write into."""
    monkeypatch.setattr(executors, "MAX_GRAPHS", 2)
    held: list[int] = []

    class Counted(TapeExecutor):
        def record(self, train_step: TrainStep, before: Snapshot) -> Any:
            held.append(len(self._graphs))
            return super().record(train_step, before)

    words = ("regularizer=r1", "regularizer.interval=3", "model.d_norm=layer", "schedule.d_steps=2")
    eager, taped = make_trainer(*words), make_trainer(*words)
    taped.train_step.executor = executor = Counted()
    assert_same(run(taped, 9), run(eager, 9))
    assert len(held) > 3, "more keys than two"
    assert held == [k % 2 for k in range(len(held))]
    assert executor.failure is None


def failing_backend(*_: Any) -> Any:
    raise RuntimeError("no compiler here\nand more")


class FailingCapture(TapeExecutor):
    def record(self, train_step: TrainStep, before: Snapshot) -> Any:
        train_step.body()
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (FailingCapture, "cannot be captured as a CUDA graph.*RuntimeError: operation not permitted when"),
        (
            lambda: CompiledExecutor(backend=failing_backend, options=None),
            "compiling failed.*continues eagerly: BackendCompilerFailed",
        ),
    ],
)
def test_a_failed_executor_warns_once_and_changes_nothing(
    make: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    eager, broken = make_trainer(), make_trainer()
    broken.train_step.executor = executor = make()
    assert_same(run(broken, 4), run(eager, 4))
    assert executor.failure
    (record,) = [record for record in caplog.records if record.name == "gantrain.training.executors"]
    assert record.levelname == "WARNING"
    assert re.search(message, record.getMessage())
    assert "and more" not in record.getMessage()


JOINT = {
    "batch norm": ("model.d_norm=batch",),
    "labels": ("model.d_norm=batch", "cond=acgan", "loss.disc=hinge"),
    "spectral norm per step": ("model.sn_schedule=per_step", "schedule.d_steps=2"),
    "R1, R2": ("model.d_norm=layer", "regularizer=r1r2", "model=sngan", "model.width=4"),
    "points": ("data=ring", "model.width=8"),
}


@pytest.mark.parametrize("overrides", JOINT.values(), ids=JOINT)
def test_one_batch_of_both_halves_equals_two_passes(overrides: tuple[str, ...]) -> None:
    """The discriminator's gradients and batch norm's running statistics, to rounding."""
    words = (*overrides, "optimizer.lr_d=1e-9", "optimizer.lr_g=1e-9", "schedule.batch_size=16")
    apart, joint = make_trainer(*words, "joint_batch=false"), make_trainer(*words, "joint_batch=true")
    assert joint.train_step.joint
    run(apart, 3)
    run(joint, 3)
    networks = [t.train_step.networks.discriminator for t in (apart, joint)]
    assert_close(dict(networks[1].state_dict()), dict(networks[0].state_dict()), rtol=1e-5, atol=1e-6)
    wanted, found = (torch.cat([p.grad.flatten() for p in d.parameters() if p.grad is not None]) for d in networks)
    assert float((found - wanted).norm() / wanted.norm()) < 1e-5
    assert_close(joint.train_step.buffer.logits, apart.train_step.buffer.logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("schedule", "once"), [("per_step", True), ("per_forward", False)])
def test_spectral_norm_per_step_iterates_once(schedule: str, once: bool) -> None:
    train_step = make_trainer("schedule.d_steps=3", f"model.sn_schedule={schedule}").train_step
    discriminator = train_step.networks.discriminator
    reference = copy.deepcopy(discriminator)
    power_iterate(reference)
    train_step.run()
    vectors = [
        (u, found)
        for (name, u), found in zip(reference.named_buffers(), discriminator.buffers(), strict=True)
        if name.endswith("_u")
    ]
    assert vectors
    assert all(torch.equal(u, found) for u, found in vectors) == once


@pytest.mark.parametrize("name", ["dcgan", "sngan", "resnet"])
def test_channels_last_trains_the_same(name: str) -> None:
    words = (f"model={name}", "model.width=4", "model.d_width=4", "data.flip=false", "optimizer.lr_g=1e-5")
    plain, last = make_trainer(*words, "channels_last=false"), make_trainer(*words, "channels_last=true")
    assert plain.train_step.batches.batch(0)[0].is_contiguous()
    assert_alike(run(last, 3), run(plain, 3), rtol=1e-3, atol=1e-4)
    assert last.train_step.batches.batch(0)[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("words", "on_cpu", "on_cuda"),
    [
        (("model.d_norm=batch",), (True, True), (False, True)),
        (("model.d_norm=batch", "channels_last=false"), (False, False), (False, True)),
        (("model.d_norm=batch", "channels_last=true", "joint_batch=false"), (True, False), (True, False)),
        (("model.d_norm=batch", "model.d_dropout=0.1"), (True, False), (False, False)),
        (("model=sngan",), (True, False), (False, False)),
        (("model=sngan", "model.sn_schedule=per_step"), (True, True), (False, True)),
        (("model=poole",), (False, False), (False, False)),
        (("model=poole", "channels_last=true", "joint_batch=true"), (True, True), (True, True)),
    ],
)
def test_layout_and_batches_separately(
    words: tuple[str, ...], on_cpu: tuple[bool, bool], on_cuda: tuple[bool, bool]
) -> None:
    """Whether (channels_last, joint_batch) where a key is null: never where more than rounding would change."""
    config = compose(*words)
    for device, expected in (("cpu", on_cpu), ("cuda", on_cuda)):
        place = torch.device(device)
        assert (is_channels_last(config, place), is_joint_batch(config, place)) == expected, device


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler's own
@pytest.mark.parametrize(
    "overrides",
    [
        ("loss=exact", "model.d_norm=batch"),
        pytest.param(("schedule.reuse_fakes=true", "model.d_norm=batch"), marks=pytest.mark.exhaustive),
        pytest.param(
            ("model=sngan", "model.width=4", "regularizer=gp", "model.d_norm=layer"), marks=pytest.mark.exhaustive
        ),
    ],
)
def test_compiled_is_eager_within_rounding(overrides: tuple[str, ...]) -> None:
    eager, compiled = make_trainer(*overrides), make_trainer(*overrides)
    compiled.train_step.executor = executor = CompiledExecutor()
    expected, found = run(eager, 3), run(compiled, 3)
    assert executor.failure is None
    assert_alike(found, expected, rtol=2e-3, atol=2e-4)
    assert torch.equal(found["random.1"], expected["random.1"])
    # The first update is Adam's of size lr whatever the gradient's rounding; where signs agree, so do weights.
    average = [name for name in expected if name.startswith("ema.")]
    assert_close([found[name] for name in average], [expected[name] for name in average], rtol=0.05, atol=2e-3)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler's own
def test_a_compiled_run_resumes_exactly(tmp_path: Path) -> None:
    words = ("loss=exact", "model.d_norm=batch", "model.d_dropout=0.2")
    whole, resumed = make_trainer(*words), make_trainer(*words, "seed=5")
    both = whole.train_step.executor, resumed.train_step.executor = CompiledExecutor(), CompiledExecutor()
    run(whole, 3)
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    whole.train_step.buffer.clear()
    expected = run(whole, 2)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_same(run(resumed, 2), expected)
    assert [executor.failure for executor in both] == [None, None]
