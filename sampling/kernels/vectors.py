"""What 64 lanes do at once without leaving the registers; LLVM does not find it in array loops."""

from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 64


@intrinsic
@no_type_check
def count_odd(
    _: Any,  # noqa: ANN401
    occupation: types.Array,
    near: types.Array,
    entries: types.Array,
    begin: types.Integer,
    end: types.Integer,
    others: types.Integer,
    count: types.Array,
) -> Any:  # noqa: ANN401
    """Clusters of which an odd number of the other sites is filled.

    `entries[begin:end]` lists clusters of `others` sites as numbers into the row `near` of sites;
    `occupation` holds a byte per site and lane. The result is written to `count` in its type.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        occupation, near, entries, begin, end, others, count = _unpacked(
            context, builder, signature, args
        )
        wide = ir.IntType(64)
        lanes = ir.VectorType(ir.IntType(8), LANES)
        sums = ir.VectorType(context.get_data_type(signature.args[-1].dtype), LANES)
        sites = builder.bitcast(occupation, lanes.as_pointer())
        total = cgutils.alloca_once(builder, sums)
        parity = cgutils.alloca_once(builder, lanes)
        builder.store(sums(None), total)
        with cgutils.for_range_slice(builder, begin, end, others, begin.type) as (first, _):
            builder.store(lanes(None), parity)
            with cgutils.for_range(builder, others) as loop:
                entry = builder.load(builder.gep(entries, [builder.add(first, loop.index)]))
                site = builder.load(builder.gep(near, [builder.zext(entry, wide)]))
                filled = builder.load(builder.gep(sites, [builder.zext(site, wide)]), align=1)
                builder.store(builder.xor(builder.load(parity), filled), parity)
            odd = builder.load(parity)
            odd = odd if sums == lanes else builder.zext(odd, sums)
            builder.store(builder.add(builder.load(total), odd), total)
        builder.store(builder.load(total), builder.bitcast(count, sums.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(occupation, near, entries, begin, end, others, count), generate


@intrinsic
@no_type_check
def weighted_sum(
    _: Any,  # noqa: ANN401
    offset: types.Array,
    weight: types.Array,
    number: types.Array,
    terms: types.Integer,
    total: types.Array,
) -> Any:  # noqa: ANN401
    """`total` = `offset` + Σ_t `weight`_t `number`_t of each lane, in float32 and in order."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        *arrays, terms, result = _unpacked(context, builder, signature, args)
        lanes = ir.VectorType(ir.FloatType(), LANES).as_pointer()
        offset, weight, number = (builder.bitcast(array, lanes) for array in arrays)
        total = cgutils.alloca_once_value(builder, builder.load(offset, align=4))
        with cgutils.for_range(builder, terms) as loop:
            each = [builder.load(builder.gep(a, [loop.index]), align=4) for a in (weight, number)]
            builder.store(builder.fadd(builder.load(total), builder.fmul(*each)), total)
        builder.store(builder.load(total), builder.bitcast(result, lanes), align=4)
        return context.get_dummy_value()

    return types.void(offset, weight, number, terms, total), generate


@no_type_check
def _unpacked(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:  # noqa: ANN401
    """The arguments, with a pointer to its data for every (contiguous) array."""
    return [
        context.make_array(kind)(context, builder, value).data
        if isinstance(kind, types.Array)
        else value
        for kind, value in zip(signature.args, args, strict=True)
    ]
