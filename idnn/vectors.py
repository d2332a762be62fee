"""What LLVM does not find in array loops, and elementary functions that it does.

The functions are of one number, of arithmetic alone and without branches: called in a loop, they
run on as many numbers at once as a register holds. Their polynomials were found with mpmath: of eʳ
and artanh by interpolation in Chebyshev points, of erfc as the one of least weighted error.
"""

from collections.abc import Callable
from typing import Any, no_type_check

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}}
"""Sums keep their order, and NaN and infinity their meaning."""

compiled: Callable[..., Any] = numba.njit(cache=True, **OPTIONS)
inlined: Callable[..., Any] = numba.njit(cache=True, forceinline=True, **OPTIONS)
"""For functions of many arrays, each of which a call would count in and out."""

BLOCK = 64
"""Cells that one block holds: a row of every array that `dense` takes."""

LANES = 8 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 4
VECTORS = 4 if LANES == 8 else 2
OUTPUTS = 4
"""`dense` sums as many outputs for VECTORS × LANES cells in registers."""

MAGIC = 1.5 * 2.0**52
"""x + MAGIC holds x, rounded to a whole number, in its last bits."""

LOG2_E, LOG_2 = 1.4426950408889634, 0.6931471805599453
EXP = (
    1.0, 1.0000000000000067, 0.5000000000000006, 0.16666666666554406, 0.04166666666657314,
    0.008333333385667782, 0.0013888888932488599, 0.00019841170270440067, 2.4801504346997686e-05,
    2.764018079620985e-06, 2.7626357241447223e-07,
)  # fmt: skip
"""Of eʳ, |r| ≤ ½ ln 2, to 2e-16."""

LOG = (
    1.0, 0.33333333333333826, 0.1999999999965117, 0.1428571438032084, 0.11111098528363024,
    0.09091815840114664, 0.07656264074182095, 0.07404855180327638,
)  # fmt: skip
"""Of artanh(s)/s by s², s ≤ (√2 − 1)/(√2 + 1), to 1e-16."""

ROOT_HALF_BITS = 0x3FE6A09E667F3BCD

ERFC_MIDDLE = 3.0
ERFC = (
    0.17900115119775867, -0.3262335587160418, 0.24560383272042913, -0.15011557682055035,
    0.0716683368733095, -0.02438109698541722, 0.004305005644344234, 0.0007875929665729272,
    -0.00047023475800985284, 0.00018768493614217165, 0.0001732603279983322, 3.919921365676286e-05,
    2.892588528624129e-06,
)  # fmt: skip
"""Of exp(a²) erfc(a), 0 ≤ a ≤ 6, by (a − 3)/(a + 3): exp(−a²) times that to 4e-15."""

ERF_SLOPE = 1.1283791670955126
"""2/√π."""


@intrinsic
@no_type_check
def widest(_: Any) -> Any:  # noqa: ANN401
    """Let the function that calls this use the widest registers; LLVM would take half of them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401, ARG001
        attributes = builder.function.attributes
        if isinstance(attributes, set):  # past llvmlite's own list, which has none with a value
            set.add(attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
@no_type_check
def _bits(_: Any, x: types.Float) -> Any:  # noqa: ANN401, ARG001
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401, ARG001
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
@no_type_check
def _from_bits(_: Any, n: types.Integer) -> Any:  # noqa: ANN401, ARG001
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401, ARG001
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), generate


@compiled
@no_type_check
def decay(x: float) -> float:
    """e⁻ˣ, |x| ≤ 708; NaN of NaN is not kept."""
    whole = MAGIC - x * LOG2_E
    n = whole - MAGIC
    r = -x - n * LOG_2
    y = EXP[10]
    for k in range(9, -1, -1):
        y = y * r + EXP[k]
    return _from_bits(_bits(y) + (_bits(whole) << 52))


@compiled
@no_type_check
def log(x: float) -> float:
    """Ln x of finite x ≥ 2⁻¹⁰²²; NaN of NaN is not kept."""
    bits = _bits(x)
    n = (bits - ROOT_HALF_BITS) >> 52
    m = _from_bits(bits - (n << 52))
    s = (m - 1.0) / (m + 1.0)
    q = s * s
    y = LOG[7]
    for k in range(6, -1, -1):
        y = y * q + LOG[k]
    return n * LOG_2 + 2.0 * s * y


@compiled
@no_type_check
def gelu(x: float) -> tuple[float, float]:
    """Value and slope of x (1 + erf x); NaN of NaN."""
    a = abs(x)
    a = 6.5 if a > 6.5 else a  # beyond, e is below the rounding of all else
    e = decay(a * a)
    t = (a - ERFC_MIDDLE) / (a + ERFC_MIDDLE)
    y = ERFC[12]
    for k in range(11, -1, -1):
        y = y * t + ERFC[k]
    y = y * e
    rise = y if x < 0.0 else 2.0 - y
    return x * rise, rise + ERF_SLOPE * x * e


@compiled
@no_type_check
def softplus(x: float) -> tuple[float, float]:
    """Value and slope of ln(1 + eˣ); NaN of NaN."""
    a = abs(x)
    e = decay(700.0 if a > 700.0 else a)
    share = 1.0 / (1.0 + e)
    return (x if x > 0.0 else 0.0 * x) + log(1.0 + e), share if x > 0.0 else 1.0 - share + 0.0 * x


@compiled
@no_type_check
def logcosh(x: float) -> tuple[float, float]:
    """Value and slope of ln cosh x; NaN of NaN."""
    a = abs(x)
    e = decay(2.0 * (350.0 if a > 350.0 else a))
    rise = (1.0 - e) / (1.0 + e)
    return a + log(1.0 + e) - LOG_2, (rise if x > 0.0 else -rise) + 0.0 * x


@compiled
@no_type_check
def squareplus(x: float) -> tuple[float, float]:
    """Value and slope of x + √(x² + 1)."""
    root = (x * x + 1.0) ** 0.5
    return x + root, (x + root) / root


@intrinsic
@no_type_check
def dense(
    _: Any,  # noqa: ANN401
    weight: types.Array,
    bias: types.Array,
    inputs: types.Array,
    outputs: types.Array,
    n_in: types.Integer,
    n_out: types.Integer,
) -> Any:  # noqa: ANN401
    """Outputs[j, b] = bias[j] + Σᵢ weight[j, i] inputs[i, b] for a block of cells b.

    All are contiguous float64; `n_out` is a multiple of OUTPUTS.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        weight, bias, inputs, outputs = (
            context.make_array(kind)(context, builder, value).data
            for kind, value in zip(signature.args[:4], args[:4], strict=True)
        )
        n_in, n_out = args[4:]
        integer, lanes = ir.IntType(64), ir.VectorType(ir.DoubleType(), LANES)
        row, width = integer(BLOCK), integer(LANES * VECTORS)
        anything = ir.Constant(lanes, ir.Undefined)
        first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)

        def everywhere(pointer: Any, index: Any) -> Any:  # noqa: ANN401
            number = builder.load(builder.gep(pointer, [index]))
            one = builder.insert_element(anything, number, ir.IntType(32)(0))
            return builder.shuffle_vector(one, anything, first)

        def at(pointer: Any, index: Any) -> Any:  # noqa: ANN401
            return builder.bitcast(builder.gep(pointer, [index]), lanes.as_pointer())

        steps = [integer(v * LANES) for v in range(VECTORS)]
        sums = [[cgutils.alloca_once(builder, lanes) for _ in steps] for _ in range(OUTPUTS)]

        def output(base: Any, k: int) -> Any:  # noqa: ANN401
            return builder.add(base, integer(k))

        def block_of_outputs(j: Any, b: Any) -> None:  # noqa: ANN401
            for k, of_output in enumerate(sums):
                start = everywhere(bias, output(j, k))
                for total in of_output:
                    builder.store(start, total)
            with cgutils.for_range(builder, n_in) as loop:
                base = builder.add(builder.mul(loop.index, row), b)
                cells = [
                    builder.load(at(inputs, builder.add(base, step)), align=8) for step in steps
                ]
                for k, of_output in enumerate(sums):
                    begin = builder.mul(output(j, k), n_in)
                    factor = everywhere(weight, builder.add(begin, loop.index))
                    for total, cell in zip(of_output, cells, strict=True):
                        term = builder.fmul(factor, cell, flags=("contract",))
                        both = builder.fadd(builder.load(total), term, flags=("contract",))
                        builder.store(both, total)
            for k, of_output in enumerate(sums):
                base = builder.add(builder.mul(output(j, k), row), b)
                for total, step in zip(of_output, steps, strict=True):
                    there = at(outputs, builder.add(base, step))
                    builder.store(builder.load(total), there, align=8)

        zero, some = integer(0), integer(OUTPUTS)
        with (
            cgutils.for_range_slice(builder, zero, n_out, some, integer) as (j, _),
            cgutils.for_range_slice(builder, zero, row, width, integer) as (b, _),
        ):
            block_of_outputs(j, b)
        return context.get_dummy_value()

    return types.void(weight, bias, inputs, outputs, n_in, n_out), generate
