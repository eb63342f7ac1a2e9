// An OpenID Connect issuer by panva's oidc-provider, with the keys of a CI system and jobs that ask for tokens.
//
//     node issuer.mjs CERTIFICATE KEY
//
// It prints its address when it listens on it, and ends with its stdin. A job asks with the grant client_credentials for the
// resource urn:tok:identity:<algorithm>, and gets a JWT that says what it is; for urn:tok:access:<algorithm> it gets the
// same as an access token (RFC 9068). A person gets an ID token by logging in.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

import Provider from 'oidc-provider';

const PAIRS = {
    RS256: ['rsa', { modulusLength: 2048 }],
    PS256: ['rsa', { modulusLength: 2048 }],
    ES256: ['ec', { namedCurve: 'P-256' }],
    ES384: ['ec', { namedCurve: 'P-384' }],
    EdDSA: ['ed25519', {}],
};
const keys = Object.entries(PAIRS).map(([alg, [kind, options]]) => ({
    ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }),
    kid: `key-${alg}`,
    alg,
    use: 'sig',
}));

const CALLBACK = 'https://localhost/callback';
const configuration = {
    clients: [
        {
            client_id: 'job',
            client_secret: 'the-secret-of-a-job-of-the-tests',
            grant_types: ['client_credentials'],
            redirect_uris: [],
            response_types: [],
        },
        { client_id: 'people', client_secret: 'the-secret-of-people-of-the-tests', redirect_uris: [CALLBACK] },
    ],
    jwks: { keys },
    features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: true },
        resourceIndicators: {
            enabled: true,
            getResourceServerInfo: (_, resource) => ({
                scope: '',
                audience: 'tok',
                accessTokenTTL: 300,
                accessTokenFormat: 'jwt',
                jwt: { sign: { alg: resource.split(':').at(-1) } },
            }),
        },
    },
    formats: {
        customizers: {
            jwt(_, token, jwt) {
                const wanted = [token.resourceServer.identifier()].flat()[0] ?? '';
                if (wanted.startsWith('urn:tok:identity:')) {
                    jwt.header = { typ: 'JWT' };
                }
                Object.assign(jwt.payload, { repository: 'acme/app', repository_id: '42', ref: 'refs/heads/main' });
            },
        },
    },
    cookies: { keys: ['some keys of the tests'] },
};

const [certificate, key] = process.argv.slice(2).map((path) => readFileSync(path));
let answer;
const server = createServer({ cert: certificate, key }, (request, response) => answer(request, response));
server.listen(0, '127.0.0.1', () => {
    const issuer = `https://localhost:${server.address().port}`;
    const provider = new Provider(issuer, configuration);
    provider.on('server_error', (_, error) => console.error(error));
    answer = provider.callback();
    process.stdout.write(`${issuer}\n`);
});
process.stdin.resume().on('end', () => process.exit(0));
