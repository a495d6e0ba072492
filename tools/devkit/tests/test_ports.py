"""Ports for servers that come back on the same one."""

import socket

from devkit.ports import HIGHEST, LOWEST, free_port, free_ports


def test_ports_are_different_free_and_outside_what_outgoing_connections_get():
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(LOWEST <= port < HIGHEST for port in ports)


def test_a_port_that_is_taken_is_not_given():
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert all(port not in free_ports(50) for _ in range(20))


def test_a_port_is_not_given_out_twice_before_anybody_listens_on_it():
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == 500
