// Files that are dragged onto the page: noticed while they are over it, taken when they are let go, out of folders too.
import { signal } from "@preact/signals";

/** Out of a folder, only what may be a document is taken: it holds other things as well, and nobody chose those. */
const DOCUMENT = /\.(?:md|markdown|txt|text)$/i;
/** The most that one drop takes: as many as an owner may have where nothing else is set. */
const MOST = 1000;

/** Whether files are over the page. */
export const dragged = signal(false);

/**
 * Listens, as long as the page lives.
 * @param {() => boolean} open Whether files can be taken at all.
 * @param {(files: import("./documents.js").Named[], empty: string[]) => void} take What to do with files, and with the names of folders
 *   that hold no document.
 */
export function listenForFiles(open, take) {
  // What is dragged enters and leaves every element it passes over: it is over the page while it entered more than it left.
  let entered = 0;
  const holdsFiles = (/** @type {DragEvent} */ event) => Boolean(event.dataTransfer?.types.includes("Files"));
  document.addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    entered += 1;
    dragged.value = open();
  });
  document.addEventListener("dragleave", (event) => {
    if (!holdsFiles(event)) return;
    entered = Math.max(0, entered - 1);
    if (entered === 0) dragged.value = false;
  });
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event) || !event.dataTransfer) return;
    event.preventDefault(); // or the browser would leave the page for the file
    event.dataTransfer.dropEffect = open() ? "copy" : "none";
  });
  document.addEventListener("drop", async (event) => {
    if (!holdsFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    entered = 0;
    dragged.value = false;
    if (!open()) return;
    const { files, empty } = await filesOf(event.dataTransfer);
    take(files, empty);
  });
}

/** @param {DataTransfer} dropped */
async function filesOf(dropped) {
  // Asked for at once: when the event is over, they are no longer told.
  const entries = [...dropped.items].filter(({ kind }) => kind === "file").map((each) => each.webkitGetAsEntry());
  const plain = [...dropped.files];
  /** @type {import("./documents.js").Named[]} */
  const files = [];
  /** @type {string[]} */
  const empty = [];
  if (!entries.length || entries.includes(null)) return { files: plain.map((file) => ({ name: file.name, file })), empty };
  for (const entry of /** @type {FileSystemEntry[]} */ (entries)) {
    const before = files.length;
    await gather(entry, files, true);
    if (entry.isDirectory && files.length === before) empty.push(entry.name);
  }
  return { files, empty };
}

/** @param {FileSystemEntry} entry @param {import("./documents.js").Named[]} files @param {boolean} chosen Whether it was dropped itself. */
async function gather(entry, files, chosen) {
  if (files.length >= MOST) return;
  const name = entry.fullPath.replace(/^\/+/, "");
  if (entry.isFile) {
    if (!chosen && !DOCUMENT.test(entry.name)) return;
    const file = await new Promise((resolve) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, () => resolve(null)));
    // One that went away in this moment is no document.
    if (file) files.push({ name, file });
    return;
  }
  if (!chosen && entry.name.startsWith(".")) return;
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    // A browser tells a hundred at a time, until there are none.
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return;
    for (const each of some) await gather(each, files, false);
  }
}
