"""What differs from JBOAT for one boat_config: a phrase for the notice of a script, a sentence for `boat convert`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .chain import Chain


@dataclass(frozen=True)
class Note:
    """One difference.

    Args:
        key: the key of the boat_config to which it belongs.
        short: a phrase.
        full: one or two sentences.
    """

    key: str
    short: str
    full: str


def notes_of_chain(chain: Chain, copies: bool) -> Iterator[Note]:
    """Yield what differs for these operations.

    Args:
        chain: the operations.
        copies: whether `copy_last_param` is true.
    """
    for name, reason in chain.dropped:
        key = "gm_op" if name == "NGD" else "na_op"
        yield Note(key, f"{name} is left out", f"{name} is left out of this chain: {reason}.")
    for names, key, short, full in _BY_OPERATION:
        if chain.names & set(names):
            yield Note(key, short, full)
    if "PTT" in chain.names and chain.names & {"CG", "NS", "FD", "IGA"}:
        yield Note("na_op", *_COUNTED_TWICE)
    if "IAD" in chain.names and "FOA" not in chain.names:
        yield Note("na_op", *_MAML)
    if "DI" in chain.names and copies:
        yield Note("copy_last_param", *_LEARNED_START)
    elif "IAD" in chain.names and copies:
        yield Note("copy_last_param", *_START_AT_X)
    if "DM" in chain.names:
        yield Note("lower_iters", *_ONE_STEP)
        yield Note("copy_last_param", *_DM_STEP)


_BY_OPERATION = (
    (
        ("CG", "NS"),
        "na_op",
        "CG and NS solve their system",
        "CG and NS solve (∇²_yy f) q = ∇_y F. JBOAT differentiates the vector of each product too, and gets other"
        " numbers from the second product on.",
    ),
    (
        ("PTT",),
        "na_op",
        "PTT selects a step",
        "PTT cuts the trajectory where F is largest. In JBOAT it selects nothing.",
    ),
    (
        ("RGT",),
        "na_op",
        "RGT truncates",
        "RGT takes all lower steps and pulls back through the last ones. In JBOAT only the direct part is left.",
    ),
    (
        ("FOA",),
        "na_op",
        "FOA works",
        "FOA with IAD is first-order MAML. JBOAT raises an error.",
    ),
    (
        ("FD",),
        "na_op",
        "FD's centre is y_(T-1)",
        "FD takes its difference around y_(T-1), as DARTS defines it. JBOAT takes it around y_0.",
    ),
    (
        ("DI",),
        "gm_op",
        "DI moves the start along dF(y_T)/dy_0",
        "DI moves the start of y along the derivative of F(x, y_T) with respect to it, by an optimizer of the upper"
        " one's class. JBOAT moves it along ∇_y F(y_T), by plain gradient steps.",
    ),
    (("VFO",), "fo_op", "VFO moves x and y", "VFO moves x and y along ∇F + λ∇q. In JBOAT neither moves."),
    (
        ("VSO",),
        "fo_op",
        "VSO's barrier pulls",
        "VSO's barrier pulls x and y, and z_lr is the step size of z. JBOAT's barrier is a constant, and z_lr moves y.",
    ),
    (("PGDO",), "fo_op", "PGDO moves x", "PGDO's penalty moves x. In JBOAT x never moves."),
)
_COUNTED_TWICE = (
    "with PTT, nothing is counted twice",
    "CG, NS, FD and IGA take ∇_x F and their own term. In JBOAT, beside PTT, ∇_x F holds the unrolled derivative as"
    " well.",
)
_MAML = (
    "IAD is MAML with second derivatives",
    "IAD differentiates through the lower steps. JBOAT's IAD alone is first-order MAML: ∇_y F at y_T.",
)
_LEARNED_START = (
    "the model holds y_T, and y starts at DI's start",
    "copy_last_param writes y_T into the lower model, for evaluation. The next iteration starts at the start that DI"
    " has learned, unless the script writes into the lower model.",
)
_START_AT_X = (
    "y starts at x",
    "IAD starts every iteration at x, and copy_last_param does not change that. In JBOAT the step of x would begin at"
    " y_T.",
)
_ONE_STEP = ("DM takes one lower step", "DM takes one lower step in an iteration, whatever lower_iters says.")
_DM_STEP = ("DM's step of y counts", "DM's step of y is kept. With copy_last_param, JBOAT undoes it.")


def notes_of_return(returns_gradient: bool) -> Iterator[Note]:
    """Yield what differs for `return_grad`."""
    if returns_gradient:
        full = (
            "return_grad returns the hypergradient of this iteration and leaves x where it is. JBOAT returns the sum of"
            " all iterations so far."
        )
        yield Note("return_grad", "return_grad: x stays, and gradients do not add up over iterations", full)


def notes_of_optimizers(upper: str, upper_is_plain: bool, lower: str, lower_is_plain: bool) -> Iterator[Note]:
    """Yield what differs for the optimizers.

    Args:
        upper, lower: the optimizers as text.
        upper_is_plain, lower_is_plain: whether they are plain gradient descent.
    """
    if not upper_is_plain:
        full = f"The upper optimizer is {upper}. JBOAT takes only its step size, for plain gradient steps."
        yield Note("upper_level_opt", f"the upper optimizer is {upper}", full)
    if not lower_is_plain:
        full = f"The lower steps are those of {lower}, and derivatives pass through them. In JBOAT they are not."
        yield Note("lower_level_opt", f"the lower optimizer is {lower}", full)


def notes_of_variables(both: int, left_alone: list[str], starts_at_upper: bool, added: bool) -> Iterator[Note]:
    """Yield what differs, or may surprise, in the lists of variables."""
    if both:
        full = f"{both} lower variables are upper variables too. Only the upper level moves them."
        yield Note("lower_level_var", f"{both} arrays of both levels belong to the upper one", full)
    if starts_at_upper and added:
        full = "The lower variables are the upper variables, so x is the start of y: IAD is added to the chain."
        yield Note("na_op", "IAD is added, since x and y are the same arrays", full)
    if left_alone:
        names = ", ".join(left_alone[:3]) + (", …" if len(left_alone) > 3 else "")
        full = (
            f"{len(left_alone)} trainable arrays of the lower model are in neither list of variables and keep their"
            f" values ({names}). Jittor's parameters() does not look into plain lists of modules; it does into a"
            " jittor.nn.ModuleList."
        )
        yield Note("lower_level_var", f"{len(left_alone)} arrays of the lower model are in no list ({names})", full)


#: What holds for every configuration.
ALWAYS = (
    Note(
        "upper_level_var",
        "NaN is an error",
        "A NaN or an infinity is an error that names the step and the array. JBOAT sets such gradients to zero.",
    ),
    Note(
        "gda_loss",
        "dictionaries are not changed",
        "The feed dictionaries and the configuration are not changed. JBOAT writes alpha and gda_loss into them.",
    ),
)


def notice(notes: list[Note]) -> str:
    """Return the notice that the first `run_iter` prints."""
    if not notes:
        return "[boat-compat] solved by BOAT; nothing in this configuration differs from JBOAT"
    return f"[boat-compat] unlike JBOAT: {'; '.join(note.short for note in notes)}. More: boat convert"
