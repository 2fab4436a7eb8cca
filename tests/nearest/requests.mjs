// What the JavaScript helper does with requests that get lost: run by test_javascript_requests.py. fetch() is played here.
//
// argv: a JSON object {helper}; stdout: what was asked, and what came of it, by the name of the case.
const { helper } = JSON.parse(process.argv[2]);
const { Nearest } = await import(helper);
const URLS = ["http://a", "http://b"];
const report = {};

/** Run `use` with a new helper and a network in which `answer(url, init)` is what fetch does; note every URL asked. */
async function play(name, answer, use) {
  const asked = [];
  globalThis.fetch = async (url, init) => {
    if (url.endsWith("/v1/nearest")) return new Promise(() => {}); // that question is not answered here
    asked.push(`${init.method ?? "GET"} ${url}`);
    return answer(url, init);
  };
  const nearest = new Nearest(URLS, { token: "t" });
  let outcome;
  try {
    outcome = await use(nearest);
  } catch (failure) {
    outcome = `${failure.name}: ${failure.message}`;
  }
  nearest.stop();
  report[name] = { asked, outcome, left: nearest.url !== URLS[0] };
}

/** A network in which the first node is gone. */
function onlyB(url) {
  if (url.startsWith("http://a")) throw new TypeError("fetch failed");
  return new Response("b");
}

/** As much of @upstash/redis as the helper touches. */
class Redis {
  client = {
    baseUrl: "",
    headers: {},
    readYourWrites: true,
    upstashSyncToken: "token",
    request: async (request) => {
      if (request.body === "mistake") throw new TypeError("Do not know how to serialize a BigInt");
      const { headers } = this.client;
      const response = await fetch(this.client.baseUrl, { method: "POST", headers: { ...headers } });
      const text = await response.text();
      if (!response.ok) throw new Error(text);
      return text;
    },
  };
  use(middleware) {
    const next = this.client.request;
    this.client.request = (request) => middleware(request, next);
  }
}

const keys = [];
const noteKey = (then) => (url, init) => {
  keys.push([url, init.headers["Idempotency-Key"] ?? null, init.headers["upstash-sync-token"]]);
  return then(url, init);
};
const ask = (options) => (nearest) => nearest.redis(Redis, options).client.request({ body: [] });

await play("a GET", onlyB, async (nearest) => (await nearest.fetch("/get/k")).text());
await play("a POST", onlyB, (nearest) => nearest.fetch("/", { method: "POST" }));
await play("a POST with a key", onlyB, async (nearest) =>
  (await nearest.fetch("/", { method: "POST", headers: { "Idempotency-Key": "k" } })).text(),
);
await play("redis", noteKey(onlyB), ask());
report.keys = keys.splice(0);
await play("redis, not once", noteKey(onlyB), ask({ once: false }));
report.keysNotOnce = keys.splice(0);
const refuse = (_, { headers }) =>
  headers["Idempotency-Key"]
    ? new Response("ERR 'PING' is about no data, and cannot be sent with an Idempotency-Key", { status: 400 })
    : new Response("fine");
await play("a key that is refused", noteKey(refuse), ask());
report.keysRefused = keys.splice(0);
await play("a mistake of the caller", onlyB, (nearest) => nearest.redis(Redis).client.request({ body: "mistake" }));
await play("nobody is there", () => { throw new TypeError("fetch failed"); }, (nearest) => nearest.fetch("/get/k"));
console.log(JSON.stringify(report));
process.exit(0);
