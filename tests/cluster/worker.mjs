// A Worker as an application deploys it, in the real Workers runtime (workerd): @upstash/redis/cloudflare against one node.
//
// On the path /edge it reads what it wrote through an edge cache instead, by plain GET: today's client only posts.
//
// argv: a JSON object {token, url, edge, path}; stdout: the JSON object that the Worker answers on that path.
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Miniflare } from "miniflare";

const { token, url, edge, path } = JSON.parse(process.argv[2]);

const worker = `
import { Redis } from "./redis/cloudflare.mjs";

export default {
  async fetch(request, env) {
    const redis = Redis.fromEnv(env);
    const seen = [];
    if (new URL(request.url).pathname === "/edge") {
      const headers = { authorization: "Bearer " + env.UPSTASH_REDIS_REST_TOKEN };
      const ask = async () => {
        const answer = await fetch(env.EDGE_URL + "/get/worker:key", { headers });
        return [answer.headers.get("upstash-edge-cache"), (await answer.json()).result];
      };
      seen.push(await ask(), await ask());
      await redis.set("worker:key", "changed");
      let last;
      do last = await ask(); while (last[1] !== "changed"); // the entry of the write ends the kept reply
      return Response.json({ seen, last: last[1], agent: navigator.userAgent });
    }
    for (let n = 0; n < 10; n++) {
      if (new URL(request.url).pathname === "/write") await redis.set("worker:key", { n });
      seen.push(await redis.get("worker:key"));
    }
    return Response.json({ seen, agent: navigator.userAgent });
  },
};`;

// The modules of the package itself, as they are; a bundler would do the same.
async function modules() {
  const home = join(dirname(fileURLToPath(import.meta.url)), "node_modules");
  const found = [{ type: "ESModule", path: "/worker.mjs", contents: worker }];
  const names = ["cloudflare.mjs"];
  for (const name of names) {
    const contents = await readFile(join(home, "@upstash/redis", name), "utf8");
    found.push({ type: "ESModule", path: `/redis/${name}`, contents });
    for (const [, other] of contents.matchAll(/from "\.\/([^"]+)"/g)) if (!names.includes(other)) names.push(other);
  }
  const contents = await readFile(join(home, "uncrypto/dist/crypto.web.mjs"), "utf8");
  found.push({ type: "ESModule", path: "/redis/uncrypto", contents });
  return found;
}

const runtime = new Miniflare({
  modules: await modules(),
  modulesRoot: "/",
  compatibilityDate: "2025-01-01",
  bindings: { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token, UPSTASH_DISABLE_TELEMETRY: "1", EDGE_URL: edge ?? "" },
});
const answer = await runtime.dispatchFetch(`http://worker${path}`);
console.log(await answer.text());
await runtime.dispose();
