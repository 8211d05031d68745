"""The line that a person needs of a verifier log."""

import pytest

from bpfstream.live.verifier import failing_slot, last_complaint

NULL_POINTER = """\
Live regs before insn:
0: R1=ctx() R10=fp0
; __u32 slot = 1; @ rejected.bpf.c:18
0: (b7) r1 = 1                        ; R1_w=1
1: (63) *(u32 *)(r10 -4) = r1         ; R1_w=1 R10=fp0 fp-8=????1
7: (85) call bpf_map_lookup_elem#1    ; R0_w=map_value_or_null(id=1,map=values,ks=4,vs=8)
; total += *value; @ rejected.bpf.c:21
8: (79) r1 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""

OLD_KERNEL = """\
0: (b7) r0 = 0
1: (85) call unknown#195896080
invalid func unknown#195896080
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
verification time 12 usec
stack depth 0
"""


@pytest.mark.parametrize(
    ("log", "complaint", "slot"),
    [
        (NULL_POINTER, "R0 invalid mem access 'map_value_or_null'", 8),
        (OLD_KERNEL, "invalid func unknown#195896080", 1),
        ("last insn is not an exit or jmp\n", "last insn is not an exit or jmp", None),
        ("", "refused without a reason", None),
        ("processed 0 insns (limit 1000000)\n", "refused without a reason", None),
    ],
)
def test_complaint_and_instruction(log: str, complaint: str, slot: int | None) -> None:
    assert last_complaint(log) == complaint
    assert failing_slot(log) == slot
