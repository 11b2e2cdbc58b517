// Uses every export of @headrace/client as a program in TypeScript does; what is wrong must not compile.
import {
  Client,
  HeadraceError,
  Stream,
  StreamFailed,
  newId,
  type ClientOptions,
  type Connection,
  type Ending,
  type Failure,
  type Final,
  type Message,
  type Numbered,
  type Provenance,
  type ResumeOptions,
  type Resuming,
  type Source,
  type Stats,
  type StreamEvent,
  type StreamOptions,
  type Timing,
  type ToolCall,
  type Usage,
} from "@headrace/client";
import { useStream, type Followed } from "@headrace/client/react";

const bounds: Partial<Resuming> = { attempts: 3, seconds: 10 };
const options: ClientOptions = { url: "http://127.0.0.1:8000", key: null, resuming: bounds, heartbeatSeconds: 5 };
const client = new Client(options);
const leaving = new AbortController();
const asked: StreamOptions = {
  model: "offline",
  system: "Be brief.",
  maxTokens: 100,
  conversationId: "c",
  assistant: "basic",
  streamId: newId(),
  idempotencyKey: "k",
  timeoutSeconds: 60,
  onDisconnect: 30,
  signal: leaving.signal,
  fields: { temperature: 0 },
};
const messages: Message[] = [{ role: "user", content: "What is an offset?" }];
const behind: ResumeOptions = { after: 3, signal: AbortSignal.timeout(1000) };

export async function use(): Promise<string> {
  const stream: Stream = client.stream(messages, asked);
  stream.onconnection = ({ name, attempt, seconds }: Connection) => console.log(name, attempt, seconds);
  try {
    for await (const event of stream.events) say(event);
    for await (const text of client.resume(stream.id, behind).text) console.log(text.length);
    for await (const read of client.resume(stream.id)) read.forEach(({ offset, frames }: Numbered) => console.log(offset, frames));
  } catch (error) {
    if (error instanceof StreamFailed) {
      const ending: Ending = error.ending;
      console.log(ending);
    }
    if (error instanceof HeadraceError) {
      const told: [string | null, number | null, boolean, boolean, string, string | null] = [
        error.code,
        error.status,
        error.retryable,
        error.afterFirstToken,
        error.partial,
        error.streamId,
      ];
      console.log(told, error.retryAfterSeconds);
    }
  }
  await stream.cancel();
  stream.detach();
  stream.hurry();
  const { cancelled } = await client.cancel(stream.id);
  const final: Final = stream.final;
  const stats: Stats = stream.stats;
  const first: number | null = stats.timeToFirstTokenSeconds;
  const known: Provenance | null = stats.tokensSource;
  const call: ToolCall | undefined = final.toolCalls[0];
  const source: Source | undefined = final.sources[0];
  const usage: Usage | null = final.usage;
  const timing: Timing | null = final.timing;
  const failure: Failure | null = final.failure;
  console.log(cancelled, first, known, call?.arguments, source?.passage, usage?.source, timing?.attempts, failure?.code);
  const models = (await client.models()).map((model) => model.id);
  console.log(models, await client.health(), await client.show(stream.id), (await client.streams({ limit: 1 })).has_more);
  await client.forget(stream.id);
  await client.login("key");
  const response: Response = await client.fetch("/health");
  return `${response.status} ${stream.offset} ${stream.ending} ${stream.connection.name} ${stream.resumed}`;
}

function say(event: StreamEvent): void {
  switch (event.type) {
    case "token":
    case "rationale":
      console.log(event.content);
      break;
    case "sources":
      console.log(event.sources.map(({ n, title }) => `${n} ${title}`));
      break;
    case "done":
      console.log(event.finish_reason);
      break;
    case "metadata":
      console.log(event.usage?.completion_tokens);
      break;
    default:
      console.log(event.type);
  }
}

export function Component(): string {
  const stream: Followed = useStream(client);
  const id: string = stream.ask("What is an offset?", { streamId: newId() });
  stream.resume(id, { after: 1 });
  void stream.cancel();
  stream.detach();
  stream.hurry();
  return `${stream.id} ${stream.running} ${stream.text} ${stream.reasoning} ${stream.stats?.deltas} ${stream.connection.name} ${stream.error}`;
}

// -- what is wrong

// @ts-expect-error: a prompt is wanted
client.stream();
// @ts-expect-error: no such option
client.stream("hi", { modle: "offline" });
// @ts-expect-error: an offset is a number
client.resume("id", { after: "3" });
// @ts-expect-error: the page's own way to ask is nobody else's
client.ask({ query: "hi" });
// @ts-expect-error: events are told apart by their types
export const wrong = (event: StreamEvent): string => event.content;
