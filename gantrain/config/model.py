"""`model.*`: the keys of all network pairs in `gantrain.networks.NETWORKS`."""

from typing import TYPE_CHECKING

from gantrain.networks import NETWORKS, NetworkSpec, find_network
from gantrain.networks.spec import ConvOptions
from gantrain.options import merge_options, option, read_options


class _ModelSection:
    """Checks and look-ups of the section."""

    __slots__ = ()
    name: str

    def __post_init__(self) -> None:
        """Checks the name, and that the chosen pair uses every key that is set."""
        self.spec.check(self.options)

    @property
    def spec(self) -> NetworkSpec:
        """The chosen pair."""
        return find_network(self.name)

    @property
    def options(self) -> ConvOptions:
        """The keys that the chosen pair reads, as its own dataclass."""
        options: ConvOptions = read_options("model", self, self.spec, NETWORKS)
        return options


if TYPE_CHECKING:

    class ModelConfig(_ModelSection, ConvOptions):
        """The pair of networks."""

        def __init__(self, **values: object) -> None:
            """Accepts any of the keys."""
else:
    _NAMES = ", ".join(f"{spec.name} ({spec.title})" for spec in NETWORKS)
    ModelConfig = merge_options(
        "ModelConfig",
        [spec.options for spec in NETWORKS],
        base=_ModelSection,
        doc="The pair of networks.",
        own=[("name", str, option(NETWORKS[0].name, f"pair of networks: {_NAMES}"))],
    )
