// What frames.js uses of the vendored parser, for the type checker.
export function createParser(config: { onEvent: (event: { id?: string; data: string }) => void }): {
  feed: (text: string) => void;
};
