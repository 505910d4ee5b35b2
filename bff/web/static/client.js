/**
 * The browser's side of the service: who is signed in, sign in, sign out, call an API.
 *
 *     import { session, login, logout, fetch } from '/bff/client.js';
 *
 * Rules
 * - No token passes through this module. The session is a cookie that no script can read; the
 *   service swaps it for an access token on the way to the API.
 * - Every request goes to the origin that served this module, and nowhere else, redirects included.
 * - Every request carries `X-CSRF: 1`, a header that no foreign page can send without permission.
 * - A URL fragment never leaves the browser: it waits in sessionStorage while somebody signs in.
 *
 * Load it from the service and leave it out of your bundle: it finds the service by its own address.
 * A page on one of BFF_ALLOWED_ORIGINS may load it too; its requests then go to the service's origin.
 */

const base = new URL('.', import.meta.url);
const sameOrigin = base.origin === location.origin;
const mode = sameOrigin ? 'same-origin' : 'cors';
const credentials = sameOrigin ? 'same-origin' : 'include';

const SILENT_LOGIN = 'bff:silent-login';
const SILENT_PATIENCE = 15_000; // milliseconds
const FRAGMENT = 'bff:fragment';
const LOGIN_LIFETIME = 600_000; // milliseconds; the service forgets a login after as long

const listeners = new Set();

/** An answer of the service or of an API that was not a success. `code` is stable; text is not. */
export class BffError extends Error {
  /**
   * @param {number} status the HTTP status
   * @param {Record<string, unknown>} [problem] the problem details (RFC 9457), if there were any
   */
  constructor(status, problem = {}) {
    super(String(problem.detail ?? problem.title ?? `The service answered ${status}`));
    this.name = 'BffError';
    this.status = status;
    this.code = text(problem.code) ?? 'unknown';
    this.requestId = text(problem.request_id);
    this.loginUrl = text(problem.login_url);
    this.problem = problem;
  }

  /**
   * The error that a response tells of. The response's own body stays unread.
   *
   * @param {Response} response
   */
  static async from(response) {
    let problem;
    if (/^application\/(problem\+)?json\b/i.test(response.headers.get('Content-Type') ?? '')) {
      try {
        problem = await response.clone().json();
      } catch {
        // Not JSON after all, or read already: the status alone must do.
      }
    }
    return new BffError(response.status, isObject(problem) ? problem : {});
  }
}

/**
 * Who is signed in. Rejects with BffError when the service cannot tell (503: its store is away);
 * that is no sign-out, so keep what you show and ask again.
 *
 * @param {{slide?: boolean, signal?: AbortSignal}} [options] `slide: false` asks without counting
 *   as activity: use it for polling.
 */
export async function session({ slide = true, signal } = {}) {
  const response = await send(slide ? 'session' : 'session?slide=false', { signal });
  if (!response.ok) throw await BffError.from(response);
  return response.json();
}

/**
 * Leaves the page to sign in, and comes back to `returnTo`: a path or URL on this page's origin,
 * by default where the page is now, fragment included. From another origin than the service's, it
 * comes back to that path on the service's origin, without the fragment.
 *
 * @param {{returnTo?: string | URL, loginUrl?: string, prompt?: string, loginHint?: string,
 *   acrValues?: string, maxAge?: number, uiLocales?: string, claims?: object}} [options] `loginUrl`
 *   is that of a BffError: it asks for the sign-in that was missing. The rest is passed to the
 *   provider (OpenID Connect Core 3.1.2.1 and 5.5)
 * @throws {TypeError} when `returnTo` or `loginUrl` is on another origin
 */
export function login({ returnTo, loginUrl = 'login', ...options } = {}) {
  const target = new URL(returnTo ?? location.href, location.href);
  if (target.origin !== location.origin) throw new TypeError(`returnTo is not on ${location.origin}`);
  const url = loginAt(loginUrl, { ...options, returnTo: target.pathname + target.search });
  keepFragment(target);
  location.assign(url);
}

/**
 * Tries to sign in without the user, who is signed in at the provider already: in a hidden frame,
 * or with `popup` in a small window (call it from a click then, or browsers block it). Resolves to
 * whether there is a session now, and if not, why: `login_required` and its like when the provider
 * needs the user (call `login` then), a code of the service's, `timeout`, or `blocked` for a popup
 * that did not open. A session that is there stays when it fails.
 *
 * A page's own Content-Security-Policy must let frames lead to the provider (`frame-src`); and a
 * browser that keeps the provider's cookies from frames answers `login_required` to whoever asks.
 *
 * @param {{popup?: boolean, timeout?: number, loginHint?: string, acrValues?: string,
 *   maxAge?: number, uiLocales?: string, claims?: object}} [options] `timeout` in milliseconds
 * @returns {Promise<{authenticated: boolean, error?: string}>}
 * @throws {TypeError} on a page of another origin than the service's: it would not be told
 */
export async function silentLogin({ popup = false, timeout = SILENT_PATIENCE, ...options } = {}) {
  if (!sameOrigin) throw new TypeError(`Only on ${base.origin}`);
  const url = loginAt('login', { ...options, silent: true });
  const { opened, close } = popup ? openWindow(url) : openFrame(url);
  if (!opened) return { authenticated: false, error: 'blocked' };
  let hear;
  let timer;
  try {
    return await new Promise((resolve) => {
      hear = ({ source, origin, data }) => {
        if (source !== opened || origin !== base.origin || data?.type !== SILENT_LOGIN) return;
        const authenticated = data.authenticated === true;
        resolve(authenticated ? { authenticated } : { authenticated, error: text(data.error) });
      };
      window.addEventListener('message', hear);
      timer = setTimeout(resolve, timeout, { authenticated: false, error: 'timeout' });
    });
  } finally {
    window.removeEventListener('message', hear);
    clearTimeout(timer);
    close();
  }
}

/**
 * Ends the session here, then leaves the page to sign out at the provider as well. Resolves when
 * the browser is on its way. Rejects with BffError when the session could not be ended (503):
 * the user is still signed in then, so say so.
 */
export async function logout() {
  const response = await send('logout', { method: 'POST' });
  if (!response.ok) throw await BffError.from(response);
  location.assign(ours((await response.json()).logout_url, base));
}

/**
 * `window.fetch` for APIs behind the service: same arguments, same answer, whatever its status.
 * Rejects with TypeError, before anything is sent, when the URL is on another origin.
 *
 * @param {string | URL | Request} input
 * @param {RequestInit} [init] `mode` and `credentials` are set for you
 * @returns {Promise<Response>}
 */
export async function fetch(input, init) {
  const given = input instanceof Request;
  const url = ours(given ? input.url : input, sameOrigin ? document.baseURI : base.origin);
  const request = new Request(given ? input : url, { ...init, mode, credentials });
  request.headers.set('X-CSRF', '1');
  const response = await window.fetch(request);
  if (response.status === 401 && listeners.size > 0) await tell(response);
  return response;
}

/**
 * Calls `listener` with a BffError whenever an answer to `fetch` says that nobody is signed in
 * (401 with code `unauthenticated`). The answer itself still comes back from `fetch`.
 *
 * @param {(error: BffError) => void} listener
 * @returns {() => void} stops it
 */
export function onUnauthenticated(listener) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

function send(path, init) {
  const headers = { Accept: 'application/json' };
  return fetch(new URL(path, base), { ...init, cache: 'no-store', headers });
}

async function tell(response) {
  const error = await BffError.from(response);
  if (error.code !== 'unauthenticated') return;
  for (const listener of listeners) {
    try {
      listener(error);
    } catch (fault) {
      reportError(fault);
    }
  }
}

function loginAt(address, options) {
  const url = ours(address, base);
  const { returnTo, prompt, loginHint, acrValues, maxAge, uiLocales, claims, silent } = options;
  const query = {
    return_to: returnTo,
    prompt,
    login_hint: loginHint,
    acr_values: acrValues,
    max_age: maxAge,
    ui_locales: uiLocales,
    claims: claims && JSON.stringify(claims),
    silent,
  };
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  return url;
}

function openFrame(url) {
  const frame = document.createElement('iframe');
  frame.hidden = true;
  frame.title = 'Signing in';
  frame.src = url;
  document.body.append(frame);
  return { opened: frame.contentWindow, close: () => frame.remove() };
}

function openWindow(url) {
  const opened = window.open(url, '', 'popup,width=480,height=640');
  return { opened, close: () => opened?.close() };
}

function ours(input, relativeTo) {
  const url = new URL(input, relativeTo);
  if (url.origin !== base.origin) throw new TypeError(`Not on ${base.origin}: ${url.origin}`);
  return url;
}

function keepFragment({ pathname, search, hash }) {
  const kept = { at: pathname + search, hash, until: Date.now() + LOGIN_LIFETIME };
  try {
    if (hash) sessionStorage.setItem(FRAGMENT, JSON.stringify(kept));
    else sessionStorage.removeItem(FRAGMENT);
  } catch {
    // Storage is blocked or full: a lost fragment must not stop anybody from signing in.
  }
}

function restoreFragment() {
  try {
    const { at, hash, until } = JSON.parse(sessionStorage.getItem(FRAGMENT)) ?? {};
    const here = new URL(location.href);
    if (until > Date.now() && at !== here.pathname + here.search) return;
    sessionStorage.removeItem(FRAGMENT);
    if (!(until > Date.now()) || here.hash) return;
    here.hash = hash;
    location.replace(here); // as a navigation, so that routers hear it and the page scrolls there
  } catch {
    // As above.
  }
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value) => (typeof value === 'string' ? value : undefined);

restoreFragment();
