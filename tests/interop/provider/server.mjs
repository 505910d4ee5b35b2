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
 *   resources       further resources of which tokens may be asked; each is its own audience
 *   apiScope        scopes the API knows, space separated
 *   accessTokenTtl  seconds
 *   accounts        login name to claims, beside those made up for every other login
 *   clients         metadata of further clients
 *   features        features of the library to switch on or change, beside those below
 *   keys            algorithms of further signing keys, each an RSA key of its own
 *   dpopNonces      true: every DPoP proof needs a nonce (RFC 9449, section 8)
 *   mtls            {key, cert, ca} as PEM: the same provider also at an https port that asks for a
 *                   certificate, named by `mtls_endpoint_aliases` (RFC 8705)
 *
 * Output: JSON lines on standard output, first `{"ready": true, "issuer": ...}`, then events;
 * the library's own remarks come between them as plain text.
 * It ends on SIGTERM, and when its standard input is closed, so that it never outlives the tests.
 */
import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

import Provider, { errors } from 'oidc-provider';

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost']);

const options = {
  port: 0,
  client: {},
  api: null,
  resources: [],
  apiScope: 'orders:read',
  accessTokenTtl: 300,
  accounts: {},
  clients: [],
  features: {},
  keys: [],
  dpopNonces: false,
  mtls: null,
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

const certificateOf = (ctx) => {
  const { raw } = ctx.socket.getPeerCertificate?.() ?? {};
  return raw && new X509Certificate(raw);
};

const byCertificate = {
  enabled: options.mtls !== null,
  certificateBoundAccessTokens: true,
  selfSignedTlsClientAuth: true,
  tlsClientAuth: true,
  getCertificate: (ctx) => certificateOf(ctx)?.toString(),
  certificateAuthorized: (ctx) => ctx.socket.authorized === true,
  certificateSubjectMatches: (ctx, property, expected) =>
    property === 'tls_client_auth_subject_dn' && certificateOf(ctx).subject === expected,
};

const configuration = {
  clients: [options.client, ...options.clients],
  cookies: { keys: [randomBytes(32).toString('base64url')] },
  jwks: {
    keys: ['RS256', ...options.keys].map((alg) => ({
      ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
      use: 'sig',
      alg,
    })),
  },
  clientAuthMethods: [
    'client_secret_basic',
    'client_secret_post',
    'client_secret_jwt',
    'private_key_jwt',
    'none',
    ...(options.mtls ? ['tls_client_auth', 'self_signed_tls_client_auth'] : []),
  ],
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
      getResourceServerInfo: (ctx, resource) => {
        if (![options.api, ...options.resources].includes(resource)) {
          throw new errors.InvalidTarget();
        }
        return {
          audience: resource,
          scope: options.apiScope,
          accessTokenFormat: 'jwt',
          accessTokenTTL: options.accessTokenTtl,
          jwt: { sign: { alg: 'RS256' } },
        };
      },
    },
    mTLS: byCertificate,
    dPoP: {
      enabled: true,
      nonceSecret: randomBytes(32),
      requireNonce: () => options.dpopNonces,
    },
    ...options.features,
  },
};

const server = createServer();
const tlsServer =
  options.mtls && createTlsServer({ ...options.mtls, requestCert: true, rejectUnauthorized: false });
const listening = (one, port) => new Promise((done) => one.listen(port, '127.0.0.1', done));

Promise.all([listening(server, options.port), tlsServer && listening(tlsServer, 0)]).then(() => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  if (tlsServer) {
    const paths = {
      token_endpoint: 'token',
      revocation_endpoint: 'token/revocation',
      userinfo_endpoint: 'me',
      pushed_authorization_request_endpoint: 'request',
    };
    const origin = `https://127.0.0.1:${tlsServer.address().port}`;
    const aliases = Object.entries(paths).map(([name, path]) => [name, `${origin}/${path}`]);
    configuration.discovery = { mtls_endpoint_aliases: Object.fromEntries(aliases) };
  }
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
  tlsServer?.on('request', provider.callback());
  say({ ready: true, issuer });
});

function end() {
  server.close(() => process.exit(0));
  server.closeAllConnections();
  tlsServer?.close();
  tlsServer?.closeAllConnections();
}
process.on('SIGTERM', end);
process.stdin.on('end', end).resume();
