"""`data.*`: the keys of all data sets in `gantrain.data.DATASETS`."""

from typing import TYPE_CHECKING

from gantrain.data import DATASETS, DatasetSpec, ImageOptions, find_dataset
from gantrain.options import merge_options, option, read_options


class _DataSection:
    """Checks and look-ups of the section."""

    __slots__ = ()
    name: str

    def __post_init__(self) -> None:
        """Checks the name, and that the chosen data set uses every key that is set."""
        self.spec.check(self.options)

    @property
    def spec(self) -> DatasetSpec:
        """The chosen data set."""
        return find_dataset(self.name)

    @property
    def options(self) -> ImageOptions:
        """The keys that the chosen data set reads, as its own dataclass."""
        options: ImageOptions = read_options("data", self, self.spec, DATASETS)
        return options


if TYPE_CHECKING:

    class DataConfig(_DataSection, ImageOptions):
        """The images or points."""

        def __init__(self, **values: object) -> None:
            """Accepts any of the keys."""
else:

    def _names(*, points: bool) -> str:
        return ", ".join(f"{spec.name} ({spec.title})" for spec in DATASETS if spec.points == points)

    DataConfig = merge_options(
        "DataConfig",
        [spec.options for spec in DATASETS],
        base=_DataSection,
        doc="The images or points.",
        own=[
            (
                "name",
                str,
                option(DATASETS[0].name, f"images: {_names(points=False)}; points: {_names(points=True)}"),
            )
        ],
    )
