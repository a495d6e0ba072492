"""The checked-in list of the broker's archives."""

import pytest

from devkit.maven import KAFKA_VERSION, kafka_jars, maven_url, parse_pins

SHA = "0" * 64


def test_coordinates_become_the_repositorys_address():
    (pin,) = parse_pins(f"# comment\n\norg.example.deep:thing_2.13:1.2 {SHA} 7\n", "https://mirror.test/m2/")
    assert pin.url == "https://mirror.test/m2/org/example/deep/thing_2.13/1.2/thing_2.13-1.2.jar"
    assert (pin.name, pin.sha256, pin.size) == ("thing_2.13-1.2.jar", SHA, 7)


@pytest.mark.parametrize("line", ["a:b:c", f"a:b {SHA} 7", f"a:b:c {SHA} many", f"a:b:c {SHA} 7 8"])
def test_a_broken_line_is_named(line):
    with pytest.raises(ValueError, match="line 2 is not"):
        parse_pins(f"#\n{line}\n", "https://mirror.test")


def test_the_list_pins_every_archive_once_and_has_the_broker_of_our_version():
    pins = kafka_jars("https://mirror.test")
    names = [pin.name for pin in pins]
    assert f"kafka_2.13-{KAFKA_VERSION}.jar" in names
    assert len(names) == len(set(names)) > 40
    assert all(len(bytes.fromhex(pin.sha256)) == 32 and pin.size > 0 for pin in pins)


def test_a_mirror_can_stand_in_for_maven_central():
    assert maven_url({"JAWAB_MAVEN_URL": "https://mirror.test"}) == "https://mirror.test"
    assert maven_url({"JAWAB_MAVEN_URL": ""}) == "https://repo1.maven.org/maven2"
