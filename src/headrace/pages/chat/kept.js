// What this browser keeps of choices: the theme, the model, drafts. Nothing of any answer: those are the server's.

/** @param {string} name @returns {string | null} */
export function kept(name) {
  try {
    return localStorage.getItem(`headrace.${name}`);
  } catch {
    return null; // a browser may refuse to keep anything
  }
}

/** @param {string} name @param {string | null} value `null`: forgotten. */
export function keep(name, value) {
  try {
    if (value === null) localStorage.removeItem(`headrace.${name}`);
    else localStorage.setItem(`headrace.${name}`, value);
  } catch {
    // As above.
  }
}
