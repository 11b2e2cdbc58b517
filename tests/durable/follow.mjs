// Follows a stream with the official client, and prints each batch of messages with the offset behind it as it arrives.
//   node follow.mjs URL OFFSET MODE
import { stream } from "@durable-streams/client";

const [url, offset, live] = process.argv.slice(2);
const response = await stream({ url, offset, live: live === "false" ? false : live, json: true });
await new Promise((resolve, reject) => {
  response.subscribeJson(async (batch) => {
    console.log(JSON.stringify({ items: batch.items, offset: batch.offset, closed: batch.streamClosed ?? false }));
  });
  response.closed.then(resolve, reject);
});
