// Nearest: which node a client shall use now, and when it shall leave it. One file, no dependencies; copy it where you need it.
//
//     import { Nearest } from "./nearest.mjs";
//     import { Redis } from "@upstash/redis";
//
//     const nearest = await new Nearest([URL, URL], { token, lagBudgetMs: 500 }).start();
//     const redis = nearest.redis(Redis);          // always at the nearest node; a request that gets lost is sent again, once
//     const response = await nearest.fetch("/get/greeting");
//
// Two URLs of the cluster are enough: every node tells of all others. Distances are measured from here. Needs timers that go
// on between requests: Node, Deno, Bun, browsers; not Workers, where each request is a life of its own.
//
// The theory, the numbers and the decisions are those of upstash_global/nearest.py; tests/nearest/stories.json holds for both.

const PATH = "/v1/nearest";
const STEADY = 2; // answers in a row after which a node is used
const SAMPLES = 5; // the shortest of so many round trips counts: noise only adds
const LEADER_HANDICAP_MS = 2;
const STAY_FACTOR = 0.8; // another node must be so much nearer, and
const STAY_MS = 1; // so much more, before a good one is left for it
const FRESH_FACTOR = 0.8; // of the lag budget: what a node that is not in use must keep
const CURRENT_MS = 250; // between questions to the node in use
const OTHERS_MS = 1_000;
const AGAIN_MS = 250; // after a failure, and so much more after each further one, up to OTHERS_MS
const PATIENCE_MS = 500; // for an answer, if two round trips are not longer
const FIRST_PATIENCE_MS = 2_000; // for one that may have to wait for a connection

/** What nodes are sorted by, the best first; the reasons stand in nearest.py. */
export function preference(state, isFresh, role, rttMs, lagMs) {
  const tier = state === "streaming" ? (isFresh ? 0 : 1) : state === null || state === "unreachable" ? 3 : 2;
  const farMs = rttMs === null ? Infinity : rttMs + (role === "leader" ? LEADER_HANDICAP_MS : 0);
  return [tier, farMs, lagMs ?? 0];
}

/** A node as this client knows it. */
export class Place {
  name = ""; // this and what follows: as the node says itself
  region = "";
  role = null;
  state = null;
  resp = ""; // host:port
  edges = []; // URLs of the edge caches of its region
  lagMs = null;
  stalenessMs = null;
  samples = []; // round trips in ms
  nAnswers = 0; // since the last failure
  nFailures = 0; // since the last answer
  problem = ""; // why it is down
  isAsked = false; // and has not answered yet

  constructor(url, isGiven, dueMs) {
    this.url = url; // of REST
    this.isGiven = isGiven; // by the user; else another node has told of it
    this.dueMs = dueMs; // when it is to be asked
  }

  get isUp() {
    return this.nAnswers >= STEADY;
  }

  get rttMs() {
    return this.samples.length ? Math.min(...this.samples) : null;
  }

  /** How long an answer may take. */
  get patienceMs() {
    return this.nAnswers === 0 || this.rttMs === null ? FIRST_PATIENCE_MS : Math.max(PATIENCE_MS, 2 * this.rttMs);
  }
}

/** Decides whom to ask when, and which node to use. Times are milliseconds of any clock that does not go back. */
export class Chooser {
  constructor(urls, { lagBudgetMs = null, discover = true, nowMs = 0 } = {}) {
    if (!urls.length) throw new RangeError("at least one URL is needed");
    this.lagBudgetMs = lagBudgetMs;
    this.discover = discover;
    this.places = new Map(urls.map(trimmed).map((url) => [url, new Place(url, true, nowMs)]));
    this.current = this.places.values().next().value;
  }

  /** Whether every known node has had its chance to be chosen. */
  get isSettled() {
    return [...this.places.values()].every((place) => place.isUp || place.nFailures > 0);
  }

  // -- asking

  /** Whom to ask now; each is waited for until it has answered or failed. */
  due(nowMs) {
    const places = [...this.places.values()].filter((place) => !place.isAsked && place.dueMs <= nowMs);
    for (const place of places) place.isAsked = true;
    return places;
  }

  /** How long nobody is due, if nothing is heard meanwhile. */
  waitMs(nowMs) {
    const waits = [...this.places.values()].filter((place) => !place.isAsked).map((place) => place.dueMs - nowMs);
    return waits.length ? Math.max(0, Math.min(...waits)) : OTHERS_MS;
  }

  /** A node has answered with the body of GET /v1/nearest. */
  answered(place, told, rttMs, nowMs) {
    place.isAsked = false;
    place.nAnswers += 1;
    place.nFailures = 0;
    place.problem = "";
    if (place.nAnswers > 1) place.samples = [...place.samples, rttMs].slice(-SAMPLES);
    const me = told.nodes.find((each) => each.name === told.node);
    if (me) {
      const { name, region, role, state, resp, edges } = me;
      Object.assign(place, { name, region, role, state, resp, edges, lagMs: me.lag_ms, stalenessMs: me.staleness_ms });
    }
    place.dueMs = nowMs + (place.isUp ? OTHERS_MS : 0);
    if (this.discover) this.#learn(told, nowMs);
    this.#choose(nowMs);
  }

  /** A node did not answer its question, or not in time. */
  unanswered(place, nowMs, problem) {
    place.isAsked = false;
    this.failed(place, nowMs, problem);
  }

  /** A node is down, at once. */
  failed(place, nowMs, problem = "a request failed") {
    place.nAnswers = 0;
    place.nFailures += 1;
    place.problem = problem;
    place.samples = [];
    place.dueMs = nowMs + Math.min(AGAIN_MS * place.nFailures, OTHERS_MS);
    this.#choose(nowMs);
  }

  /** Take in the nodes of an answer. One that answers at a URL which was given is not also used at the one it tells. */
  #learn(told, nowMs) {
    const given = new Set([...this.places.values()].filter((place) => place.isGiven).map((place) => place.name));
    for (const each of told.nodes) {
      const url = trimmed(each.url);
      const known = this.places.get(url);
      if (!known && !given.has(each.name)) this.places.set(url, new Place(url, false, nowMs));
      else if (known && !known.isGiven && given.has(each.name)) this.places.delete(url);
    }
  }

  // -- choosing

  /** All nodes, the best first. */
  ranked() {
    return [...this.places.values()].sort((one, other) => compare(this.#preference(one), this.#preference(other)));
  }

  #choose(nowMs) {
    this.current = this.ranked()[0];
    if (this.current.isUp) this.current.dueMs = Math.min(this.current.dueMs, nowMs + CURRENT_MS);
  }

  #preference(place) {
    if (!place.isUp) return [3, place.nFailures, 0];
    const [tier, farMs, lagMs] = preference(place.state, this.#isFresh(place), place.role, place.rttMs, place.lagMs);
    return [tier, place === this.current ? farMs * STAY_FACTOR - STAY_MS : farMs, lagMs];
  }

  #isFresh(place) {
    if (this.lagBudgetMs === null) return true;
    const factor = place === this.current ? 1 : FRESH_FACTOR;
    return place.stalenessMs !== null && place.stalenessMs <= this.lagBudgetMs * factor;
  }
}

// -- asking for real ------------------------------------------------------------------------------------------------

/** The node went down while a request was under way. */
export class Lost extends Error {}

/** Follows the nearest node from start() to stop(). */
export class Nearest {
  #chooser;
  #token;
  #lost = new Map(); // URL → {promise, lose} of requests under way there
  #settled = [];
  #timer = null;
  #isOver = false;

  /** `urls`: REST addresses of some nodes. `token`: any that may read, and whose rights requests shall have. */
  constructor(urls, { token = "", lagBudgetMs = null, discover = true } = {}) {
    this.#chooser = new Chooser(urls, { lagBudgetMs, discover, nowMs: performance.now() });
    this.#token = token;
  }

  /** The node to use now. */
  get place() {
    return this.#chooser.current;
  }

  get url() {
    return this.#chooser.current.url;
  }

  /** All known nodes, the best first. */
  places() {
    return this.#chooser.ranked();
  }

  /** Answers when every node had its chance to be chosen, at most after two seconds. */
  async start() {
    const settled = new Promise((resolve) => this.#settled.push(resolve));
    this.#askDue();
    await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, FIRST_PATIENCE_MS))]);
    return this;
  }

  stop() {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** A request to a node failed: use another one until this one answers again. */
  failed(place) {
    this.#chooser.failed(place, performance.now());
    this.#heard();
  }

  // -- requests

  /**
   * fetch() at the nearest node, by path. A GET, a HEAD and what carries an Idempotency-Key is sent again elsewhere if the
   * node is lost meanwhile; anything else may have run, so the failure is thrown.
   */
  fetch(path, init = {}) {
    const headers = new Headers(init.headers);
    if (this.#token && !headers.has("authorization")) headers.set("authorization", `Bearer ${this.#token}`);
    const again = ["GET", "HEAD"].includes((init.method ?? "GET").toUpperCase()) || headers.has("idempotency-key");
    return this.#run((place, signal) => {
      const either = init.signal ? AbortSignal.any([init.signal, signal]) : signal;
      return fetch(place.url + path, { ...init, headers, signal: either });
    }, again, init.signal);
  }

  /**
   * A client of @upstash/redis, of that class and with its options, whose every request goes to the nearest node. With `once`
   * each carries an Idempotency-Key and is sent again elsewhere if it gets lost: it runs once. A pipeline that writes then
   * runs as one unit. Without, a lost request throws.
   */
  redis(Redis, { once = true, ...options } = {}) {
    const redis = new Redis({ url: this.url, token: this.#token, ...options, retry: { retries: 0 } });
    redis.use((request, next) => {
      const client = redis.client;
      const send = (key) => (place) => {
        client.baseUrl = place.url; // this and the headers are read before next() returns
        if (key) client.headers["Idempotency-Key"] = key;
        if (client.readYourWrites) client.headers["upstash-sync-token"] = client.upstashSyncToken; // 1.37 sends an older one
        try {
          return next(request);
        } finally {
          delete client.headers["Idempotency-Key"];
        }
      };
      if (!once || request.onMessage || request.headers?.Accept === "text/event-stream") return this.#run(send(), false);
      return this.#run(send(crypto.randomUUID()), true).catch((failure) => {
        if (!/cannot be sent with an Idempotency-Key/.test(failure.message)) throw failure;
        return this.#run(send(), false); // it was refused before anything ran
      });
    });
    return redis;
  }

  async #run(request, again, signal) {
    for (let n = 1; ; n++) {
      const place = this.place;
      try {
        return await this.#unlessLost(place, request);
      } catch (failure) {
        const isLost = failure instanceof Lost;
        if (signal?.aborted || !(isLost || isOfNetwork(failure))) throw failure; // an answer, or a mistake of the caller
        if (!isLost) this.failed(place);
        if (!again || n > this.#chooser.places.size) throw failure;
      }
    }
  }

  async #unlessLost(place, request) {
    if (!this.#lost.has(place.url)) {
      const lost = {};
      lost.promise = new Promise((_, reject) => (lost.lose = reject));
      lost.promise.catch(() => {}); // it may be that nothing is under way any more
      this.#lost.set(place.url, lost);
    }
    const abort = new AbortController();
    const answer = request(place, abort.signal);
    try {
      return await Promise.race([answer, this.#lost.get(place.url).promise]);
    } catch (failure) {
      if (failure instanceof Lost) {
        Promise.resolve(answer).catch(() => {}); // nobody waits for it
        abort.abort();
      }
      throw failure;
    }
  }

  // -- asking

  #askDue() {
    if (this.#isOver) return;
    for (const place of this.#chooser.due(performance.now())) this.#ask(place);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#askDue(), this.#chooser.waitMs(performance.now()));
    this.#timer.unref?.(); // it keeps no process alive
  }

  async #ask(place) {
    const began = performance.now();
    const signal = AbortSignal.timeout(Math.ceil(place.patienceMs));
    const headers = this.#token ? { authorization: `Bearer ${this.#token}` } : {};
    try {
      const response = await fetch(place.url + PATH, { headers, signal, redirect: "error", cache: "no-store" });
      const told = await response.json();
      const now = performance.now();
      if (response.ok) this.#chooser.answered(place, told, now - began, now);
      else this.#chooser.unanswered(place, now, `${response.status} ${told.error}`);
    } catch (failure) {
      const problem = failure.name === "TimeoutError" ? "no answer in time" : failure.cause?.message ?? failure.message;
      this.#chooser.unanswered(place, performance.now(), problem);
    }
    this.#heard();
  }

  /** Something has changed: whom to ask next, and perhaps who is lost. */
  #heard() {
    for (const [url, lost] of this.#lost) {
      const place = this.#chooser.places.get(url);
      if (place && !place.nFailures) continue;
      this.#lost.delete(url);
      lost.lose(new Lost(`${place?.name || url} went away before it answered: ${place?.problem}`));
    }
    if (this.#chooser.isSettled) this.#settled.splice(0).forEach((resolve) => resolve());
    this.#askDue();
  }
}

/** fetch() fails with a TypeError, as many mistakes do; only its words tell it apart, and each platform has its own. */
function isOfNetwork(failure) {
  return /fetch|network|load failed|terminated|connect|sending request|socket/i.test(failure?.message ?? "");
}

function compare(one, other) {
  const at = one.findIndex((value, index) => value !== other[index]);
  return at < 0 ? 0 : one[at] < other[at] ? -1 : 1;
}

function trimmed(url) {
  return url.replace(/\/+$/, "");
}
