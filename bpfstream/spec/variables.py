"""Global variables of an object: typed views of its data sections."""

from bpfstream.btf import Btf
from bpfstream.errors import ObjectError
from bpfstream.spec.maps import MapSpec
from bpfstream.spec.values import Value, ValueCodec


class VariableSpec:
    """A global variable, in the contents of the map that holds its section.

    Attributes:
        name: The variable's name.
        map_spec: The map whose contents it lies in.
        offset: Bytes from the start of the section.
        size: Bytes.
        type_id: Its type in the object's BTF.
        is_static: Only the file itself can see it.
    """

    __slots__ = ("_btf", "is_static", "map_spec", "name", "offset", "size", "type_id")

    def __init__(
        self,
        name: str,
        map_spec: MapSpec,
        offset: int,
        size: int,
        type_id: int,
        btf: Btf,
        *,
        is_static: bool = False,
    ) -> None:
        self.name = name
        self.offset = offset
        self.size = size
        self.type_id = type_id
        self.is_static = is_static
        self.map_spec = map_spec
        self._btf = btf

    def __repr__(self) -> str:
        return f"<VariableSpec {self.describe()} in {self.map}>"

    def describe(self) -> str:
        """The variable's type and name: ``"const volatile unsigned int min_us"``."""
        return f"{self._btf.describe(self.type_id)} {self.name}"

    @property
    def map(self) -> str:
        """Name of the map that holds it: ``".rodata"``."""
        return self.map_spec.name

    @property
    def is_read_only(self) -> bool:
        """A constant: it can be set here, and no more once the object is loaded."""
        return self.map_spec.is_read_only

    @property
    def raw(self) -> bytes:
        """Its bytes, in the byte order of the file.

        Setting them takes exactly `size` bytes.

        Raises:
            ObjectError: The variable doesn't lie inside its section's contents.
        """
        end = self._end()
        if self.map_spec.contents is None:
            return bytes(self.size)
        return self.map_spec.contents[self.offset : end]

    @raw.setter
    def raw(self, data: bytes) -> None:
        if len(data) != self.size:
            raise ObjectError(
                f"variable {self.name!r} has {self.size} bytes, not {len(data)}",
                section=self.map,
                offset=self.offset,
            )
        end = self._end()
        contents = bytearray(
            self.map_spec.value_size if self.map_spec.contents is None else self.map_spec.contents
        )
        contents[self.offset : end] = data
        self.map_spec.contents = bytes(contents)

    @property
    def value(self) -> Value:
        """Its value, by its type: see `bpfstream.spec.values`. Setting checks type and range.

        Raises:
            ObjectError: The type has no values in Python, or the new value doesn't fit it.
        """
        self._check_type()
        return self._codec().read(self.type_id, self.raw)

    @value.setter
    def value(self, value: object) -> None:
        self._check_type()
        data = bytearray(self.raw)
        self._codec().write(self.type_id, data, value)
        self.raw = bytes(data)

    def _codec(self) -> ValueCodec:
        return ValueCodec(self._btf, f"variable {self.name!r}")

    def _check_type(self) -> None:
        """Refuse a type that is larger than the variable before anything of its size is made."""
        if self._btf.size_of(self.type_id) > self.size:
            raise ObjectError(
                f"variable {self.name!r} has {self.size} bytes, too few for its type "
                f"{self._btf.describe(self.type_id)}",
                section=self.map,
                offset=self.offset,
            )

    def _end(self) -> int:
        end = self.offset + self.size
        contents = self.map_spec.contents
        if end > (self.map_spec.value_size if contents is None else len(contents)):
            raise ObjectError(
                f"variable {self.name!r} lies outside of its section",
                section=self.map,
                offset=self.offset,
            )
        return end

    def rebound(self, map_spec: MapSpec) -> "VariableSpec":
        """The same variable in the contents of another map, such as a copy."""
        return VariableSpec(
            self.name,
            map_spec,
            self.offset,
            self.size,
            self.type_id,
            self._btf,
            is_static=self.is_static,
        )
