// What the page asks of the gateway over HTTP. Paths are relative, so that the page may live below
// another path behind a proxy.

import { forThisTab } from './storage.js';

const CALLS = 'v1/realtime/calls';
const KEY = 'gateway.key';

// An answer that is no success, or (status 0) none at all. `code` is the gateway's word for it, or
// null where the answer may be somebody else's, as of a proxy.
export class ApiError extends Error {
  constructor(status, code, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter; // seconds
  }
}

export class Api {
  #key = forThisTab.get(KEY);

  get hasKey() {
    return this.#key !== '';
  }

  // Kept for as long as the tab lives; "" forgets it.
  set key(key) {
    this.#key = key;
    forThisTab.set(KEY, key);
  }

  // {dial, version, model, ice_servers}
  async softphone() {
    return json(await this.#ask('GET', 'v1/realtime/softphone'));
  }

  // Posts an offer; resolves to the call's id and the answer. `session` null is the line's own.
  async call(sdp, session) {
    const form = new FormData();
    form.append('sdp', sdp);
    if (session) form.append('session', JSON.stringify(session));
    const response = await this.#ask('POST', CALLS, { body: form });
    const id = (response.headers.get('Location') ?? '').split('/').pop();
    return { id, sdp: await response.text() };
  }

  // `leaving`: the page is on its way out, and the request must outlive it.
  async hangUp(id, { leaving = false } = {}) {
    await this.#ask('POST', `${CALLS}/${id}/hangup`, { keepalive: leaving });
  }

  async refer(id, target) {
    await this.#ask('POST', `${CALLS}/${id}/refer`, {
      body: JSON.stringify({ target_uri: target }),
      headers: { 'Content-Type': 'application/json' },
    });
  }

  // The newest calls, now and lately: {data, has_more}.
  async calls(limit) {
    return json(await this.#ask('GET', `${CALLS}?limit=${limit}`));
  }

  async find(id) {
    return json(await this.#ask('GET', `${CALLS}/${id}`));
  }

  // Why no call is taken now, or null.
  async refusal() {
    const response = await this.#fetch('readyz', {});
    if (response.ok) return null;
    const told = await json(response).catch(() => null);
    return told?.reason ?? 'unavailable';
  }

  async #ask(method, path, { headers = {}, ...options } = {}) {
    if (this.#key) headers.Authorization = `Bearer ${this.#key}`;
    const response = await this.#fetch(path, { method, headers, ...options });
    if (response.ok) return response;
    throw await failure(response);
  }

  async #fetch(path, options) {
    try {
      return await fetch(path, { cache: 'no-store', ...options });
    } catch {
      throw new ApiError(0, 'unreachable', 'The gateway does not answer.');
    }
  }
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    throw new ApiError(response.status, null, 'The answer is not the gateway’s.');
  }
}

async function failure(response) {
  const wait = Number(response.headers.get('Retry-After')) || null;
  try {
    const { error } = await response.json();
    return new ApiError(response.status, error.code, error.message, wait);
  } catch {
    return new ApiError(response.status, null, `The answer was HTTP ${response.status}.`, wait);
  }
}
