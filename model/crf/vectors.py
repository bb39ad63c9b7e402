"""Short float vectors inside compiled kernels: one processor instruction works on all channels of a row.

numba turns plain loops into vector code, but only long ones; rows of 2, 4 or 8 channels would stay scalar. These three
operations name the vectors outright. They compile to whatever the processor has (AVX, SSE, NEON).
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

FLOAT_BYTES = 4


class Vector(types.Type):  # type: ignore[misc]
    """numba type of a vector of `lanes` float32."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Vector({lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, ir.VectorType(ir.FloatType(), vector.lanes))


def loader(lanes: int) -> Callable[[Any, Any, Any], Any]:
    """Make `load(rows, row, column)`: `lanes` neighbouring values of a C-contiguous (n, c) float32 array."""

    @intrinsic  # type: ignore[untyped-decorator]
    def load(_context: Any, rows: Any, row: Any, column: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = _pointer(context, builder, signature, arguments, lanes)
            return builder.load(pointer, align=FLOAT_BYTES)

        return Vector(lanes)(rows, row, column), generate

    made: Callable[[Any, Any, Any], Any] = load
    return made


def storer(lanes: int) -> Callable[[Any, Any, Any, Any], None]:
    """Make `store(rows, row, column, vector)`, the reverse of `loader`."""

    @intrinsic  # type: ignore[untyped-decorator]
    def store(_context: Any, rows: Any, row: Any, column: Any, vector: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = _pointer(context, builder, signature, arguments, lanes)
            builder.store(arguments[3], pointer, align=FLOAT_BYTES)
            return context.get_dummy_value()

        return types.void(rows, row, column, vector), generate

    made: Callable[[Any, Any, Any, Any], None] = store
    return made


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, lanes: int) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    wide = ir.IntType(64)
    indices = [builder.zext(index, wide) if index.type.width < wide.width else index for index in arguments[1:3]]
    width = cgutils.unpack_tuple(builder, array.shape, 2)[1]
    position = builder.add(builder.mul(indices[0], width), indices[1])
    return builder.bitcast(builder.gep(array.data, [position]), ir.VectorType(ir.FloatType(), lanes).as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def multiply_add(_context: Any, weight: Any, vector: Any, addend: Any) -> Any:
    """`weight * vector + addend` with a float32 weight, lane by lane."""

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
