/** Requests to the API for all pages, and errors that say what to do. */

export class ApiError extends Error {
  /**
   * status: of HTTP, 0 without an answer. details: as the API lists problems
   * (`{field, problem, expected?}`). id: by which the server's log knows the request.
   * retryAfter: seconds until the next try, if the server names them.
   */
  constructor(message, { status = 0, code = "", details = [], id = null, retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, code, details, id, retryAfter });
  }
}

const UNREACHABLE = "The server cannot be reached. Check the connection, then try again.";

const SIGNED_OUT = "You are signed out, or your key was removed. Load this page again to sign in.";

/** retryAfter: the header of that name, if any. */
function problemOf(status, body, retryAfter) {
  let answer = null;
  try {
    answer = JSON.parse(body);
  } catch {
    // A proxy's page in place of our answer.
  }
  if (!answer?.error) return new ApiError(`The server answered with status ${status}. Try again.`, { status });
  const { code, message, details } = answer.error;
  // The advice for programs, a key in a header, is of no use to people.
  if (status === 401) return new ApiError(SIGNED_OUT, { status, code, id: answer.id });
  return new ApiError(message, { status, code, details, id: answer.id, retryAfter: Number(retryAfter) || null });
}

/** The JSON that the server answers. Throws ApiError, or AbortError once `signal` aborts. */
export async function ask(url, { json, signal, ...options } = {}) {
  const init = { signal, ...options };
  if (json !== undefined) {
    init.method = "POST";
    init.body = JSON.stringify(json);
    init.headers = { "Content-Type": "application/json" };
  }
  const response = await open(url, init);
  return response.json();
}

/** The response, once its headers have arrived and say success. Throws as `ask` does. */
export async function open(url, init) {
  let response;
  try {
    response = await fetch(url, init);
    if (response.ok) return response;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(UNREACHABLE);
  }
  throw problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
}

/**
 * Like `ask`, for a body that takes long to send (fetch does not report progress).
 * onProgress: called with the fraction sent, 0 to 1.
 */
export function upload(url, body, { signal, onProgress } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const aborted = () => reject(new DOMException("cancelled", "AbortError"));
    if (signal?.aborted) return aborted();
    signal?.addEventListener("abort", () => request.abort(), { once: true });
    request.upload.onprogress = (e) => e.lengthComputable && onProgress?.(e.loaded / e.total);
    request.onabort = aborted;
    request.onerror = () => reject(new ApiError(UNREACHABLE));
    request.onload = () => {
      const failed = () => problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After"));
      if (request.status >= 300) return reject(failed());
      try {
        resolve(JSON.parse(request.responseText));
      } catch {
        reject(failed());
      }
    };
    request.open("POST", url);
    request.send(body);
  });
}
