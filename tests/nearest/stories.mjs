// The stories of stories.json, played with the JavaScript helper: run by test_chooser.py, whose `play` this repeats.
//
// argv: a JSON object {helper, stories}; stdout: {played: [claim], wrong: [[claim, step, what was seen]]}.
const { helper, stories } = JSON.parse(process.argv[2]);
const { Chooser } = await import(helper);
const report = { played: [], wrong: [] };

function toldBy(name, step, url) {
  const me = {
    name,
    url: `http://${name}`,
    region: "r",
    resp: "h:1",
    edges: [],
    role: step.role?.[url] ?? "replica",
    state: step.state?.[url] ?? "streaming",
    staleness_ms: step.staleness_ms?.[url] ?? 0,
    lag_ms: 0,
  };
  const others = (step.tells_of ?? []).filter((other) => other !== name);
  return { node: name, nodes: [me, ...others.map((other) => ({ ...me, name: other, url: `http://${other}` }))] };
}

for (const { claim, urls, lag_budget_ms: lagBudgetMs = null, discover = true, steps } of stories) {
  const chooser = new Chooser(urls.map((name) => `http://${name}/`), { lagBudgetMs, discover });
  const place = (name) => chooser.places.get(`http://${name}`);
  const short = (url) => url.replace("http://", "");
  for (const step of steps) {
    const now = step.at;
    for (const [name, rtt] of Object.entries(step.up ?? {}))
      for (let n = 0; n < 2; n++) chooser.answered(place(name), toldBy(name, step, name), rtt, now);
    const url = step.answered;
    if (url) chooser.answered(place(url), toldBy(step.name ?? url, step, url), step.rtt_ms, now);
    if (step.failed) chooser.failed(place(step.failed), now);
    if (step.unanswered) chooser.unanswered(place(step.unanswered), now, "no answer in time");
    const seen = {};
    if (step.due) seen.due = chooser.due(now).map((each) => short(each.url));
    if (step.wait_ms !== undefined) seen.wait_ms = chooser.waitMs(now);
    if (step.current) seen.current = short(chooser.current.url);
    if (step.known) seen.known = [...chooser.places.keys()].map(short);
    if (step.patience_ms)
      seen.patience_ms = Object.fromEntries(Object.keys(step.patience_ms).map((name) => [name, place(name).patienceMs]));
    for (const [what, value] of Object.entries(seen))
      if (JSON.stringify(value) !== JSON.stringify(step[what])) report.wrong.push([claim, step, value]);
  }
  report.played.push(claim);
}
console.log(JSON.stringify(report));
