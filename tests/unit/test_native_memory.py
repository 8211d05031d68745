"""The compiled module gives back all memory that it takes, also where it ends in an error."""

import gc
import sys

import pytest

from bpfstream._native import COMPILED, hot
from tests.support.native_calls import CALLS, repeat

pytestmark = pytest.mark.skipif(not COMPILED, reason="needs the compiled module")

ROUNDS = 200


def test_there_are_calls_for_everything_in_the_module():
    assert {name for name in dir(hot) if not name.startswith("__")} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_what_is_repeated_leaves_no_memory_behind(name):
    if sys.getallocatedblocks() == 0:
        pytest.skip("needs Python's own allocator, which counts its blocks")

    def blocks_after(rounds: int) -> int:
        repeat(name, rounds)
        gc.collect()
        return sys.getallocatedblocks()

    blocks_after(ROUNDS)
    before = blocks_after(ROUNDS)
    assert blocks_after(ROUNDS) - before < ROUNDS // 10
