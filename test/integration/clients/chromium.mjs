// Chromium with somebody who is asked for a name and a password, and gives them
// once: chromium.mjs USER PASSWORD URL FLAGS… prints the page. The browser is told
// what to do by the pipe of its DevTools, a JSON object a message, NUL between them.

import { spawn } from "node:child_process";

const [username, password, url, ...flags] = process.argv.slice(2);
const browser = spawn("chromium", [...flags, "--remote-debugging-pipe"], { stdio: ["ignore", "ignore", "inherit", "pipe", "pipe"] });
const [, , , orders, reports] = browser.stdio;
const waiting = new Map(); // for the answer to an order, by its number
const listeners = new Map(); // by the name of the event

let number = 0;
function order(method, params = {}, sessionId) {
  const id = ++number;
  orders.write(JSON.stringify({ id, method, params, sessionId }) + "\0");
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

let rest = "";
reports.setEncoding("utf8").on("data", (s) => {
  const messages = (rest + s).split("\0");
  rest = messages.pop();
  for (const { id, method, params, result, error } of messages.map((m) => JSON.parse(m))) {
    if (method) listeners.get(method)?.(params);
    else if (error) waiting.get(id).reject(new Error(error.message));
    else waiting.get(id).resolve(result);
  }
});
browser.on("exit", (code) => process.exit(process.exitCode ?? code ?? 1));

const { targetId } = await order("Target.createTarget", { url: "about:blank" });
const { sessionId } = await order("Target.attachToTarget", { targetId, flatten: true });
const tell = (method, params) => order(method, params, sessionId);

// A request that was asked twice had the wrong password.
const asked = new Set();
listeners.set("Fetch.requestPaused", ({ requestId }) => tell("Fetch.continueRequest", { requestId }).catch(() => {}));
listeners.set("Fetch.authRequired", ({ requestId, authChallenge }) => {
  console.error(`asked by ${authChallenge.source} ${authChallenge.origin}: ${authChallenge.scheme} ${authChallenge.realm}`);
  const again = asked.has(requestId);
  asked.add(requestId);
  const authChallengeResponse = again ? { response: "CancelAuth" } : { response: "ProvideCredentials", username, password };
  tell("Fetch.continueWithAuth", { requestId, authChallengeResponse }).catch(() => {});
});
await tell("Page.enable");
await tell("Fetch.enable", { handleAuthRequests: true });
const loaded = new Promise((resolve) => listeners.set("Page.loadEventFired", resolve));
const { errorText } = await tell("Page.navigate", { url });
if (errorText) console.error(errorText);
await loaded;
const { result } = await tell("Runtime.evaluate", { expression: "document.documentElement.outerHTML" });
console.log(result.value);
process.exitCode = 0;
await order("Browser.close");
