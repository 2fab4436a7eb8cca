// An application near São Paulo that counts through the helper, with several versions of @upstash/redis: run by
// test_nearest.py, which stops and kills nodes meanwhile.
//
// argv: a JSON object {token, urls, helper, packages, limit_ms}; stdout: a line {place} each time another node is used; when
// stdin ends, a last line {counted: {package: [every answer]}, values: {package: the counter in the end}, failures: [text]}.
const { token, urls, helper, packages, limit_ms } = JSON.parse(process.argv[2]);
const { Nearest } = await import(helper);

setTimeout(() => process.exit(3), limit_ms).unref();
let isOver = false;
process.stdin.on("end", () => (isOver = true)).resume();

const nearest = await new Nearest(urls, { token }).start();
const report = { counted: {}, values: {}, failures: [] };
let shown = "";

async function count(name) {
  const { Redis } = await import(name);
  const redis = nearest.redis(Redis, { enableTelemetry: false });
  const answers = (report.counted[name] = []);
  while (!isOver) {
    try {
      answers.push(await redis.incr(`nearest:${name}`));
    } catch (failure) {
      report.failures.push(String(failure));
    }
    if (nearest.place.name !== shown) {
      shown = nearest.place.name;
      console.log(JSON.stringify({ place: shown }));
    }
  }
  report.values[name] = await redis.get(`nearest:${name}`);
}

await Promise.all(packages.map(count));
nearest.stop();
const response = await nearest.fetch("/dbsize");
report.fetched = [response.status, Object.keys(await response.json())];
console.log(JSON.stringify(report));
process.exit(0);
