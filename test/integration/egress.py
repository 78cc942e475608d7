"""Requests through the proxy, each answered by the origin with the address that
it came from: egress.py SCENARIO WORDS. The scenarios are the functions that
main calls."""

import http.client
import os
import signal
import sys
import time
from collections import Counter

PROXY = ("10.0.0.1", 3128)


class Wrong(Exception):
    """An expectation that does not hold."""


def expect(what, got, want):
    if got != want:
        raise Wrong(f"{what}: {got}, wanted {want}")


def peer_of(answer):
    """The address in an answer of the origin, without its port."""
    body = answer.read().decode()
    expect(f"the answer ({body.strip()!r}, {answer.getheader('Proxy-Status')})", answer.status, 200)
    return body.rsplit(":", 1)[0].strip("[]")


class Client:
    """A client with an address of its own, which keeps its connection."""

    def __init__(self, address="10.0.0.2"):
        self.source = (address, 0)
        self.kept = self.connection()

    def connection(self, source=None):
        return http.client.HTTPConnection(*PROXY, timeout=50, source_address=source or self.source)

    def ask(self, host, conn, body=None):
        conn.request("POST" if body else "GET", f"http://{host}/peer", body)
        return conn.getresponse()

    def plain(self, host):
        """The peer of a request over the kept connection."""
        return peer_of(self.ask(host, self.kept))

    def fresh(self, host):
        """The peer of a request over a new connection."""
        conn = self.connection()
        try:
            return peer_of(self.ask(host, conn, b"body"))
        finally:
            conn.close()

    def tunnel(self, host):
        """A tunnel, open."""
        conn, head = self.connection(), b""
        conn.connect()
        conn.sock.sendall(f"CONNECT {host}:80 HTTP/1.1\r\nHost: {host}:80\r\n\r\n".encode())
        while not head.endswith(b"\r\n\r\n"):
            byte = conn.sock.recv(1)
            if not byte:
                raise Wrong(f"CONNECT {host}: closed after {head}")
            head += byte
        expect(f"CONNECT {host} ({head})", head.split()[1], b"200")
        return conn

    def tunnelled(self, host):
        """The peer of a request in a tunnel."""
        conn = self.tunnel(host)
        try:
            conn.request("GET", "/peer")
            return peer_of(conn.getresponse())
        finally:
            conn.close()

    def ways(self):
        return (self.plain, self.fresh, self.tunnelled, self.plain)

    def refused_tunnel(self, host):
        """The answer to a CONNECT that has to be refused."""
        conn = self.connection()
        conn.request("CONNECT", f"{host}:80", headers={"Host": f"{host}:80"})
        return conn.getresponse()


def only(address, *hosts):
    """Everything leaves from one address."""
    client = Client()
    for _ in range(5):
        for host in hosts:
            for way in client.ways():
                expect(f"{way.__name__} {host}", way(host), address)


def unreachable(*hosts):
    """There is no egress address of the destination's family."""
    client = Client()
    for host in hosts:
        for answer in (client.ask(host, client.connection()), client.refused_tunnel(host)):
            expect(f"{host}: status", answer.status, 502)
            expect(f"{host}: error", "error=destination_ip_unroutable" in answer.getheader("Proxy-Status", ""), True)


def round_robin(one, two, host):
    """The addresses take turns, on new connections and on kept ones: a kept one
    that went to the wrong request would break the order."""
    client = Client()
    for way in (client.plain, client.fresh, client.tunnelled):
        peers = [way(host) for _ in range(20)]
        expect(f"{way.__name__}: peers", set(peers), {one, two})
        expect(f"{way.__name__}: turns", [a == b for a, b in zip(peers, peers[1:])], [False] * 19)


def by_client(one, two, host):
    """A client keeps its address, although others come in between."""
    clients = {f"10.0.0.{n}": Client(f"10.0.0.{n}") for n in range(100, 124)}
    seen = {name: set() for name in clients}
    for _ in range(3):
        for name, client in clients.items():
            seen[name] |= {way(host) for way in client.ways()}
    shared(seen, one, two)


def by_host(one, two, host):
    """A host is reached from one address, whoever asks."""
    clients = [Client(f"10.0.0.{n}") for n in (100, 101, 102)]
    seen = {f"h{n}.{host}": set() for n in range(24)}
    for client in clients:
        for name, peers in seen.items():
            peers |= {way(name) for way in client.ways()}
    shared(seen, one, two)


def shared(seen, one, two):
    """Each key has one address, and no address has nearly all keys."""
    expect("keys with more than one address", {k: v for k, v in seen.items() if len(v) != 1}, {})
    keys = Counter(v.pop() for v in seen.values())
    expect("addresses", set(keys), {one, two})
    expect(f"fair shares of {keys}", min(keys.values()) >= 4, True)


def exhaust(count, host, other, *addresses):
    """So many tunnels to a host leave from each address, then no more; another
    host is still reached, and so is this one when tunnels have ended."""
    count = int(count)
    client = Client()
    held, peers = [], []
    for _ in range(count * len(addresses)):
        conn = client.tunnel(host)
        conn.request("GET", "/peer")
        peers.append(peer_of(conn.getresponse()))
        held.append(conn)
    expect("peers", dict(Counter(peers)), {a: count for a in addresses})
    begun = time.monotonic()
    for answer in (client.refused_tunnel(host), client.ask(host, client.connection())):
        expect("status", answer.status, 503)
        expect("error", "error=connection_limit_reached" in answer.getheader("Proxy-Status", ""), True)
        answer.read()
    if time.monotonic() - begun > 10:  # of 30 s that it may dial
        raise Wrong("the refusals took long")
    for way in client.ways():
        expect("another host", way(other) in addresses, True)
    for conn in held:
        conn.request("GET", "/peer")
        expect("a tunnel held", peer_of(conn.getresponse()) in addresses, True)
        conn.close()
    until("a port is free again", lambda: client.tunnelled(host) in addresses)


def until(what, cond):
    """Waits for cond, which may fail until then."""
    end, why = time.monotonic() + 20, None
    while time.monotonic() < end:
        try:
            if cond():
                return
        except (Wrong, OSError) as err:
            why = err
        time.sleep(0.05)
    raise Wrong(f"never: {what} ({why})")


def reload(pid, file, before, after, host):
    """The address changes while connections to the origin are kept."""
    clients = [Client(f"10.0.0.{n}") for n in range(100, 110)]
    for client in clients:
        expect("before", client.plain(host), before)
    with open(file) as f:
        text = f.read()
    with open(file, "w") as f:
        f.write(text.replace(before, after))
    os.kill(int(pid), signal.SIGHUP)
    until("the new address", lambda: Client().fresh(host) == after)
    for client in clients:
        for way in client.ways():
            expect(f"after: {way.__name__}", way(host), after)


def main():
    scenarios = {
        "only": only,
        "unreachable": unreachable,
        "round-robin": round_robin,
        "by-client": by_client,
        "by-host": by_host,
        "exhaust": exhaust,
        "reload": reload,
    }
    try:
        scenarios[sys.argv[1]](*sys.argv[2:])
    except Wrong as err:
        sys.exit(str(err))


main()
