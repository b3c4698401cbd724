/** Only the newest of several requests counts. */

/**
 * A function that runs `work(signal, …)` and ends the run before it. Its promise is false if a
 * newer call has ended it.
 */
export function latest(work) {
  let current = null;
  const run = async (...args) => {
    current?.abort();
    const mine = new AbortController();
    current = mine;
    try {
      await work(mine.signal, ...args);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
    return !mine.signal.aborted;
  };
  run.cancel = () => current?.abort();
  return run;
}
