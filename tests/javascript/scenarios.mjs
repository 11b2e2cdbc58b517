// What programs do with @headrace/client. Each scenario is played in a node of its own; what it finds it writes as JSON.
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { Client, HeadraceError, StreamFailed, newId } from "@headrace/client";

const tell = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);
const told = createInterface({ input: process.stdin });
const heard = () => new Promise((resolve) => told.once("line", resolve));

/** Everything that a stream says, and how that ended. */
async function whole(stream) {
  let text = "";
  try {
    for await (const piece of stream.text) text += piece;
  } catch (error) {
    return { ...ended(stream, text), error: described(error) };
  }
  return { ...ended(stream, text), error: null };
}

const ended = (stream, text) => ({
  id: stream.id,
  text,
  final: stream.final,
  offset: stream.offset,
  resumed: stream.resumed,
  stats: stream.stats,
  connection: stream.connection.name,
});

const described = (error) => ({
  name: error.name,
  ours: error instanceof HeadraceError,
  failed: error instanceof StreamFailed,
  message: error.message,
  code: error.code,
  status: error.status,
  ending: error.ending,
  retryable: error.retryable,
  afterFirstToken: error.afterFirstToken,
  partial: error.partial,
  streamId: error.streamId,
});

const SCENARIOS = {
  /** The client before the route of the Next.js example, which is asked as Next.js asks it. */
  async throughNext({ url, route }) {
    process.env.HEADRACE_URL = url;
    const { GET, POST } = await import(route);
    const real = globalThis.fetch;
    const site = "http://site.example/api/headrace/";
    globalThis.fetch = (address, options) => {
      const asked = String(address);
      if (!asked.startsWith(site)) return real(address, options);
      const request = new Request(asked, options);
      const path = new URL(asked).pathname.slice("/api/headrace/".length).split("/");
      return (request.method === "POST" ? POST : GET)(request, { params: Promise.resolve({ path }) });
    };
    const client = new Client({ url: "http://site.example/api/headrace" });
    const stream = client.stream("Bread?", { model: "lab/m" });
    let text = "";
    for await (const piece of stream.text) {
      if (!text) tell({ first: piece });
      text += piece;
    }
    const refused = [];
    for (const path of ["v1/streams", "v1/conversations", "v1/streams/x/events/../../../keys"]) {
      refused.push((await fetch(site + path)).status);
    }
    tell({ text, ending: stream.ending, refused });
  },
  /** Asks the same question so many times at once. */
  async ask({ url, times = 1, client = {}, options = {} }) {
    const asked = new Client({ url, ...client });
    tell(await Promise.all(Array.from({ length: times }, () => whole(asked.stream("Tell me.", { model: "lab/m", ...options })))));
  },

  /** Tells every piece as it comes, and the whole at the end. */
  async follow({ url, client = {}, options = {} }) {
    const stream = new Client({ url, ...client }).stream("Tell me.", { model: "lab/m", ...options });
    stream.onconnection = (connection) => tell({ connection });
    try {
      for await (const piece of stream.text) tell({ piece });
      tell({ ...ended(stream, ""), error: null });
    } catch (error) {
      tell({ ...ended(stream, ""), error: described(error) });
    }
  },

  /** Does something after so many pieces, and tells what was read then, and what is read afterwards. */
  async after({ url, pieces, action }) {
    const client = new Client({ url });
    const leaving = new AbortController();
    const stream = client.stream("Tell me.", { model: "lab/m", signal: leaving.signal });
    let text = "";
    let thrown = null;
    let count = 0;
    try {
      for await (const piece of stream.text) {
        text += piece;
        if (++count !== pieces) continue;
        if (action === "cancel") await stream.cancel();
        if (action === "abort") leaving.abort();
        if (action === "detach") stream.detach();
        if (action === "break") break;
      }
    } catch (error) {
      thrown = error.name;
    }
    const first = { ...ended(stream, text), thrown };
    tell(first);
    if (action === "cancel") return;
    await heard();
    const again = action === "abort" ? client.resume(stream.id, { after: first.offset }) : stream;
    tell(await whole(again));
  },

  /** Reads a stream's events from behind every one of its offsets. */
  async everyOffset({ url }) {
    const client = new Client({ url });
    const stream = client.stream("Tell me.", { model: "lab/m" });
    const given = [];
    for await (const event of stream.events) given.push([stream.offset, event]);
    const rests = [];
    for (let after = -1; after <= stream.offset; after++) {
      const rest = [];
      for await (const event of client.resume(stream.id, { after }).events) rest.push(event);
      rests.push([after, rest]);
    }
    tell({ given, rests, last: stream.offset });
  },

  /** Reads in batches, and leaves in the middle of one. */
  async middle({ url }) {
    const client = new Client({ url });
    const asked = client.stream("Tell me.", { model: "lab/m" });
    await whole(asked);
    const stream = client.resume(asked.id); // all of it comes in one read now
    const read = [];
    for (;;) {
      const before = read.length;
      for await (const event of stream.events) {
        read.push([stream.offset, event.type, stream.ending]);
        break;
      }
      if (read.length === before) break;
    }
    tell(read);
  },

  /** Leaves before anything is asked, in every way. */
  async neverAsked({ url }) {
    const client = new Client({ url });
    const aborted = await whole(client.stream("Tell me.", { model: "lab/m", signal: AbortSignal.abort() }));
    const stream = client.stream("Tell me.", { model: "lab/m" });
    await stream.cancel();
    tell({ aborted, cancelled: await whole(stream) });
  },

  /** What a client can ask beside streams. */
  async look({ url }) {
    const client = new Client({ url });
    const { id } = await whole(client.stream("Tell me.", { model: "lab/m" }));
    const known = await client.show(id);
    const cancelled = await client.cancel(id);
    const models = (await client.models()).map((model) => model.id);
    const listed = (await client.streams({ limit: 1 })).data[0].id;
    await client.forget(id);
    const gone = await client.show(id).catch(described);
    tell({ id, known, cancelled, models, listed, gone, ids: [newId(), newId()] });
  },

  /** A prompt that no server would understand. */
  async wrong({ url }) {
    const client = new Client({ url });
    try {
      client.stream([{ role: "assistant", content: "Hello." }]);
    } catch (error) {
      tell(described(error));
    }
  },

  /** The frames of one body, however its bytes are cut. */
  async everyCut({ body }) {
    const { eventsOf } = await import("./node_modules/@headrace/client/transport/frames.js");
    const bytes = new Uint8Array(await readFile(body));
    const framesOf = async (cuts) => {
      const source = new ReadableStream({
        start(controller) {
          let from = 0;
          for (const to of [...cuts, bytes.length]) controller.enqueue(bytes.slice(from, (from = to)));
          controller.close();
        },
      });
      const events = [];
      for await (const read of eventsOf(source, -1, () => {})) events.push(...read);
      return JSON.stringify(events);
    };
    const expected = await framesOf([]);
    const differing = [];
    for (let place = 0; place <= bytes.length; place++) if ((await framesOf([place])) !== expected) differing.push(place);
    const single = await framesOf(Array.from(bytes.keys()).slice(1));
    tell({ events: JSON.parse(expected), differing, single: single === expected, bytes: bytes.length });
  },
};

await SCENARIOS[process.argv[2]](JSON.parse(process.argv[3]));
told.close();
