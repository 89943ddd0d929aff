"""What is measured: networks, contests and variants of ours, each a row of a table.

A variant is a list of overrides. One that names a key which this version does not have is reported as not available.
"""

from dataclasses import dataclass

NETWORKS: dict[str, tuple[str, ...]] = {
    "A": ("model=dcgan", "model.width=128", "model.d_width=64", "model.d_norm=batch"),
    "D": ("model=sngan", "loss=hinge", "optimizer=sngan"),
    "E": ("model=resnet", "loss=hinge", "optimizer=sngan"),
    "64px": ("model=dcgan", "model.width=64", "model.d_norm=batch", "data=folder", "data.root=.", "data.image_size=64"),
    "small": ("model=dcgan", "model.width=16", "model.d_norm=batch"),
}
"""A is DCGAN at 32 pixels with batch norm (G 512/256/128, D 64/128/256), D the SNGAN paper's CNN, E its residual pair,
64px the networks of pytorch/examples as they are shipped."""

BF16 = ("precision=bf16", "channels_last=true")
EAGER, GRAPH, COMPILED = ("executor=eager",), ("executor=graph",), ("executor=compiled_graph",)
SHARED_SN = ("model.sn_schedule=per_step",)

VARIANTS: dict[str, tuple[str, ...]] = {
    "ours": (),
    "ours, NCHW": ("channels_last=false", "joint_batch=false"),
    "ours, fakes reused": ("schedule.reuse_fakes=true",),
    "ours, deterministic": ("deterministic=true",),
    "ours, eager": EAGER,
    "ours, graph": GRAPH,
    "ours, graph bf16": (*GRAPH, *BF16),
    "ours, compiled graph bf16": (*COMPILED, *BF16),
    "ours, graph, SN a step": (*GRAPH, *SHARED_SN),
    "ours, graph bf16, SN a step": (*GRAPH, *BF16, *SHARED_SN),
    "ours, compiled graph bf16, SN a step": (*COMPILED, *BF16, *SHARED_SN),
}
"""`ours` is the networks of the row with no further keys; bf16 goes with channels_last."""
SN_A_STEP = "SN a step"
"""In the name of every variant whose spectral norm is not evaluated as often as its peer's."""

VARIANTS_ON_A_CPU = ("ours", "ours, fakes reused", "ours, NCHW", "ours, deterministic")

ALL_PEERS = ("examples", "fidelity", "mimicry", "collections")
WITH_K = ("fidelity", "mimicry", "collections")
CONV_PAIRS = ("ours", "ours, eager", "ours, graph", "ours, graph bf16")
FOR_SN = ("ours", "ours, eager", "ours, graph", "ours, graph bf16, SN a step")


@dataclass(frozen=True, slots=True)
class Contest:
    """Loops over one pair of networks.

    Attributes:
        network: of NETWORKS.
        batch_size: B.
        d_steps: k.
        peers: of PEERS.
        against: the peer whose ratio stands in the table.
        variants: of VARIANTS.
        workers: processes of the peers' DataLoader; read where loops are fed.
    """

    network: str
    batch_size: int
    d_steps: int
    peers: tuple[str, ...]
    against: str
    variants: tuple[str, ...]
    workers: int = 0

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.network}, B={self.batch_size}, k={self.d_steps}"

    @property
    def overrides(self) -> tuple[str, ...]:
        """What all of its loops have in common."""
        return (
            *NETWORKS[self.network],
            f"schedule.batch_size={self.batch_size}",
            f"schedule.d_steps={self.d_steps}",
        )

    @property
    def seconds(self) -> float:
        """About what it takes on a GPU; compiling decides."""
        return 5 + 3 * (len(self.peers) + len(self.variants)) + 45 * sum("compiled" in v for v in self.variants)


LOOPS: dict[str, tuple[Contest, ...]] = {
    "gpu": (
        Contest("A", 64, 1, ALL_PEERS, "examples", (*CONV_PAIRS, "ours, deterministic", "ours, compiled graph bf16")),
        Contest("D", 64, 5, WITH_K, "fidelity", (*FOR_SN, "ours, compiled graph bf16, SN a step")),
        Contest("E", 64, 1, ("mimicry",), "mimicry", ("ours", "ours, graph bf16")),
        Contest("A", 128, 1, ("examples",), "examples", ("ours, graph bf16",)),
        Contest("A", 256, 1, ("examples", "mimicry"), "examples", CONV_PAIRS[1:]),
        Contest("D", 64, 1, ALL_PEERS, "examples", FOR_SN),
        Contest("D", 256, 1, ("examples", "mimicry"), "examples", FOR_SN[1:]),
    ),
    "cpu": (Contest("small", 32, 1, ALL_PEERS, "examples", VARIANTS_ON_A_CPU),),
}
FED: dict[str, tuple[Contest, ...]] = {
    "gpu": (
        Contest("A", 64, 1, ("examples",), "examples", ("ours", "ours, graph bf16"), workers=2),
        Contest("64px", 64, 1, ("examples",), "examples", ("ours", "ours, graph bf16"), workers=2),
        Contest("D", 64, 5, ("fidelity",), "fidelity", ("ours, graph", "ours, graph bf16, SN a step"), workers=4),
        Contest("A", 256, 1, ("examples",), "examples", ("ours", "ours, graph bf16"), workers=2),
    ),
    "cpu": (Contest("small", 32, 1, ("examples",), "examples", ("ours",), workers=2),),
}
"""End to end: the peers are fed by a DataLoader as they are shipped, ours has its images on the device."""

SWEPT: dict[str, Contest] = {
    "gpu": Contest("A", 64, 1, (), "", ("ours, graph", "ours")),
    "cpu": Contest("small", 32, 1, (), "", ("ours",)),
}
"""What several GANs at once are made of: the first variant that is available."""
LAYERS: dict[str, tuple[str, ...]] = {"gpu": ("A", "D"), "cpu": ("small",)}
"""Pairs whose layers are timed one by one."""
