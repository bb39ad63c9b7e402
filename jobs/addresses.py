"""Which addresses of the Internet are public: those that a request named by a user may reach.

References:
    IANA IPv4 and IPv6 Special-Purpose Address Registries.
    RFC 4291 (mapped addresses), RFC 6052 and RFC 8215 (NAT64), RFC 2765 (translated), RFC 3056 and RFC 7526 (6to4),
    RFC 9602 (SRv6), RFC 9637 (documentation).
"""

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Their last 32 bits are the IPv4 address that is reached: mapped, and NAT64 of the well-known prefix.
_EMBEDDING: Final = (ipaddress.IPv6Network("::ffff:0:0/96"), ipaddress.IPv6Network("64:ff9b::/96"))
# All of IPv6 that is given to hosts of the Internet. Site-local, local NAT64, translated, SRv6 and what will be
# invented lie outside.
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
# Inside it, or in IPv4, and not public, though `is_global` of some or all of our Python versions says so.
_NOT_PUBLIC: Final = tuple(
    map(ipaddress.ip_network, ("2001::/23", "2002::/16", "3fff::/20", "192.0.0.0/24", "192.88.99.0/24"))
)


def reached(address: Address) -> Address:
    """Return the address that a connection to an address really leads to: the IPv4 one that it embeds, or itself."""
    if any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Say whether an address is a host of the public Internet, whichever way it is written."""
    real = reached(address)
    if isinstance(real, ipaddress.IPv6Address) and real not in _GLOBAL_UNICAST:
        return False
    return real.is_global and not real.is_multicast and not any(real in network for network in _NOT_PUBLIC)
