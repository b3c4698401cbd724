/** Reloads the page whenever a loading model becomes ready or fails. */
import { ask } from "./api.js";

const INTERVAL_MS = 1500;

const states = async () => {
  const { models } = await ask("/api/models");
  return models.map(({ name, state }) => `${name} ${state}`).join("\n");
};

async function watch() {
  let first = null;
  for (;;) {
    try {
      const now = await states();
      first ??= now;
      // Models may have become ready between the page and the first request: then none is loading.
      if (now !== first || !now.includes(" loading")) return location.reload();
    } catch (error) {
      if (error.status === 401) return location.reload(); // which asks to sign in
      // The server may be restarting: ask again.
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

watch();
