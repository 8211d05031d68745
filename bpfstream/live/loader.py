"""From a spec to live programs and maps: create, fill, freeze, load."""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from bpfstream.abi.maps import MapType
from bpfstream.abi.programs import ProgramType
from bpfstream.btf import Btf
from bpfstream.errors import KernelError, ObjectError
from bpfstream.kernel import bpf
from bpfstream.kernel.btf import read_btf
from bpfstream.kernel.config import kernel_version
from bpfstream.kernel.privileges import explain
from bpfstream.linker import LinkedObject, LinkedProgram, ModuleBtf, link
from bpfstream.live.object import BaseObject, Object
from bpfstream.live.object_btf import LoadedBtf, load_btf
from bpfstream.live.program import Program
from bpfstream.live.target import running_kernel
from bpfstream.maps import Map, create_map
from bpfstream.spec import MapSpec, ObjectSpec, Pinning

L = TypeVar("L", bound=BaseObject)

_KEY = struct.Struct("=I")
_FD = struct.Struct("=i")


def load_object(
    source: str | PathLike[str] | bytes | ObjectSpec,
    *,
    btf: str | PathLike[str] | Btf | None = None,
) -> Object:
    """Load a BPF object into the kernel; blocks while the verifier works.

    The caller closes what it gets, best by ``with``. Whatever was made before a failure is undone.
    `bpfstream.load` is the same for trio programs; arguments and errors are described there.
    """
    return load_as(Object, source, btf)


def load_as(
    kind: type[L],
    source: str | PathLike[str] | bytes | ObjectSpec,
    btf: str | PathLike[str] | Btf | None,
) -> L:
    """Load a BPF object for programs of the event loop that `kind` is for."""
    spec = _spec(source)
    _check_loadable(spec)
    relocation_btf = btf if btf is None or isinstance(btf, Btf) else read_btf(Path(btf))
    linked = link(spec, running_kernel(relocation_btf))
    with ExitStack() as undo, ExitStack() as temporary:
        loaded_btf = load_btf(linked.btf, temporary)
        maps = _create_maps(linked, spec.btf, loaded_btf.fd, undo)
        module_fds = _ModuleFds(temporary)
        programs: dict[str, Program] = {}
        for program in linked.programs.values():
            fd = _load_program(spec, program, maps, loaded_btf, module_fds)
            programs[program.name] = Program(program.spec, fd)
            undo.callback(programs[program.name].close)
        _fill_program_arrays(linked, maps, programs)
        obj = kind(spec, programs, maps)
        undo.pop_all()
        return obj


def _spec(source: str | PathLike[str] | bytes | ObjectSpec) -> ObjectSpec:
    if isinstance(source, ObjectSpec):
        return source
    if isinstance(source, bytes):
        return ObjectSpec.from_bytes(source)
    return ObjectSpec.from_file(source)


def _check_loadable(spec: ObjectSpec) -> None:
    if spec.byteorder != sys.byteorder:
        raise ObjectError(f"{spec.name} is {spec.byteorder}-endian, this machine is not")
    for program in spec.programs.values():
        if program.autoload and program.type == ProgramType.UNSPEC:
            raise ObjectError(
                f"the name of its section does not say what program {program.name!r} is",
                section=program.section,
                hint=f"set spec.programs[{program.name!r}].type, or autoload = False",
            )
    for spec_map in spec.maps.values():
        if spec_map.pinning is not Pinning.NONE and spec_map.autocreate:
            raise ObjectError(
                f"map {spec_map.name!r} asks to be pinned, which bpfstream does not do yet",
                hint=f"set spec.maps[{spec_map.name!r}].pinning = Pinning.NONE to go without",
            )


# Maps ------------------------------------------------------------------------------------------


def _create_maps(
    linked: LinkedObject, btf: Btf | None, btf_fd: int, undo: ExitStack
) -> dict[str, Map[Any, Any]]:
    maps: dict[str, Map[Any, Any]] = {}
    for spec in linked.maps.values():
        if not spec.autocreate:
            continue
        created = maps[spec.name] = create_map(spec, btf=btf, btf_fd=btf_fd)
        undo.callback(created.close)
        _fill(created, spec, maps)
    return maps


def _fill(created: Map[Any, Any], spec: MapSpec, maps: Mapping[str, Map[Any, Any]]) -> None:
    try:
        if spec.contents is not None and any(spec.contents):
            bpf.map_update(created.fd, _KEY.pack(0), spec.contents)
        if spec.is_data and spec.is_read_only:
            bpf.map_freeze(created.fd)
        if spec.type in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS):
            for slot, name in spec.initial_slots:
                bpf.map_update(created.fd, _KEY.pack(slot), _FD.pack(maps[name].fd))
    except OSError as error:
        raise explain(f"fill map {spec.name!r}", error, map_type=spec.type) from error


def _fill_program_arrays(
    linked: LinkedObject, maps: Mapping[str, Map[Any, Any]], programs: Mapping[str, Program]
) -> None:
    for name, created in maps.items():
        spec = linked.maps[name]
        if spec.type != MapType.PROG_ARRAY:
            continue
        for slot, program in spec.initial_slots:
            if program not in programs:  # left out by the user
                continue
            try:
                bpf.map_update(created.fd, _KEY.pack(slot), _FD.pack(programs[program].fd))
            except OSError as error:
                raise explain(f"put {program!r} into map {name!r}", error) from error


# Programs --------------------------------------------------------------------------------------


class _ModuleFds:
    """Descriptors of modules' BTF, each opened once and closed after the load."""

    def __init__(self, temporary: ExitStack) -> None:
        self._temporary = temporary
        self._fds: dict[int, int] = {}

    def __getitem__(self, module: ModuleBtf | None) -> int:
        """The descriptor of a module's BTF; 0 stands for the kernel's own."""
        if module is None:
            return 0
        if module.id not in self._fds:
            try:
                fd = bpf.fd_by_id(bpf.ObjectKind.BTF, module.id)
            except OSError as error:
                raise explain(f"open the BTF of module {module.name}", error) from error
            self._temporary.callback(os.close, fd)
            self._fds[module.id] = fd
        return self._fds[module.id]


def _load_program(
    spec: ObjectSpec,
    program: LinkedProgram,
    maps: Mapping[str, Map[Any, Any]],
    loaded_btf: LoadedBtf,
    module_fds: _ModuleFds,
) -> int:
    code = program.code.copy()
    for reference in program.map_references:
        code.set_immediate(reference.slot, maps[reference.map].fd)
    for variable in program.btf_references:
        code.set_immediate(variable.slot + 1, module_fds[variable.module])
    fd_array = [0]  # index 0 is the kernel's own BTF
    for call in program.kfunc_references:
        if call.module is not None:
            fd = module_fds[call.module]
            if fd not in fd_array:
                fd_array.append(fd)
            code.set_offset(call.slot, fd_array.index(fd))
    typed = loaded_btf.fd > 0
    try:
        return bpf.program_load(
            program.spec.type,
            bytes(code),
            license=spec.license,
            name=program.name,
            attach_type=program.spec.attach_type,
            flags=program.spec.flags,
            kernel_version=spec.version or kernel_version(),
            btf_fd=loaded_btf.fd,
            function_info=program.function_info if typed else b"",
            function_info_size=program.function_info_size if typed else 0,
            line_info=program.line_info if typed else b"",
            line_info_size=program.line_info_size if typed else 0,
            attach_btf_id=program.attach_btf_id,
            attach_btf_obj_fd=module_fds[program.attach_btf_module],
            fd_array=fd_array if len(fd_array) > 1 else (),
        )
    except bpf.ProgramLoadFailed as error:
        failure = _load_error(spec, program, error)
        if loaded_btf.refusal is not None:
            failure.add_note(f"the kernel did not take the object's BTF: {loaded_btf.refusal}")
        raise failure from error


def _load_error(
    spec: ObjectSpec, program: LinkedProgram, error: bpf.ProgramLoadFailed
) -> KernelError:
    if error.log.strip():
        from bpfstream.live.verifier import verifier_error

        return verifier_error(spec, program, error.errno or errno.EINVAL, error.log)
    return explain(
        f"load program {program.name!r}",
        error,
        program_type=program.spec.type,
        attach_type=program.spec.attach_type,
    )
