"""Optional training tricks. Each is one module; `TRICKS` lists them.

A trick consists of two classes: a dataclass of options, which builds a `Trick`, whose methods the training step
calls. The section `tricks.*` of the configuration consists of the options of all of them, so names must differ. To
add one, write a module like this:

    @dataclass(slots=True, kw_only=True)
    class FakeNoiseOptions(TrickOptions):
        \"\"\"Options of `FakeNoise`.\"\"\"

        fake_noise: float = option(0.0, "standard deviation of noise on the fakes that D learns from; 0: off")

        def __post_init__(self) -> None:
            at_least_0("tricks.fake_noise", self.fake_noise, "0 turns it off")

        def build(self, setup: TrickSetup) -> Trick | None:
            return FakeNoise(self.fake_noise) if self.fake_noise else None


    class FakeNoise(Trick):
        \"\"\"Gaussian noise on the fakes of the discriminator step.\"\"\"

        def __init__(self, sigma: float) -> None:
            self.sigma = sigma

        def replace_fakes(self, fake, labels, draws, d_step, decision):
            return fake + self.sigma * randn(tuple(fake.shape), draws), labels

and add `FakeNoiseOptions` to `TRICKS`. A trick with tensors as state returns them from `tensors`; they are saved in
checkpoints and restored around the capture of a CUDA graph.
"""

from gantrain.training.tricks.base import Decision, Note, Trick, TrickOptions, TrickSetup
from gantrain.training.tricks.history import History, HistoryOptions
from gantrain.training.tricks.instance_noise import InstanceNoise, InstanceNoiseOptions
from gantrain.training.tricks.top_k import TopK, TopKOptions

TRICKS: tuple[type[TrickOptions], ...] = (InstanceNoiseOptions, TopKOptions, HistoryOptions)
"""In the order in which their keys are listed and the step calls them."""

__all__ = [
    "TRICKS",
    "Decision",
    "History",
    "HistoryOptions",
    "InstanceNoise",
    "InstanceNoiseOptions",
    "Note",
    "TopK",
    "TopKOptions",
    "Trick",
    "TrickOptions",
    "TrickSetup",
]
