/**
 * Types of `/bff/client.js`, the browser client.
 *
 * To use them, keep a copy in your project and name it in `tsconfig.json`:
 *
 *     "paths": { "/bff/client.js": ["./types/bff-client.d.ts"] }
 */

/** What the provider says about the user: `sub` always, the rest as scopes and provider allow. */
export interface User {
  readonly sub: string;
  readonly name?: string;
  readonly given_name?: string;
  readonly family_name?: string;
  readonly preferred_username?: string;
  readonly email?: string;
  readonly email_verified?: boolean;
  readonly picture?: string;
  readonly locale?: string;
  readonly [claim: string]: unknown;
}

export interface SessionInfo {
  readonly id: string;
  /** RFC 3339, in UTC. */
  readonly created_at: string;
  /** Whole seconds until the session ends, whatever is done. */
  readonly expires_in: number;
  /** Whole seconds until the session ends unless it is used. */
  readonly idle_expires_in: number;
}

export interface SignedIn {
  readonly authenticated: true;
  readonly user: User;
  readonly session: SessionInfo;
  readonly logout_url: string;
}

export interface SignedOut {
  readonly authenticated: false;
  readonly login_url: string;
}

export type Session = SignedIn | SignedOut;

/** The codes of the service's own problems. An API behind it may answer with others. */
export type ErrorCode =
  | 'unauthenticated'
  | 'csrf'
  | 'forbidden'
  | 'step_up_required'
  | 'bad_path'
  | 'login_failed'
  | 'login_expired'
  | 'rate_limited'
  | 'upstream_unavailable'
  | 'upstream_timeout'
  | 'provider_unavailable'
  | 'store_unavailable'
  | 'not_found'
  | 'method_not_allowed'
  | 'bad_request'
  | 'too_large'
  | 'loop_detected'
  | 'internal'
  | 'unknown';

/** An answer of the service or of an API that was not a success. `code` is stable; text is not. */
export class BffError extends Error {
  constructor(status: number, problem?: Readonly<Record<string, unknown>>);
  /** The error that a response tells of. The response's own body stays unread. */
  static from(response: Response): Promise<BffError>;
  readonly name: 'BffError';
  /** The HTTP status. */
  readonly status: number;
  /** `unknown` where the answer named none. */
  readonly code: ErrorCode | (string & {});
  /** Names the log lines of this request. */
  readonly requestId: string | undefined;
  /** Where to sign in; comes with 401. */
  readonly loginUrl: string | undefined;
  /** The problem details as they came (RFC 9457). */
  readonly problem: Readonly<Record<string, unknown>>;
}

export interface SessionOptions {
  /** `false` asks without counting as activity: use it for polling. Default: `true`. */
  slide?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Who is signed in. Rejects with `BffError` when the service cannot tell (503: its store is away);
 * that is no sign-out, so keep what you show and ask again.
 */
export function session(options?: SessionOptions): Promise<Session>;

/** What is passed to the provider: parameters of OpenID Connect Core 3.1.2.1 and 5.5. */
export interface SignInOptions {
  loginHint?: string | undefined;
  /** Space separated. */
  acrValues?: string | undefined;
  /** Seconds since the user last gave a password or the like. */
  maxAge?: number | undefined;
  /** Space separated BCP 47 tags. */
  uiLocales?: string | undefined;
  /** Claims asked for by name; what is essential in `id_token` must come back. */
  claims?: { readonly id_token?: object; readonly userinfo?: object } | undefined;
}

export interface LoginOptions extends SignInOptions {
  /** A path or URL on this page's origin. Default: where the page is now, fragment included. */
  returnTo?: string | URL | undefined;
  /** That of a `BffError`: it asks for the sign-in that was missing. */
  loginUrl?: string | undefined;
  prompt?: 'none' | 'login' | 'consent' | 'select_account' | 'create' | (string & {}) | undefined;
}

/**
 * Leaves the page to sign in. Throws `TypeError` when `returnTo` or `loginUrl` is on another
 * origin.
 */
export function login(options?: LoginOptions): void;

export interface SilentLoginOptions extends SignInOptions {
  /** In a small window instead of a hidden frame: call it from a click. Default: `false`. */
  popup?: boolean | undefined;
  /** Milliseconds to wait. Default: 15,000. */
  timeout?: number | undefined;
}

export interface SilentLogin {
  /** Whether there is a session now. */
  readonly authenticated: boolean;
  /**
   * Why there is none: the provider needs the user (`login` then), a code of the service's, or no
   * answer came.
   */
  readonly error?:
    | 'login_required'
    | 'interaction_required'
    | 'consent_required'
    | 'account_selection_required'
    | 'timeout'
    | 'blocked'
    | ErrorCode
    | (string & {})
    | undefined;
}

/**
 * Tries to sign in without the user, who is signed in at the provider already. Rejects with
 * `TypeError` on a page of another origin than the service's.
 */
export function silentLogin(options?: SilentLoginOptions): Promise<SilentLogin>;

/**
 * Ends the session here, then leaves the page to sign out at the provider as well. Resolves when
 * the browser is on its way. Rejects with `BffError` when the session could not be ended (503):
 * the user is still signed in then, so say so.
 */
export function logout(): Promise<void>;

/**
 * `window.fetch` for APIs behind the service: same arguments, same answer, whatever its status.
 * Sets `mode`, `credentials` and `X-CSRF`. Rejects with `TypeError`, before anything is sent,
 * when the URL is on another origin than the service.
 */
export function fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;

/**
 * Calls `listener` whenever an answer to `fetch` says that nobody is signed in (401 with code
 * `unauthenticated`). The answer itself still comes back from `fetch`. Returns what stops it.
 */
export function onUnauthenticated(listener: (error: BffError) => void): () => void;
