// Node's clients: client.mjs NAME PROXY SITE, NAME one of core, undici,
// undici7, https-proxy-agent. The authority comes by NODE_EXTRA_CA_CERTS.

import http from "node:http";
import https from "node:https";
import tls from "node:tls";
import { Readable } from "node:stream";
import { createRequire } from "node:module";

const [name, proxy, site] = process.argv.slice(2);
const load = createRequire(`${process.env.NODE_HOME}/`); // where the packages are installed
const large = Buffer.alloc(8 << 20, "viaduct ");
const { protocol, hostname, port, username, password } = new URL(proxy);
const by = (protocol) => (protocol === "https:" ? https : http);
const login = Buffer.from(decodeURIComponent(`${username}:${password}`)).toString("base64");
const who = username ? { "Proxy-Authorization": `Basic ${login}` } : {};

// A body whose length is not known in advance.
function* pieces() {
  for (let at = 0; at < large.length; at += 1 << 16) yield large.subarray(at, at + (1 << 16));
}

// ask sends a request of node:http or node:https.
function ask(url, options, body) {
  return new Promise((resolve, reject) => {
    const r = by(options.protocol ?? new URL(url).protocol).request(url, { ...options, method: body ? "POST" : "GET" }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (s) => (text += s));
      answer.on("end", () => resolve(`${answer.statusCode} ${text.trim()}`));
    });
    r.on("error", reject);
    body ? Readable.from(body).pipe(r) : r.end();
  });
}

// tunnel asks the proxy for a connection, as programs do that know no agent.
function tunnel(to) {
  return new Promise((resolve, reject) => {
    const r = by(protocol).request({ hostname, port, method: "CONNECT", path: `${site}:${to}`, headers: who });
    r.on("connect", (answer, socket) => (answer.statusCode === 200 ? resolve(socket) : reject(answer.statusCode)));
    r.on("error", reject).end();
  });
}

const clients = {
  async core(url, body) {
    if (url.startsWith("http:")) {
      return ask(url, { protocol, hostname, port, servername: hostname, path: url, headers: { Host: site, ...who } }, body);
    }
    const socket = await tunnel(443);
    const secure = tls.connect({ socket, servername: site });
    return ask(url, { createConnection: () => secure, headers: { Host: site } }, body);
  },
  "https-proxy-agent"(url, body) {
    const { HttpsProxyAgent } = load("https-proxy-agent");
    return ask(url, { agent: new HttpsProxyAgent(proxy) }, body);
  },
  undici: (url, body) => withUndici(load("undici"), url, body),
  undici7: (url, body) => withUndici(load("undici7"), url, body),
};

let dispatcher;
async function withUndici({ fetch, ProxyAgent }, url, body) {
  dispatcher ??= new ProxyAgent(proxy);
  const more = body ? { method: "POST", body: Readable.from(body), duplex: "half" } : {};
  const answer = await fetch(url, { dispatcher, ...more });
  return `${answer.status} ${(await answer.text()).trim()}`;
}

for (const scheme of ["http", "https"]) {
  console.log(await clients[name](`${scheme}://${site}/hello`));
  console.log(await clients[name](`${scheme}://${site}/sum`, pieces()));
}
await dispatcher?.close();
