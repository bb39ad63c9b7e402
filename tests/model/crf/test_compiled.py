"""Kernels are compiled once and kept; what one factory makes for different values is kept apart."""

import re

import pytest

from toco.model.crf.compiled import compiled, compiled_loosely


def adder(value, decorate):
    @decorate
    def add(number):
        return number + value

    return add


@pytest.mark.parametrize("decorate", [compiled, compiled_loosely])
def test_kernels_of_one_factory_share_no_name(decorate):
    kernels = {value: adder(value, decorate) for value in (1, 2, 12)}
    assert {value: kernel(40) for value, kernel in kernels.items()} == {1: 41, 2: 42, 12: 52}
    named = [kernel.overloads[kernel.signatures[0]].fndesc.mangled_name for kernel in kernels.values()]
    # Every process counts from 1: without the count names must differ too.
    assert len({re.sub(r"B\d+v\d+", "", name) for name in named}) == len(kernels)


def test_a_kernel_that_encloses_nothing_keeps_its_name():
    @compiled
    def double(number):
        return 2 * number

    assert double(4) == 8
    assert double.py_func.__qualname__.endswith("<locals>.double")
