"""Short float vectors inside compiled kernels: one processor instruction works on all channels of a row.

numba turns plain loops into vector code, but only long ones; rows of 2, 4 or 8 channels would stay scalar. These three
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
        super().__init__(manager, vector, ir.VectorType(ir.FloatType(), vector.lanes))  # type: ignore[no-untyped-call]


def loader(lanes: int) -> Callable[[Any, Any], Any]:
    """Make `load(values, position)`: `lanes` neighbours in a C-contiguous float32 array, by place in memory."""

    @intrinsic
    def load(_context: Any, values: Any, position: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = _pointer(context, builder, signature, arguments, lanes)
            return builder.load(pointer, align=FLOAT_BYTES)

        return Vector(lanes)(values, position), generate

    made: Any = load
    return cast("Callable[[Any, Any], Any]", made)


def storer(lanes: int) -> Callable[[Any, Any, Any], None]:
    """Make `store(values, position, vector)`, the reverse of `loader`."""

    @intrinsic
    def store(_context: Any, values: Any, position: Any, vector: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = _pointer(context, builder, signature, arguments, lanes)
            builder.store(arguments[2], pointer, align=FLOAT_BYTES)
            return context.get_dummy_value()

        return types.void(values, position, vector), generate

    made: Any = store
    return cast("Callable[[Any, Any, Any], None]", made)


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, lanes: int) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    first = builder.gep(array.data, [arguments[1]])
    return builder.bitcast(first, ir.VectorType(ir.FloatType(), lanes).as_pointer())


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


# `multiply_add(weight, vector, addend)`: `weight * vector + addend` with a float32 weight, lane by lane.
multiply_add: Callable[[Any, Any, Any], Any] = cast("Any", _multiply_add)
