// BullMQ runs jobs and ioredis does what applications do with it, on the node that is given; prints a report.
import { Queue, QueueEvents, Worker } from "bullmq";
import Redis from "ioredis";

const { host, port, password } = JSON.parse(process.argv[2]);
const connection = { host, port, password, maxRetriesPerRequest: null };

async function bullmq() {
  const queue = new Queue("numbers", { connection });
  const events = new QueueEvents("numbers", { connection });
  await events.waitUntilReady();
  const order = [];
  const worker = new Worker(
    "numbers",
    async (job) => {
      order.push(job.name);
      if (job.name === "bad") throw new Error("on purpose");
      return 2 * job.data.n;
    },
    { connection, concurrency: 5 },
  );
  const late = [await queue.add("late", { n: 0 }, { delay: 600 }), await queue.add("early", { n: 0 }, { delay: 200 })];
  const jobs = await queue.addBulk([...Array(20).keys()].map((n) => ({ name: `job ${n}`, data: { n } })));
  const results = await Promise.all(jobs.map((job) => job.waitUntilFinished(events)));
  const bad = await queue.add("bad", {});
  const failed = await bad.waitUntilFinished(events).then(() => 0, () => 1);
  await Promise.all(late.map((job) => job.waitUntilFinished(events)));
  const completed = (await queue.getJobCounts("completed")).completed - late.length;
  await worker.close();
  await events.close();
  await queue.close();
  return { completed, failed, delayed_in_order: order.indexOf("early") < order.indexOf("late"), results };
}

async function ioredis() {
  const client = new Redis(connection);
  const other = new Redis(connection);
  const values = (replies) => replies.map(([error, value]) => (error ? String(error) : value));
  const pipeline = values(await client.pipeline().set("a", 1).get("a").incr("a").exec());
  const transaction = values(await client.multi().set("b", 7).get("b").exec());
  client.defineCommand("add", { numberOfKeys: 1, lua: "return redis.call('incrby', KEYS[1], ARGV[1])" });
  await client.set("c", 2);
  const script = await client.add("c", 40);
  const heard = new Promise((resolve) => other.on("message", (channel, message) => resolve([channel, message])));
  await other.subscribe("news");
  await client.publish("news", "hello");
  const message = await heard;
  await other.unsubscribe("news");
  await client.mset(Object.fromEntries([...Array(100).keys()].map((n) => [`scan:${n}`, n])));
  const found = new Set();
  for await (const keys of client.scanStream({ match: "scan:*", count: 10 })) keys.forEach((key) => found.add(key));
  const waiting = other.blpop("list", 30);
  await client.rpush("list", "element");
  const blocked = await waiting;
  await client.watch("w");
  await other.set("w", 1);
  const watched = await client.multi().set("w", 2).exec();
  await client.xgroup("CREATE", "jobs", "g", "$", "MKSTREAM");
  const reading = ["one", "two"].map((name) => {
    const consumer = new Redis(connection);
    return consumer
      .xreadgroup("GROUP", "g", name, "COUNT", 1, "BLOCK", 30000, "STREAMS", "jobs", ">")
      .then((read) => (consumer.disconnect(), read[0][1][0][1]));
  });
  await client.xadd("jobs", "*", "n", 1);
  await client.xadd("jobs", "*", "n", 2);
  const jobs = (await Promise.all(reading)).sort();
  const automatic = new Redis({ ...connection, enableAutoPipelining: true });
  const autopipelined = await Promise.all([...Array(50).keys()].map((n) => automatic.incrby("sum", n)));
  automatic.disconnect();
  client.disconnect();
  other.disconnect();
  return { pipeline, transaction, script, message, scanned: found.size, blocked, watched, jobs, sum: autopipelined.at(-1) };
}

console.log(JSON.stringify({ bullmq: await bullmq(), ioredis: await ioredis() }));
process.exit(0);
