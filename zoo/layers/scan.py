"""The first-order linear recurrence over time, many steps at once.

    h_t = a_t * h_{t-1} + b_t        elementwise, 0 <= a_t <= 1

One step is the map h -> a h + b. Such maps compose associatively,

    (a, b) then (a', b')  =  (a' a, a' b + b'),

so that time may be cut into chunks (Blelloch 1990, "Prefix sums and their applications",
section 1.4): first every chunk composes its own steps, all chunks side by side; then one
short loop over the chunks finds the state that each starts from; then every prefix is
applied to that state. 4096 steps become two loops of 64.

Why chunks: a tree of log2(time) levels goes through memory as many times; on a CPU a
training step took more than twice as long with it.

Why not logarithms, as in the appendix of "Were RNNs All We Needed?" (Feng et al. 2024): the
scan there (Heinsen 2023) divides by the product of all decays so far, which underflows, and
so has to be done in log space. Here nothing is divided. Products of decays only shrink, and
where one underflows to 0 its share is 0 in float32 anyway. Log space would add an exponential
and a logarithm to every step, half as much time again for the training step, and arrive at
the same numbers: the tests compare the two.
"""

from __future__ import annotations

from typing import Any

from keras import ops

CHUNK = 64
"""Steps that are composed one after the other; the chunks lie side by side."""


def recurrence(decay: Any, inflow: Any, initial: Any) -> Any:
    """Return every state h_t: for one step directly, for more by `linear_scan`.

    A known number of steps up to `CHUNK` is one chunk: gone through step by step.
    """
    if decay.shape[1] == 1:
        return decay * ops.expand_dims(initial, 1) + inflow
    return linear_scan(decay, inflow, initial)


@ops.custom_gradient
def linear_scan(decay: Any, inflow: Any, initial: Any) -> Any:
    """Return every state h_t = a_t h_{t-1} + b_t.

    The gradient is the same kind of recurrence backwards in time, so that nothing but
    decays and states has to be kept (dy = gradient of the loss by the returned states):

        l_t = dy_t + a_{t+1} l_{t+1},    da_t = l_t h_{t-1},    db_t = l_t,    dh_0 = a_1 l_1

    Args:
        decay: a, `float32[batch, time, units]`, each from 0 to 1.
        inflow: b, `float32[batch, time, units]`.
        initial: h_0, `float32[batch, units]`.

    Returns:
        `float32[batch, time, units]`.
    """
    time = ops.shape(decay)[1]
    decays = _fold(decay)
    states = _unfold(_forwards(decays, _fold(inflow), initial), time)

    def gradient(*arguments: Any, upstream: Any = None) -> tuple[Any, Any, Any]:
        # TensorFlow and JAX pass the gradient by position, torch by name.
        upstream = arguments[0] if upstream is None else upstream
        adjoint = _unfold(_backwards(decays, _fold(upstream)), time)
        before = ops.concatenate([ops.expand_dims(initial, 1), states[:, :-1]], axis=1)
        return adjoint * before, adjoint, decay[:, 0] * adjoint[:, 0]

    return states, gradient


def _forwards(decays: Any, inflows: Any, initial: Any) -> Any:
    """Return h, all but `initial` as `[position, batch, chunk, units]`."""

    def compose(before: tuple[Any, Any], step: tuple[Any, Any]) -> tuple[Any, Any]:
        (product, total), (decay, inflow) = before, step
        after = (decay * product, decay * total + inflow)
        return after, after

    nothing = (ops.ones_like(decays[0]), ops.zeros_like(decays[0]))
    chunks, (product, total) = ops.scan(compose, nothing, (decays, inflows))
    return product * _starts(chunks, initial) + total


def _backwards(decays: Any, upstream: Any) -> Any:
    """Return l, all as `[position, batch, chunk, units]`."""

    def compose(after: tuple[Any, Any], step: tuple[Any, Any]) -> tuple[Any, Any]:
        (product, total), (decay, gradient) = after, step
        adjoint = gradient + total
        return (decay * product, decay * adjoint), (product, adjoint)

    nothing = (ops.ones_like(decays[0]), ops.zeros_like(decays[0]))
    chunks, (product, total) = ops.scan(compose, nothing, (decays, upstream), reverse=True)
    zeros = ops.zeros_like(decays[0, :, 0])
    return product * _starts(chunks, zeros, reverse=True) + total


def _starts(chunks: tuple[Any, Any], initial: Any, reverse: bool = False) -> Any:
    """Return the state that each chunk starts from, `[batch, chunk, units]`."""

    def through(state: Any, chunk: Any) -> tuple[Any, Any]:
        decay, inflow = chunk[0], chunk[1]
        return decay * state + inflow, state

    # As one tensor: of two, ops.scan wants to know the number of chunks beforehand.
    maps = ops.transpose(ops.stack(chunks), (2, 0, 1, 3))
    _, starts = ops.scan(through, initial, maps, reverse=reverse)
    return ops.swapaxes(starts, 0, 1)


def _fold(values: Any) -> Any:
    """Turn `[batch, time, units]` into `[position, batch, chunk, units]`.

    What fills up the last chunk is 0; no real step comes after it, and the gradient that
    comes back from it is 0.
    """
    batch, time, units = ops.shape(values)
    chunk = min(CHUNK, time) if isinstance(time, int) else CHUNK
    chunks = -(-time // chunk)
    values = ops.pad(values, [[0, 0], [0, chunks * chunk - time], [0, 0]])
    return ops.transpose(ops.reshape(values, (batch, chunks, chunk, units)), (2, 0, 1, 3))


def _unfold(values: Any, time: Any) -> Any:
    """Undo `_fold`."""
    chunk, batch, chunks, units = ops.shape(values)
    return ops.reshape(ops.transpose(values, (1, 2, 0, 3)), (batch, chunk * chunks, units))[
        :, :time
    ]
