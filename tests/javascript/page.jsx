// Pages of somebody's, made with React in its strict mode. Which one is shown, the address says.
import { Client, newId } from "@headrace/client";
import { useStream } from "@headrace/client/react";
import { Activity, StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { Answer, clientOf } from "./answer.jsx";

const asked = new URLSearchParams(location.search);
const client = clientOf(asked.get("server"));

/** How often it was drawn, and the longest text that ever stood there. */
window.seen = { renders: 0, shrank: false, longest: 0 };

function Watched({ text }) {
  window.seen.renders++;
  if (text.length < window.seen.longest) window.seen.shrank = true;
  window.seen.longest = Math.max(window.seen.longest, text.length);
  return <article>{text}</article>;
}

/** Asks as soon as it is there, in an effect, which strict mode runs twice. */
function AsksAtOnce() {
  const [id] = useState(newId);
  const stream = useStream(client);
  useEffect(() => {
    stream.ask("Tell me.", { streamId: id, model: "fast" });
  }, []);
  return (
    <>
      <Watched text={stream.text} />
      <output>{stream.ending ?? (stream.running ? "running" : "left")}</output>
      <code>{id}</code>
    </>
  );
}

function Hides() {
  const [shown, show] = useState(true);
  return (
    <>
      <button onClick={() => show(!shown)}>{shown ? "Hide" : "Show"}</button>
      <Activity mode={shown ? "visible" : "hidden"}>
        <AsksAtOnce />
      </Activity>
    </>
  );
}

const PAGES = {
  answer: <Answer client={client} model="fast" />,
  effect: <AsksAtOnce />,
  hides: <Hides />,
};

createRoot(document.querySelector("main")).render(<StrictMode>{PAGES[asked.get("show")]}</StrictMode>);
