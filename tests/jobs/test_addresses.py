"""Which addresses are public, by IANA's registries, however they are written."""

import ipaddress

import pytest

from toco.jobs.addresses import is_public, reached

PRIVATE = """
    0.0.0.0 10.0.0.1 100.64.0.1 127.0.0.1 169.254.169.254 172.16.0.1 192.0.0.1 192.0.0.8 192.0.0.170 192.0.2.1
    192.88.99.1 192.88.99.255 192.168.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1
    255.255.255.255
    :: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 ::ffff:0:10.0.0.1
    64:ff9b::10.0.0.1 64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::1 64:ff9b:1::8.8.8.8
    100::1 100:0:0:1::1 2001::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808::1
    3fff::1 3fff:fff::1 4000::1 5f00::1 5f00:ffff::1 fc00::1 fd12:3456::1 fe80::1 fec0::1 ff02::1 ff0e::1
"""
PUBLIC = """
    1.1.1.1 8.8.8.8 93.184.215.14 100.63.255.255 100.128.0.1 172.32.0.1 192.0.1.1 192.88.98.1 192.88.100.1 198.20.0.1
    223.255.255.254 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2001:4860:4860::8888 2606:4700::1111 2a00:1450::1 3ffe::1
"""


@pytest.mark.parametrize("address", PRIVATE.split())
def test_what_is_not_on_the_internet_is_not_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC.split())
def test_hosts_of_the_internet_are_public(address):
    assert is_public(ipaddress.ip_address(address))


def test_an_address_that_embeds_another_leads_to_that():
    for written in ("::ffff:10.1.2.3", "64:ff9b::10.1.2.3"):
        assert reached(ipaddress.ip_address(written)) == ipaddress.ip_address("10.1.2.3")
    assert reached(ipaddress.ip_address("2606:4700::1111")) == ipaddress.ip_address("2606:4700::1111")
