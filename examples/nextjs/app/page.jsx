"use client";
// Beside this file: answer.jsx of ../../react.
import { Answer, clientOf } from "./answer.jsx";

const client = clientOf("/api/headrace");

export default function Page() {
  return <Answer client={client} model="offline" />;
}
