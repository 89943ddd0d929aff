"""Stops a run when a loss or gradient is not finite."""

from gantrain.errors import FAILED, GantrainError
from gantrain.objectives import divergence_names
from gantrain.training.train_step import TrainStep


class NotFiniteError(GantrainError):
    """A loss or gradient is not finite; no weight was changed by it."""

    exit_code = FAILED


def check_finite(train_step: TrainStep, saved_step: int) -> None:
    """Checks the losses and gradients of the iterations in the buffer; waits for the device.

    Args:
        train_step: its buffer is read.
        saved_step: step of the last checkpoint, for the message.

    Raises:
        NotFiniteError: an update was not finite; the message names step, side, objective and what to change.
    """
    objective, buffer = train_step.objective, train_step.buffer
    bad = buffer.first_bad_update()
    if bad is None:
        return
    row, update, loss_was_finite = bad
    step = train_step.step - buffer.count + 1 + row
    k = buffer.made[row]
    of_generator = update == len(buffer.updates) - 1
    side = "generator" if of_generator else "discriminator"
    number = "" if of_generator or k == 1 else f" (its update {update + 1} of {k})"
    remedies = ["a lower learning rate (optimizer.lr_g, lr_d)"]
    if objective.gen in divergence_names() and objective.max_log_ratio is None:
        remedies.insert(0, "a bound on the ratio, loss.max_log_ratio=10")
    if objective.disc == "pearson" and objective.param == "fgan":
        remedies.append("loss.param=log_ratio, since a pearson logit below -2 corresponds to no ratio")
    raise NotFiniteError(
        f"step {step}: the {side}'s {'gradient' if loss_was_finite else 'loss'}{number} is not finite with "
        f"{objective}. No weight was changed by it; last.pt contains step {saved_step}. "
        f"Things to try: {'; '.join(remedies)}."
    )
