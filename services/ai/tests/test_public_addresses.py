"""Which addresses are of the open Internet."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.media.public_addresses import is_public


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "157.240.1.1", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.32.0.1", "2a03:2880:f12d::1"]
)
def test_an_address_of_the_internet_is_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            str(ipaddress.IPv4Address(0)),
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
        ),
        *("172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
        *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::8.8.8.8", "64:ff9b::7f00:1"),
        *("64:ff9b:1::1", "100::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
        *("2001::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1"),
        *("2a03:2880::1%eth0", "4000::1", "5f00::1"),
        *("localhost", "", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "8.8.8.8/32", " 8.8.8.8", "8.8.8.8 "),
    ],
)
def test_an_address_of_this_machine_its_network_or_nobody_is_not_public(address):
    assert not is_public(address)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_nothing_counts_as_public_that_the_standard_library_knows_to_be_private(address):
    if (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
    ):
        assert not is_public(str(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_dressed_up_as_ipv6_never_counts(address):
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    sixtofour = ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80))
    translated = ipaddress.IPv6Address((0x64FF9B << 96) | int(address))
    assert not any(is_public(str(one)) for one in (mapped, sixtofour, translated))
