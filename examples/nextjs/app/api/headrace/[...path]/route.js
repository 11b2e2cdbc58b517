// Passes requests of the browser on to a headrace server, and its streams back, token by token: nothing is held back.
// The key stays here. In the browser: new Client({ url: "/api/headrace" }).
//
// All visitors share one key here, so whoever knows a stream's id may read it: ids are 128 bits of chance, and the list of
// streams is not among what is passed on. Who is logged in is for your own code to ask, where it says so below.

const SERVER = process.env.HEADRACE_URL ?? "http://127.0.0.1:8000";
const KEY = process.env.HEADRACE_KEY;

/** What may be asked: answers, their events, their state, and their end. */
const PASSED_ON = [
  ["POST", /^chat\/[\w-]+$/],
  ["GET", /^v1\/streams\/[\w-]+$/],
  ["GET", /^v1\/streams\/[\w-]+\/events$/],
  ["POST", /^v1\/streams\/[\w-]+\/cancel$/],
];

const REQUEST_HEADERS = ["content-type", "idempotency-key", "last-event-id"];
const RESPONSE_HEADERS = ["content-type", "headrace-stream", "retry-after", "x-should-retry"];

export const dynamic = "force-dynamic";

async function passOn(request, { params }) {
  const path = (await params).path.join("/");
  if (!PASSED_ON.some(([method, pattern]) => method === request.method && pattern.test(path))) {
    return refusal(404, "route_not_found", "nothing is served there");
  }
  // Here: is the visitor logged in, and has this visitor asked for this stream?

  const headers = new Headers({ "Accept-Encoding": "identity" });
  for (const [name, value] of request.headers) {
    if (REQUEST_HEADERS.includes(name) || name.startsWith("headrace-")) headers.set(name, value);
  }
  if (KEY) headers.set("Authorization", `Bearer ${KEY}`);
  let answer;
  try {
    answer = await fetch(`${SERVER}/${path}`, {
      method: request.method,
      headers,
      body: request.method === "POST" ? await request.text() : undefined,
      cache: "no-store",
      signal: request.signal, // a browser that leaves is let go of; the stream goes on, as it was asked to
    });
  } catch {
    return refusal(502, "upstream_unreachable", "headrace cannot be reached"); // the client tries again
  }

  const told = new Headers({ "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no" });
  for (const name of RESPONSE_HEADERS) if (answer.headers.has(name)) told.set(name, answer.headers.get(name));
  return new Response(answer.body, { status: answer.status, headers: told });
}

const refusal = (status, code, message) => Response.json({ error: { message, code } }, { status });

export { passOn as GET, passOn as POST };
