"""Short float vectors inside compiled kernels: one processor instruction works on all channels of a row.

numba turns plain loops into vector code, but only long ones; rows of 2, 4 or 8 channels would stay scalar. These
operations name the vectors outright. They compile to whatever the processor has (AVX, SSE, NEON).
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

FLOAT_BYTES = 4


class Vector(types.Type):
    """numba type of a vector of `lanes` float32."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(f"Vector({lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, ir.VectorType(ir.FloatType(), vector.lanes))  # type: ignore[no-untyped-call] # llvmlite has no types


@intrinsic(prefer_literal=True)
def _load(_context: Any, values: Any, position: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, signature, arguments), align=FLOAT_BYTES)

    return Vector(lanes.literal_value)(values, position, lanes), generate


@intrinsic(prefer_literal=True)
def _store(_context: Any, values: Any, position: Any, lanes: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[3], _pointer(context, builder, signature, arguments), align=FLOAT_BYTES)
        return context.get_dummy_value()

    return types.void(values, position, lanes, vector), generate


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    values, _, lanes, *_ = signature.args
    array = context.make_array(values)(context, builder, arguments[0])
    kind = ir.VectorType(ir.FloatType(), lanes.literal_value)
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), kind.as_pointer())


@intrinsic
def _multiply_add(_context: Any, weight: Any, vector: Any, addend: Any) -> Any:

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        weight_value, vector_value, addend_value = arguments
        kind = vector_value.type
        lane = ir.Constant(ir.IntType(32), 0)
        spread = builder.insert_element(ir.Constant(kind, ir.Undefined), weight_value, lane)
        spread = builder.shuffle_vector(
            spread, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None)
        )
        product = builder.fmul(spread, vector_value, flags=("contract",))
        return builder.fadd(product, addend_value, flags=("contract",))

    return vector(weight, vector, addend), generate


@intrinsic
def _prefetch(_context: Any, values: Any, position: Any) -> Any:

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.bitcast(builder.gep(array.data, [arguments[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        # To read, into the first-level cache, data.
        builder.call(fetch, [address, *(ir.Constant(number, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(values, position), generate


# `load(values, position, lanes)`: neighbours in a C-contiguous float32 array, by place in memory; `lanes` is constant.
load: Callable[[Any, Any, int], Any] = cast("Any", _load)
# `store(values, position, lanes, vector)`: the reverse.
store: Callable[[Any, Any, int, Any], None] = cast("Any", _store)
# `multiply_add(weight, vector, addend)`: `weight * vector + addend` with a float32 weight, lane by lane.
multiply_add: Callable[[Any, Any, Any], Any] = cast("Any", _multiply_add)
# `prefetch(values, position)`: bring the place of a C-contiguous array near, without waiting for it.
prefetch: Callable[[Any, Any], None] = cast("Any", _prefetch)
