/**
 * The other side of tests/interop: node `oidc-provider`, certified and not written here.
 *
 * Purpose: an issuer on loopback with one confidential client, its own login and consent pages
 * (any login, any password), JWT access tokens for one API, rotating refresh tokens, revocation,
 * RP-initiated logout and back-channel logout that it sends itself.
 *
 * Options: JSON in the environment variable PROVIDER_OPTIONS.
 *   port            loopback port; 0 or absent: a free one
 *   client          client metadata (OpenID Connect Dynamic Client Registration 1.0, section 2)
 *   api             audience of the access tokens (RFC 8707); null: opaque tokens for userinfo
 *   apiScope        scopes the API knows, space separated
 *   accessTokenTtl  seconds
 *   accounts        login name to claims, beside those made up for every other login
 *
 * Output: JSON lines on standard output, first `{"ready": true, "issuer": ...}`, then events;
 * the library's own remarks come between them as plain text.
 * It ends on SIGTERM, and when its standard input is closed, so that it never outlives the tests.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost']);

const options = {
  port: 0,
  client: {},
  api: null,
  apiScope: 'orders:read',
  accessTokenTtl: 300,
  accounts: {},
  ...JSON.parse(process.env.PROVIDER_OPTIONS ?? '{}'),
};

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const claimsOf = (login) => ({
  name: login.charAt(0).toUpperCase() + login.slice(1),
  email: `${login}@example.test`,
  email_verified: true,
  roles: [],
  ...options.accounts[login],
  sub: login,
});

// The library attaches a dispatcher that breaks every connection to a special-use address, and so
// to loopback. This one calls nothing but loopback, without that dispatcher.
function fetchOnLoopback(url, { dispatcher, ...request }) {
  const { hostname } = new URL(url);
  if (!LOOPBACK.has(hostname)) {
    throw new Error(`this provider calls loopback only, not ${hostname}`);
  }
  return fetch(url, request);
}

const configuration = {
  clients: [options.client],
  cookies: { keys: [randomBytes(32).toString('base64url')] },
  jwks: {
    keys: [
      {
        ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
        use: 'sig',
        alg: 'RS256',
      },
    ],
  },
  fetch: fetchOnLoopback,
  findAccount: (ctx, login) => ({ accountId: login, claims: () => claimsOf(login) }),
  extraTokenClaims: (ctx, token) =>
    token.accountId && token.aud ? { roles: claimsOf(token.accountId).roles } : undefined,
  claims: { openid: ['sub'], profile: ['name', 'roles'], email: ['email', 'email_verified'] },
  // A token for the API is refused at userinfo, so the claims must then be in the ID token.
  conformIdTokenClaims: options.api === null,
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: {
    AccessToken: options.accessTokenTtl,
    ClientCredentials: options.accessTokenTtl,
    AuthorizationCode: 60,
    Grant: 3600,
    IdToken: 3600,
    Interaction: 3600,
    RefreshToken: 3600,
    Session: 3600,
  },
  features: {
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    userinfo: { enabled: true },
    resourceIndicators: {
      enabled: options.api !== null,
      defaultResource: () => options.api,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        audience: options.api,
        scope: options.apiScope,
        accessTokenFormat: 'jwt',
        accessTokenTTL: options.accessTokenTtl,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
};

const server = createServer();
server.listen(options.port, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration);
  provider.on('backchannel.success', (ctx, client, sub, sid) => {
    say({ event: 'backchannel.success', sub, sid });
  });
  provider.on('backchannel.error', (ctx, error, client, sub, sid) => {
    say({ event: 'backchannel.error', sub, sid, error: String(error.cause ?? error) });
  });
  provider.on('grant.success', (ctx) => {
    say({ event: 'grant.success', grant_type: ctx.oidc.params.grant_type });
  });
  provider.on('grant.error', (ctx, error) => {
    say({ event: 'grant.error', error: error.error, detail: error.error_detail });
  });
  provider.on('grant.revoked', () => say({ event: 'grant.revoked' }));
  provider.on('server_error', (ctx, error) => console.error(error));
  server.on('request', provider.callback());
  say({ ready: true, issuer });
});

function end() {
  server.close(() => process.exit(0));
  server.closeAllConnections();
}
process.on('SIGTERM', end);
process.stdin.on('end', end).resume();
