"""A hint to the processor that memory will be read soon."""

from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
@no_type_check
def prefetch(_: Any, array: types.Array, index: types.Integer) -> Any:  # noqa: ANN401
    """Fetch the cache line of `array[index]`, contiguous; it changes nothing but the time taken."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        hint = builder.module.declare_intrinsic("llvm.prefetch", (address.type,), kind)
        builder.call(hint, [address, word(0), word(3), word(1)])  # To read, keep, as data.
        return context.get_dummy_value()

    return types.void(array, index), generate
