// A question and its answer as a React component. It survives cuts and reloads: the stream's id is kept in the address.
import { Client } from "@headrace/client";
import { useStream } from "@headrace/client/react";
import { useEffect } from "react";

/** Made once, outside of components. `url`: of the server, or of a route that passes on to it (see ../nextjs). */
export const clientOf = (url) => new Client({ url });

export function Answer({ client, model }) {
  const stream = useStream(client);

  // After a reload the stream is read again, from its beginning. Run twice, as in strict mode, it follows it once.
  useEffect(() => {
    const known = location.hash.slice(1);
    if (known) stream.resume(known);
  }, []);

  function ask(event) {
    event.preventDefault();
    location.hash = stream.ask(new FormData(event.target).get("prompt"), { model });
  }

  const { name, seconds } = stream.connection;
  return (
    <section>
      <form onSubmit={ask}>
        <input name="prompt" aria-label="Question" required />
        <button disabled={stream.running}>Ask</button>
        <button type="button" disabled={!stream.running} onClick={stream.cancel}>
          Stop
        </button>
      </form>
      {stream.reasoning && (
        <details>
          <summary>Reasoning</summary>
          {stream.reasoning}
        </details>
      )}
      <article aria-busy={stream.running} style={{ whiteSpace: "pre-wrap" }}>
        {stream.text}
      </article>
      {name === "waiting" && <p role="alert">Cut off. Trying again in {Math.ceil(seconds)} s.</p>}
      {stream.failure && stream.ending !== "cancelled" && <p role="alert">{stream.failure.message}</p>}
      {stream.error && <p role="alert">{stream.error.message}</p>}
      {stream.ending && (
        <footer>
          {stream.ending}, {stream.stats.tokens} tokens ({stream.stats.tokensSource})
        </footer>
      )}
    </section>
  );
}
