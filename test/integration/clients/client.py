"""Python's clients: client.py NAME PROXY CA SITE, NAME one of urllib, requests, httpx."""

import inspect
import ssl
import sys
import urllib.request

name, proxy, ca, site = sys.argv[1:]
proxies = {"http": proxy, "https": proxy}
large = b"viaduct " * (1 << 20)


def pieces():
    """A body whose length is not known in advance."""
    for at in range(0, len(large), 1 << 16):
        yield large[at : at + (1 << 16)]


def with_urllib():
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), tls)

    def ask(url, body=None):
        return opener.open(urllib.request.Request(url, data=body), timeout=30).read().decode()

    return ask


def with_requests():
    import requests

    session = requests.Session()
    session.trust_env, session.proxies, session.verify = False, proxies, ca

    def ask(url, body=None):
        if body and "@" in proxy:  # before 2.29, it sends a stream without the login
            body = b"".join(body)
        answer = session.request("POST" if body else "GET", url, data=body, timeout=30)
        answer.raise_for_status()
        return answer.text

    return ask


def with_httpx():
    import httpx

    word = "proxy" if "proxy" in inspect.signature(httpx.Client).parameters else "proxies"  # before 0.26
    client = httpx.Client(**{word: proxy}, verify=ca, trust_env=False, timeout=30)

    def ask(url, body=None):
        answer = client.request("POST" if body else "GET", url, content=body)
        answer.raise_for_status()
        return answer.text

    return ask


ask = {"urllib": with_urllib, "requests": with_requests, "httpx": with_httpx}[name]()
for scheme in ("http", "https"):
    print(ask(f"{scheme}://{site}/hello").strip())
    print(ask(f"{scheme}://{site}/sum", pieces()).strip())
