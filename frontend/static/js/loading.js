/** Shows the page anew whenever a model that was loading is ready or has failed. */
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
      // Between the page and the first question something may have happened: then none is loading.
      if (now !== first || !now.includes(" loading")) return location.reload();
    } catch (error) {
      if (error.status === 401) return location.reload(); // which asks to sign in
      // Restarting, perhaps: ask on.
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

watch();
