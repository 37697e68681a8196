"""Correlations of many short sounds with their own past, compiled for float32 when this is first imported."""

from __future__ import annotations

from numba import float32, int64, void

from rtsep.engine.compiled.elementary import FUSED, compiled

rows = float32[:, ::1]


@compiled(void(rows, int64, int64, rows, rows), fastmath=FUSED)
def lag_products(sounds, newest, longest, products, energies):
    """Fills `products` and `energies` `[sounds, lags]` for the lags `longest`, `longest` − 1, …

    Of `sounds` `[sounds, samples]`, whole numbers, the `newest` samples are multiplied by those a lag earlier, whose
    squares are summed. Sums below 2²⁴ are exact, whatever their order.
    """
    size, lags = sounds.shape[1], products.shape[1]
    begin = size - newest
    for row in range(len(sounds)):
        sound, product, energy = sounds[row], products[row], energies[row]
        product[:] = 0
        for i in range(newest):  # lags lie side by side, for vectors of them
            here, past = sound[begin + i], sound[begin + i - longest : begin + i - longest + lags]
            for lag in range(lags):
                product[lag] += here * past[lag]
        total = float32(0)
        for value in sound[begin - longest : size - longest]:
            total += value * value
        for lag in range(lags):
            energy[lag] = total
            gone, come = sound[begin - longest + lag], sound[size - longest + lag]
            total += come * come - gone * gone
