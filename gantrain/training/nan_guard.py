"""The end of a run whose losses or gradients are no longer finite, in words."""

from gantrain.errors import FAILED, GantrainError
from gantrain.objectives import divergence_names
from gantrain.training.train_step import TrainStep


class NotFiniteError(GantrainError):
    """A loss or gradient that is not finite; no weight has been changed by it."""

    exit_code = FAILED


def check_finite(train_step: TrainStep, saved_step: int) -> None:
    """Reads from the device what the recorded iterations have seen, and so waits for it.

    Args:
        train_step: what is asked.
        saved_step: that of the last checkpoint.

    Raises:
        NotFiniteError: an update was not finite; the message names step, side, objective and ways out.
    """
    objective, buffer = train_step.objective, train_step.buffer
    found = buffer.first_bad_update()
    if found is None:
        return
    row, update, loss_was_finite = found
    first_step = train_step.step - buffer.count + 1
    k = buffer.made[row]
    generator = update == len(buffer.updates) - 1
    side = "generator" if generator else "discriminator"
    turn = "" if generator or k == 1 else f" (its update {update + 1} of {k})"
    ways = ["a lower learning rate (optimizer.lr_g, lr_d)"]
    if objective.gen in divergence_names() and objective.max_log_ratio is None:
        ways.insert(0, "a bound on the ratio, loss.max_log_ratio=10")
    if objective.disc == "pearson" and objective.param == "fgan":
        ways.append("loss.param=log_ratio, since a pearson logit below -2 stands for no ratio")
    raise NotFiniteError(
        f"step {first_step + row}: the {side}'s {'gradient' if loss_was_finite else 'loss'}{turn} is not finite "
        f"with {objective}. No weight was changed by it; last.pt holds step {saved_step}. "
        f"Things to try: {'; '.join(ways)}."
    )
