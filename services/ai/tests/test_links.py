"""Which links are followed: those of the hosts on the list, and nothing that only looks like one."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.media.links import LONGEST_LINK, AllowedHosts, Link
from ai.settings import META_HOSTS

META = AllowedHosts(META_HOSTS)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id=1&signature=Ab-_~", "lookaside.fbsbx.com"),
        ("HTTPS://LookAside.FBSBX.com:443/x", "lookaside.fbsbx.com"),
        ("https://scontent-bgw1-1.cdninstagram.com/v/t51/a.jpg?_nc=1", "scontent-bgw1-1.cdninstagram.com"),
        ("https://video.xx.fbcdn.net", "video.xx.fbcdn.net"),
        ("https://a.b.fbcdn.net/x@y:z/[1]?u=https://evil.example/", "a.b.fbcdn.net"),
    ],
)
def test_a_link_to_a_host_on_the_list_is_followed(url, host):
    link = META.link(url)
    assert link is not None
    assert (link.scheme, link.host, link.port, link.target[0]) == ("https", host, 443, "/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "lookaside.fbsbx.com/x",
        "//lookaside.fbsbx.com/x",
        "http://lookaside.fbsbx.com/x",
        "ftp://lookaside.fbsbx.com/x",
        "file:///etc/passwd",
        "gopher://lookaside.fbsbx.com/_x",
        "https://lookaside.fbsbx.com:8443/x",
        "https://lookaside.fbsbx.com:0443/x:",
        "https://lookaside.fbsbx.com.evil.example/x",
        "https://evil-lookaside.fbsbx.com/x",
        "https://fbcdn.net/x",  # the wild card stands for at least one name
        "https://evilfbcdn.net/x",
        "https://fbcdn.net.evil.example/x",
        "https://x.fbcdn.net./x",
        "https://x..fbcdn.net/x",
        "https://.fbcdn.net/x",
        "https://-x.fbcdn.net/x",
        "https://x_y.fbcdn.net/x",
        "https://user@lookaside.fbsbx.com/x",
        "https://user:password@lookaside.fbsbx.com/x",
        "https://lookaside.fbsbx.com@evil.example/x",
        "https://lookaside.fbsbx.com:443@evil.example/x",
        "https://evil.example#@lookaside.fbsbx.com/x",
        "https://evil.example/?@lookaside.fbsbx.com/x",
        "https://evil.example\\@lookaside.fbsbx.com/x",
        "https://lookaside.fbsbx.com\\.evil.example/x",
        "https://lookaside.fbsbx.com\\x",
        "https:\\\\lookaside.fbsbx.com/x",
        "https:/lookaside.fbsbx.com/x",
        "https:lookaside.fbsbx.com/x",
        "https://lookaside%2efbsbx%2ecom/x",
        "https://lookaside.fbsbx.com%00.evil.example/x",
        "https://lookaside.fbsbx.com%2f.evil.example/x",
        "https://ⓛookaside.fbsbx.com/x",
        "https://lookaside。fbsbx。com/x",
        "https://lооkaside.fbsbx.com/x",  # Cyrillic
        "https://loo\u212aaside.fbsbx.com/x",  # the sign for Kelvin, whose small letter is a k
        "https://look\u0430side.fb\u017fbx.com/x",
        "https://lookaside.fb\u017fbx.com/x",  # the long s
        "https://lookaside.fbsbx.com/x y",
        "https://lookaside.fbsbx.com/x\r\nHost: evil.example",
        "https://lookaside.fbsbx.com/x\n",
        "\thttps://lookaside.fbsbx.com/x",
        "https://lookaside.fbsbx.com/x#fragment",
        "https://lookaside.fbsbx.com/ü",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://0177.0.0.1/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/x",
        "https://[::ffff:169.254.169.254]/x",
        "https://[fe80::1%25eth0]/x",
        "https://localhost/x",
        "https://metadata.google.internal/x",
        "https://x.127.0.0.1.nip.io/x",
        "https://lookaside.fbsbx.com/" + "x" * LONGEST_LINK,
    ],
)
def test_what_is_no_plain_link_to_a_host_on_the_list_is_not_followed(url):
    assert META.link(url) is None


PIECES = st.sampled_from(
    [
        *("https", "http", "://", ":", "//", "/", "\\", "@", "#", "?", ".", "..", "%2e", "%00", "[", "]", " ", "\n"),
        *("lookaside.fbsbx.com", "fbcdn.net", "x.fbcdn.net", "cdninstagram.com", "evil.example", "127.0.0.1", "::1"),
        *("443", "80", "user", "ⓛ", "\u212a", "\u017f", "-", "_", "a"),
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=80))
def test_whatever_is_followed_leads_to_a_host_on_the_list_for_every_reader(url):
    link = META.link(url)
    if link is None:
        return
    read = urlsplit(url)
    assert read.hostname == link.host
    assert read.scheme == link.scheme == "https"
    assert read.username is None
    assert (read.port or 443) == link.port == 443
    assert link.host == "lookaside.fbsbx.com" or link.host.endswith((".fbcdn.net", ".cdninstagram.com"))
    assert META.link(str(link)) == link


@given(st.from_regex(r"https://[a-z0-9.-]{1,40}(/[a-z]{0,5})?", fullmatch=True))
def test_no_host_off_the_list_is_followed_however_its_name_is_spelt(url):
    link = AllowedHosts(["media.example.com"]).link(url)
    assert link is None or link.host == "media.example.com"


def test_a_tests_own_server_is_reached_at_its_origin_and_nowhere_else():
    hosts = AllowedHosts(["http://127.0.0.1:8090"])
    assert hosts.link("http://127.0.0.1:8090/media/voice.wav?words=a") == Link(
        "http", "127.0.0.1", 8090, "/media/voice.wav?words=a"
    )
    for url in ("http://127.0.0.1:8091/x", "https://127.0.0.1:8090/x", "http://127.0.0.1/x", "http://127.0.0.2:8090/x"):
        assert hosts.link(url) is None


@pytest.mark.parametrize(
    "entry",
    [
        *("*", "*.", "*.com", "com", "fbcdn", "a b.com", "127.0.0.1", "[::1]", "::1", "a.1", "x.com/", "x.com:443", ""),
        *("http://x", "http://x.com:1/path", "http://x.com:99999", "ftp://x.com:1", "a.*.com", "x..com", "x.com."),
    ],
)
def test_an_entry_that_is_no_host_is_refused(entry):
    with pytest.raises(ValueError, match=r"is no (host|origin)"):
        AllowedHosts([entry])
