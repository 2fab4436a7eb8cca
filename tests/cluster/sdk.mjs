// What the official JavaScript client does against every region: run by test_clients.py, which reads the report.
//
// argv: a JSON object {token, urls}; stdout: a JSON object of what was seen.
import { Redis } from "@upstash/redis";

const { token, urls } = JSON.parse(process.argv[2]);
const clients = urls.map((url) => new Redis({ url, token, enableTelemetry: false, retry: { retries: 0 } }));
const report = { stale: [], written: [] };

for (const [index, redis] of clients.entries()) {
  for (let round = 0; round < 10; round++) {
    const key = `js:now:${index}:${round}`;
    await redis.set(key, round); // auto-pipelining is on: writes and reads leave in requests of their own
    const read = await redis.get(key);
    if (read !== round) report.stale.push([key, read]);
  }
  await redis.set(`js:json:${index}`, { region: index, nested: [1, "two", null], truth: true });
  await redis.hset(`js:hash:${index}`, { field: "välue", other: "2" });
  await redis.zadd(`js:zset:${index}`, { score: 1.5, member: "a" }, { score: 2, member: "b" });
  const pipeline = redis.pipeline().rpush(`js:list:${index}`, "a", "b", "c").incr("js:counter").lrange(`js:list:${index}`, 0, -1);
  const [length, , list] = await pipeline.exec();
  const transaction = await redis.multi().sadd(`js:set:${index}`, "x").scard(`js:set:${index}`).exec();
  const parallel = await Promise.all([redis.incr("js:counter"), redis.hgetall(`js:hash:${index}`), redis.mget(`js:json:${index}`, "js:missing")]);
  report.written.push({ length, list, transaction, hash: parallel[1], json: parallel[2] });
}

// A message published in one region is heard in another.
const subscriber = clients[0].subscribe("js:news");
const heard = new Promise((resolve) => subscriber.on("message", ({ message }) => resolve(message)));
await new Promise((resolve) => subscriber.on("subscribe", resolve));
await clients[clients.length - 1].publish("js:news", "hello, world");
report.heard = await heard;
await subscriber.unsubscribe();

console.log(JSON.stringify(report));
process.exit(0);
