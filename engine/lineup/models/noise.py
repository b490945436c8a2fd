"""Seeded noise, drawn on the host: the same bits on every backend, platform and NumPy version.

Random bits come from Philox4x64-10, a counter-based generator that is defined by integer arithmetic
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011); the key is the seed. They
become normal numbers by the inverse of the normal distribution, algorithm AS 241 (Wichura,
Applied Statistics 37, 1988), which takes additions, multiplications, divisions and square roots
only, and one logarithm, which is computed here from the same operations. IEEE 754 fixes the result
of each of them; the logarithm and exponential of a platform's C library, on which NumPy's own
normal numbers rest, are not fixed by anything.
"""

from __future__ import annotations

import math

import numpy as np

from lineup.errors import UsageError
from lineup.types import Float32Array, Float64Array

SEEDS = 2**64
"""Seeds are 0 to this, exclusive."""

_LN_2 = 0.693147180559945309417232
_CENTRAL = 0.425
_CENTRAL_SQUARED = 0.180625
_SPLIT = 5.0

# AS 241, PPND16: coefficients of the numerators and denominators, highest power first.
_CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
_MIDDLE = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
_TAIL = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)


def noise_from_seed(seed: int, shape: tuple[int, ...], *, stream: int = 0) -> Float32Array:
    """Return standard normal noise.

    Args:
        seed: 0 to 2**64 - 1.
        shape: Of the noise. A longer array of the same seed starts with the shorter one's numbers.
        stream: 0 or above; streams of one seed are independent. An image starts with stream 0;
            what its step k adds is stream k + 1.

    Returns:
        float32, each within -8.3..8.3.

    Raises:
        UsageError: The seed is out of range.
    """
    if not 0 <= seed < SEEDS:
        raise UsageError(f"The seed is {seed}, expected 0 to {SEEDS - 1}.")
    # The stream takes the highest quarter of the counter, so that streams never meet.
    bits = np.random.Philox(key=seed, counter=stream << 192).random_raw(math.prod(shape))
    # 52 bits: the middle of each of the 2**52 intervals is a float64, and never 0 or 1.
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return normal_from_uniform(uniform).astype(np.float32).reshape(shape)


def normal_from_uniform(uniform: Float64Array) -> Float64Array:
    """Return the inverse of the standard normal distribution, to about 1e-15 (AS 241).

    Args:
        uniform: Shape (n,), float64, above 0 and below 1.
    """
    centred = uniform - 0.5
    normal = np.empty_like(uniform)
    is_central = np.abs(centred) <= _CENTRAL
    inner = centred[is_central]
    normal[is_central] = inner * _ratio(_CENTRE, _CENTRAL_SQUARED - inner * inner)

    outer = centred[~is_central]
    tail = np.minimum(uniform, 1.0 - uniform)[~is_central]
    root = np.sqrt(-_log(tail))
    magnitude = np.where(root <= _SPLIT, _ratio(_MIDDLE, root - 1.6), _ratio(_TAIL, root - _SPLIT))
    normal[~is_central] = np.copysign(magnitude, outer)
    return normal


def _ratio(
    coefficients: tuple[tuple[float, ...], tuple[float, ...]], value: Float64Array
) -> Float64Array:
    numerator, denominator = (np.polyval(part, value) for part in coefficients)
    ratio: Float64Array = numerator / denominator
    return ratio


def _log(value: Float64Array) -> Float64Array:
    """Return the natural logarithm by 2 artanh((m - 1) / (m + 1)) of the mantissa m.

    With m between sqrt(1/2) and sqrt(2) the terms fall by a factor of 34 or more; twelve of them
    are below the rounding of float64.
    """
    mantissa, exponent = np.frexp(value)
    is_small = mantissa < math.sqrt(0.5)
    mantissa = np.where(is_small, mantissa * 2.0, mantissa)
    exponent = exponent - is_small
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    series = np.polyval([1.0 / power for power in range(23, 0, -2)], ratio * ratio)
    log: Float64Array = exponent * _LN_2 + 2.0 * ratio * series
    return log
