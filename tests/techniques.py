"""Tiny runs that together use every technique, for tests on a CPU and on a GPU."""

from tests.conftest import TINY

RUNS = {
    "points": ("data=ring", "loss=exact", "model.width=8"),
    "kl": ("loss.gen=kl",),
    "poole": ("model=poole", "model.width=4", "loss.gen=hellinger", "metrics=none"),
    "bf16": ("precision=bf16", "loss.disc=hinge", "model.d_norm=batch"),
    "bf16 under spectral norm": ("precision=bf16", "loss=exact"),
    "labels, ADA, history": ("cond=acgan", "augment=ada", "tricks.history=20", "tricks.top_k=0.5"),
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
        *("regularizer=dragan", "data.dequantize=true", "tricks.instance_noise=0.1", "optimizer.grad_clip_norm=1"),
    ),
    "spectral norm per step, one batch, channels last": (
        *("model.sn_schedule=per_step", "joint_batch=true", "channels_last=true", "precision=bf16", "cond=projection"),
    ),
    "fakes reused": (
        *(
            "schedule.reuse_fakes=true",
            "schedule.d_steps=2",
            "cond=acgan",
            "augment=diffaugment",
            "tricks.history=20",
        ),
        *("tricks.top_k=0.5", "tricks.instance_noise=0.1", "regularizer=r1r2", "model.d_norm=layer"),
    ),
    "clipping": ("regularizer=clip", "model.d_norm=none", "loss=wasserstein", "schedule.early_d_steps=3"),
}
"""Overrides by name."""


def tiny(overrides: tuple[str, ...]) -> list[str]:
    """A run of a few seconds with these overrides, on the digits unless they name other data."""
    points = any(word.startswith("data=") for word in overrides)
    left_out = ("data=", "log.grid_images") if points else ()
    return [*(word for word in TINY if not word.startswith(left_out or "\0")), *overrides]
