"""Scalars of an interval of training, computed from the step buffer."""

import dataclasses
import math

import torch
from torch import Tensor

from gantrain.objectives import Objective


@torch.no_grad()
def pair_scalars(
    objective: Objective,
    real: Tensor,
    fake: Tensor,
    generated: Tensor,
    updates: Tensor,
    *,
    d_updates: int,
    notes: dict[str, Tensor],
) -> dict[str, float]:
    """The scalars that a run logs; copies them from the device.

    Args:
        objective: the pair.
        real: v on real images in the discriminator step, (steps, batch).
        fake: v on the same step's fakes.
        generated: v on the generator step's fakes, after the discriminator's update.
        updates: loss and gradient norm of each update, (k + 1, steps, 2), the generator's last; 0 for updates that a
            step did not make.
        d_updates: number of discriminator updates.
        notes: (steps,) of other scalars by name, NaN at steps without a value; those without any value are omitted.

    Returns:
        Means over the interval. `D/real` and `D/fake` are σ(log r), D's probability of "real"; they, `log_ratio` and
        `ratio` exist for discriminators that estimate a ratio. `ratio/E_p[r]` and `ratio/E_q[1/r]` are 1 for a
        calibrated ratio. All use the ratio before `max_log_ratio`, which clips the share `log_ratio/clipped`.
    """
    of_d, of_g = updates[:-1].sum(dim=(0, 1)) / d_updates, updates[-1].mean(dim=0)
    found = {
        "loss/discriminator": of_d[0],
        "loss/generator": of_g[0],
        "gradient_norm/discriminator": of_d[1],
        "gradient_norm/generator": of_g[1],
        "logit/real": real.mean(),
        "logit/fake": fake.mean(),
        "logit/generated": generated.mean(),
    }
    if objective.boundary is not None:
        right = ((real > objective.boundary).float().mean() + (fake < objective.boundary).float().mean()) / 2
        found["accuracy"] = right
    elif objective.needs_real_logits:
        found["accuracy"] = (real > fake).float().mean()
    if objective.has_log_ratio:
        unbounded = dataclasses.replace(objective, max_log_ratio=None)  # the bound would hide a drift of the ratio
        on_real, on_fake, on_generated = (unbounded.log_ratio(v) for v in (real, fake, generated))
        found |= {
            "D/real": _mean(torch.sigmoid(on_real)),
            "D/fake": _mean(torch.sigmoid(on_fake)),
            "D/generated": _mean(torch.sigmoid(on_generated)),
            "log_ratio/real": _mean(on_real),
            "log_ratio/fake": _mean(on_fake),
            "log_ratio/real_std": _std(on_real),
            "log_ratio/fake_std": _std(on_fake),
            "ratio/E_p[r]": _mean(on_fake.double().exp()),
            "ratio/E_q[1/r]": _mean((-on_real.double()).exp()),
        }
        if objective.max_log_ratio is not None:
            found["log_ratio/clipped"] = objective.ratio_is_clipped(generated).float().mean()
        outside = torch.cat((on_real, on_fake, on_generated)).isnan().float().mean()
        if objective.disc == "pearson" and objective.param == "fgan":
            found["log_ratio/undefined"] = outside
    found |= {name: _mean(values) for name, values in notes.items()}
    names = list(found)
    values = dict(zip(names, torch.stack([found[name].double() for name in names]).tolist(), strict=True))
    return {name: value for name, value in values.items() if not (name in notes and math.isnan(value))}


def _mean(values: Tensor) -> Tensor:
    """Mean without NaN, since pearson's logits below -2 correspond to no ratio."""
    return values.nanmean()


def _std(values: Tensor) -> Tensor:
    return (values - values.nanmean()).square().nanmean().sqrt()
