// Drawing once per animation frame, and more seldom where drawing is dear.

/** How much of the time drawing may take at most: one part in this many. */
const SHARE = 3;

/**
 * A function that draws soon, however often it is called.
 * @param {() => void} draw
 */
export function drawing(draw) {
  let due = false;
  let notBefore = 0;
  const frame = (/** @type {number} */ now) => {
    if (now < notBefore) {
      requestAnimationFrame(frame);
      return;
    }
    due = false;
    const began = performance.now();
    draw(); // which may ask for the next frame
    notBefore = now + (performance.now() - began) * SHARE;
  };
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(frame);
  };
}
