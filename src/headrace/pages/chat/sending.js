// One file to the server, with how much of it has been sent: the only request of the page that `fetch` cannot make, since it
// does not tell of what it sends.
import { HeadraceError, errorOf } from "../client/errors.js";
import { say } from "./words.js";

/**
 * Sends a file. Resolved once it is indexed.
 * @param {import("./documents.js").Sending} sending
 * @returns {Promise<import("./documents.js").Document & { state: import("./documents.js").Became }>}
 */
export async function sendFile({ name, file, state, share }) {
  // Read now and not by the request: a file that was changed or taken away since it was chosen could not be told from a
  // server that is away.
  const body = await file.arrayBuffer().catch(() => {
    throw new HeadraceError(say("documents.unreadable"), { status: 0 });
  });
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/v1/documents?name=${encodeURIComponent(name)}`);
    request.setRequestHeader("Content-Type", "text/markdown");
    request.upload.onprogress = ({ loaded, total }) => {
      share.value = total ? loaded / total : 1;
    };
    request.upload.onload = () => {
      share.value = 1;
      state.value = "indexing";
    };
    request.onerror = () => reject(new HeadraceError(say("documents.away")));
    request.onload = async () => {
      const after = request.getResponseHeader("retry-after");
      const answer = new Response(request.responseText, { status: request.status, headers: after ? { "retry-after": after } : {} });
      if (answer.ok) resolve(await answer.json());
      else reject(await errorOf(answer));
    };
    request.send(body);
  });
}
