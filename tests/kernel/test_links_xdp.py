"""XDP programs on an interface of a test's own."""

import errno
import socket

import pytest

from bpfstream import links
from bpfstream.abi.links import LinkType, XdpMode
from bpfstream.errors import AttachError
from bpfstream.kernel.features import Feature
from tests.support.counting import counting_program
from tests.support.requirements import require


def send_over(veth):
    """Send a packet from the other end of the wire and receive it."""
    with veth.peer.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender, receiver:
        receiver.bind((veth.address, 0))
        receiver.settimeout(30)
        sender.sendto(b"a packet", receiver.getsockname())
        assert receiver.recv(64) == b"a packet"


@pytest.mark.parametrize("mode", [XdpMode.AUTOMATIC, XdpMode.SKB, XdpMode.DRV])
def test_a_program_sees_each_packet_until_it_is_detached(veth, mode):
    require(Feature.XDP_LINK)
    with counting_program("xdp") as program:
        with links.attach_xdp(program, veth.name, mode=mode) as link:
            send_over(veth)
            assert program.runs >= 1
            info = link.info()
            assert info.type == LinkType.XDP
            assert info.details.interface_index == socket.if_nametoindex(veth.name)
        at_the_end = program.runs
        send_over(veth)
        assert program.runs == at_the_end


def test_an_interface_is_given_by_index_too(veth):
    require(Feature.XDP_LINK)
    with (
        counting_program("xdp") as program,
        links.attach_xdp(program, socket.if_nametoindex(veth.name)),
    ):
        send_over(veth)
        assert program.runs >= 1


def test_an_interface_takes_one_program(veth):
    require(Feature.XDP_LINK)
    with counting_program("xdp") as program, links.attach_xdp(program, veth.name):
        with pytest.raises(AttachError, match="already") as caught:
            links.attach_xdp(program, veth.name)
        assert caught.value.errno in (errno.EBUSY, errno.EEXIST)


def test_an_unknown_interface_is_named_with_those_like_it(veth):
    require(Feature.XDP_LINK)
    with (
        counting_program("xdp") as program,
        pytest.raises(AttachError, match="did you mean veth0") as caught,
    ):
        links.attach_xdp(program, "veth00")
    assert caught.value.errno == errno.ENODEV


def test_the_section_names_no_interface():
    with counting_program("xdp") as program, pytest.raises(AttachError, match="attach_xdp"):
        links.attach(program)
