"""The kernel's version and build configuration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfstream.kernel.config import parse_config, parse_version, version_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("5.10.209-3-amd64", 0x050AD1),
        ("6.18", 0x061200),
        ("4.9.337", 0x0409FF),
        ("6.12.95+deb12-cloud-amd64", 0x060C5F),
    ],
)
def test_a_version_is_encoded_as_the_kernel_does(text, code):
    assert parse_version(text) == code


def test_what_is_no_version_is_none():
    assert parse_version("mainline") is None


def test_ubuntu_tells_the_version_in_its_signature():
    signature = "Ubuntu 5.4.0-12.15-generic 5.4.8\n"
    assert version_of(signature, "#15-Ubuntu SMP", "5.4.0-12-generic") == 0x050408


def test_debian_tells_the_version_behind_its_name():
    version = "#1 SMP Debian 5.10.209-2 (2024-01-31)"
    assert version_of("", version, "5.10.0-28-amd64") == 0x050AD1


def test_elsewhere_the_release_tells_it():
    assert version_of("", "#1 SMP PREEMPT_DYNAMIC", "6.18.44-custom") == 0x06122C


def test_options_keep_their_text_and_the_first_counts():
    lines = ["# CONFIG_OFF is not set\n", "CONFIG_HZ=250\n", 'CONFIG_NAME="a=b"\n', "CONFIG_HZ=1\n"]
    assert parse_config(lines) == {"CONFIG_HZ": "250", "CONFIG_NAME": '"a=b"'}


@given(st.lists(st.text()))
def test_any_lines_are_a_configuration(lines):
    assert all(name.startswith("CONFIG_") for name in parse_config(lines))
