"""`make bench`: statistics of paired rounds, the peers' loops, and one small pass over every part."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from gantrain.networks import NetworkPair, make_networks
from gantrain.objectives import make_objective
from scripts.benchmark import __main__ as bench_main
from scripts.benchmark.peers import PEERS, SIDES, Parts, plain_adam
from scripts.benchmark.timing import Contestant, compare, launches_of, paired_ratio
from scripts.benchmark.training import NETWORKS, SETTINGS, VARIANTS, Setting
from tests.conftest import compose, find_inception

BATCH, LATENT, LR, BETAS = 4, 3, 0.01, (0.5, 0.9)


def make_pair() -> NetworkPair:
    torch.manual_seed(0)
    pair = make_networks("dcgan", width=2, latent_dim=LATENT, prior="normal", d_norm="batch", image_size=32)
    for network in (pair.generator, pair.discriminator):
        network.to(torch.get_default_dtype()).train()
    return pair


def make_parts(k: int = 1) -> Parts:
    networks = make_pair()
    source = torch.Generator().manual_seed(3)
    return Parts(
        networks=networks,
        objective=make_objective(),
        optimizer_d=plain_adam(networks.discriminator, LR, BETAS),
        optimizer_g=plain_adam(networks.generator, LR, BETAS),
        real=lambda: torch.rand(BATCH, 3, 32, 32, generator=source) * 2 - 1,
        batch_size=BATCH,
        d_steps=k,
        device=torch.device("cpu"),
        scalar=lambda tag, value, step: None,
    )


class Adam:
    """Kingma & Ba 2015, Algorithm 1."""

    def __init__(self) -> None:
        self.t, self.m, self.v = 0, {}, {}

    def step(self, weights: dict[str, Tensor], gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        self.t += 1
        found = {}
        for name, g in gradients.items():
            self.m[name] = BETAS[0] * self.m.get(name, 0) + (1 - BETAS[0]) * g
            self.v[name] = BETAS[1] * self.v.get(name, 0) + (1 - BETAS[1]) * g * g
            m, v = self.m[name] / (1 - BETAS[0] ** self.t), self.v[name] / (1 - BETAS[1] ** self.t)
            found[name] = (weights[name] - LR * m / (v.sqrt() + 1e-8)).detach()
        return found


def gradients_of(loss: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def test_the_examples_loop_equals_the_same_written_by_hand() -> None:
    """In float64: one fake batch for both networks, separate batches in D, and G against the updated D."""
    torch.set_default_dtype(torch.float64)
    parts = make_parts()
    networks = parts.networks
    iterated = make_parts()
    run = PEERS["pytorch/examples"][0](iterated)
    sides: dict[str, tuple[nn.Module, dict[str, Tensor], Adam]] = {
        name: (network, {key: p.detach().clone() for key, p in network.named_parameters()}, Adam())
        for name, network in (("g", networks.generator), ("d", networks.discriminator))
    }
    torch.manual_seed(11)
    latents = [torch.randn(BATCH, LATENT) for _ in range(3)]
    for z in latents:
        (g, weights_g, adam_g), (d, weights_d, adam_d) = sides["g"], sides["d"]
        leaves_g = {key: w.requires_grad_() for key, w in weights_g.items()}
        leaves_d = {key: w.requires_grad_() for key, w in weights_d.items()}
        fake = functional_call(g, leaves_g, (z,))
        on_real = functional_call(d, leaves_d, (parts.real(),))
        on_fake = functional_call(d, leaves_d, (fake.detach(),))
        loss_d = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        weights_d = adam_d.step(leaves_d, gradients_of(loss_d, leaves_d))
        loss_g = F.softplus(-functional_call(d, weights_d, (fake,))).mean()
        weights_g = adam_g.step(leaves_g, gradients_of(loss_g, leaves_g))
        sides = {"g": (g, weights_g, adam_g), "d": (d, weights_d, adam_d)}
    torch.manual_seed(11)
    for _ in latents:
        run()
    for name, network in (("g", iterated.networks.generator), ("d", iterated.networks.discriminator)):
        for key, weight in network.named_parameters():
            torch.testing.assert_close(weight.detach(), sides[name][1][key], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("disc", SIDES)
def test_the_two_sides_of_a_loss_are_the_objectives(disc: str) -> None:
    source = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(9, generator=source, dtype=torch.float64) for _ in range(2))
    on_real, on_fake = SIDES[disc]
    torch.testing.assert_close(on_real(real) + on_fake(fake), make_objective(disc).discriminator_loss(real, fake))


class ScalarReads(TorchDispatchMode):
    """Counts scalars read from tensors, for which the host waits for a GPU, apart from optimizers' step counters."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.in_optimizer = 0, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default and not self.in_optimizer
        return func(*args, **kwargs or {})

    def __enter__(self) -> "ScalarReads":
        self.hooks = [
            register_optimizer_step_pre_hook(lambda *_: setattr(self, "in_optimizer", True)),
            register_optimizer_step_post_hook(lambda *_: setattr(self, "in_optimizer", False)),
        ]
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        for hook in self.hooks:
            hook.remove()
        super().__exit__(*error)


@pytest.mark.parametrize(
    ("name", "k", "iterations", "waits", "events"),
    [
        ("pytorch/examples", 1, 1, 5, 0),
        ("torch-fidelity", 5, 10, 2, 0),
        ("mimicry", 1, 1, 4, 0),
        ("mimicry", 5, 1, 16, 0),
        ("pytorch-gan-collections", 1, 1, 1, 1),
        ("pytorch-gan-collections", 5, 2, 10, 2),
    ],
)
def test_how_often_a_peer_waits_for_the_device(name: str, k: int, iterations: int, waits: int, events: int) -> None:
    written: list[Any] = []
    parts = make_parts(k)
    parts.scalar = lambda *event: written.append(event)
    run = PEERS[name][0](parts)

    def all_of_them() -> None:
        for _ in range(iterations):
            run()

    with ScalarReads() as reads:
        all_of_them()
    assert reads.count == waits
    assert len(written) == events


def calls_of(network: nn.Module) -> list[tuple[Tensor, bool]]:
    """What a network was given, and whether its weights were to learn from it."""
    seen: list[tuple[Tensor, bool]] = []
    network.register_forward_pre_hook(
        lambda module, inputs: seen.append((inputs[0].detach(), next(module.parameters()).requires_grad))
    )
    return seen


@pytest.mark.parametrize(
    ("name", "batches", "learns", "reals"),
    [
        # D's passes in the originals' order: their batches, whether D's weights get gradients; real batches drawn
        ("pytorch/examples", [4, 4, 4], [True] * 3, 1),
        ("torch-fidelity", [4] * 5, [False, *[True] * 4], 1),
        ("mimicry", [4] * 5, [True] * 5, 2),
        ("pytorch-gan-collections", [4, 4, 4, 4, 8], [True] * 5, 2),
    ],
)
def test_the_order_of_passes_is_the_originals(name: str, batches: list[int], learns: list[bool], reals: int) -> None:
    parts = make_parts(1 if name == "pytorch/examples" else 2)
    drawn: list[Tensor] = []
    real: Callable[[], Tensor] = parts.real

    def counted() -> Tensor:
        drawn.append(real())
        return drawn[-1]

    parts.real = counted
    seen = calls_of(parts.networks.discriminator)
    PEERS[name][0](parts)()
    assert [len(images) for images, _ in seen] == batches
    assert [trained for _, trained in seen] == learns
    assert len(drawn) == reals
    shared = torch.equal(seen[1][0], seen[2][0])  # examples: the fakes of D's step are those of G's
    assert shared == (name == "pytorch/examples")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_ratios_are_taken_round_by_round(count: int) -> None:
    source = np.random.default_rng(count)
    baseline, own = source.uniform(1, 2, count), source.uniform(2, 5, count)
    expected = np.median(baseline / own), *np.percentile(baseline / own, [10, 90])
    assert paired_ratio(list(baseline), list(own)) == pytest.approx(expected)


def test_contestants_alternate_and_a_failure_affects_only_one() -> None:
    turns: list[str] = []

    def fail(stack: Any) -> Any:
        raise RuntimeError("no such kernel")

    contestants = {name: Contestant(lambda stack, name=name: lambda: turns.append(name), 2) for name in "ab"}
    rows = compare("table", {**contestants, "c": Contestant(fail, 1)}, rounds=3, seconds=0)
    assert [row.name for row in rows] == ["a", "b", "c"]
    assert "".join(turns[-18:]) == "aaabbb" + "bbbaaa" + "aaabbb", "two warm-up calls and one timed, a round each"
    assert rows[0].ratio is None
    assert rows[1].ratio is not None
    assert rows[0].images_per_second == pytest.approx(2000 / (rows[0].milliseconds or 0))
    assert rows[2].note == "not measured: RuntimeError: no such kernel"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there it counts kernels")
def test_operators_are_counted() -> None:
    a = torch.ones(4)
    assert launches_of(lambda: a.add(a).mul(a)) == 2


def test_every_setting_names_networks_peers_and_keys_that_exist() -> None:
    for setting in (setting for settings in SETTINGS.values() for setting in settings):
        assert set(setting.peers) <= set(PEERS)
        assert set(setting.variants) <= set(VARIANTS)
    for words in (NETWORKS[setting.network], *VARIANTS.values()):
        compose(*words)


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(name, marks=[pytest.mark.slow, pytest.mark.exhaustive] if name == "fid" else [])
        for name in bench_main.PARTS
    ],
)
def test_every_part_measures(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if part == "fid":
        monkeypatch.setenv("GANTRAIN_INCEPTION", str(find_inception() or ""))
    setting = Setting("narrow dcgan", 4, 1, ("pytorch/examples",), ("gantrain",), workers=1)
    bench = replace(bench_main.make_bench("rehearsal", 1), settings=(setting,))
    monkeypatch.setattr(bench_main, "make_bench", lambda size, rounds: bench)
    monkeypatch.setattr("sys.argv", ["benchmark", "size=rehearsal", f"parts=[{part}]", f"out={tmp_path}"])
    assert bench_main.main() == 0
    document = json.loads((tmp_path / "bench.json").read_text())
    rows = document["rows"]
    assert document["machine"]["processor"] in (tmp_path / "bench.md").read_text()
    if part == "fid" and find_inception() is None:
        assert "make weights" in rows[0]["note"]
        return
    assert len(rows) >= 2
    assert all(row["milliseconds"] > 0 and row["images_per_second"] > 0 for row in rows), rows
    assert [row["ratio"] is None for row in rows] == [True] + [False] * (len(rows) - 1)
    if part == "fid":
        values = [float(row["note"].removeprefix("FID ")) for row in rows]
        assert values[1] == pytest.approx(values[0], abs=0.01)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("size=tpu", "size='tpu': choose from"),
        ("parts=[loop]", "parts=['loop']: choose from"),
        ("rounds=0", "rounds=0: at least 1"),
        ("round=1", "Key 'round' not in 'Options'"),
    ],
)
def test_unknown_words_are_refused(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        bench_main.read_options([word])
