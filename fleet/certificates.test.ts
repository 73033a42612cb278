/** Certificates are believed by what will really read them: a TLS handshake, and openssl where it is installed. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { connectPinned, pinnedServerOptions, pinOf } from '../system/pinned-tls.ts';
import { systemRandom } from '../system/random.ts';
import { issueServerCertificate, makeAuthority, makePinnedIdentity, makeVoteKey } from './certificates.ts';

const context = { wallMs: Date.now(), random: systemRandom };
const names = ['relay.test', 'aws.relay.test'];

async function handshake(servername: string, ca: string): Promise<string> {
  const authority = await makeAuthority(context);
  const { certificatePem, keyPem } = await issueServerCertificate(context, authority, names);
  const server = createServer({ cert: certificatePem, key: keyPem });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket: TLSSocket = connect({
    host: '127.0.0.1',
    port,
    servername,
    ca: ca === '' ? authority.certificatePem : ca,
  });
  try {
    await once(socket, 'secureConnect');
    return 'trusted';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'failed';
  } finally {
    socket.destroy();
    server.close();
  }
}

describe('a certificate of the local authority', () => {
  test('is believed for each of its names', async () => {
    for (const name of names) expect(await handshake(name, '')).toBe('trusted');
  });

  test('is not believed for another name', async () => {
    expect(await handshake('gcp.relay.test', '')).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
  });

  test('is not believed by who trusts another authority', async () => {
    expect(await handshake('relay.test', (await makeAuthority(context)).certificatePem)).not.toBe('trusted');
  });

  const hasOpenssl = spawnSync('openssl', ['version']).status === 0 || process.env['CI_NO_SKIP'] === '1';
  test.skipIf(!hasOpenssl)(
    'passes the strict checks of openssl (skipped where openssl is missing)',
    async () => {
      const directory = mkdtempSync(join(tmpdir(), 'archipelago-certificates-'));
      try {
        const authority = await makeAuthority(context);
        writeFileSync(join(directory, 'ca.pem'), authority.certificatePem);
        writeFileSync(
          join(directory, 'server.pem'),
          (await issueServerCertificate(context, authority, names)).certificatePem,
        );
        const seen = execFileSync(
          'openssl',
          ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', 'ca.pem', 'server.pem'],
          { cwd: directory, encoding: 'utf8' },
        );
        expect(seen).toBe('server.pem: OK\n');
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
  );
});

test('a pinned identity is believed by its key alone', async () => {
  const server = await makePinnedIdentity(context, 'aws-relay');
  const client = await makePinnedIdentity(context, 'gcp-relay');
  const listener = createServer(pinnedServerOptions(server), (socket) => socket.end());
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const destination = { host: '127.0.0.1', port, serverName: 'peer.aws.relay.test' };
  const socket = await connectPinned({ ...destination, pins: [pinOf(server.publicKeySpki)] }, client, 5000);
  socket.destroy();
  await expect(
    connectPinned({ ...destination, pins: [pinOf(client.publicKeySpki)] }, client, 5000),
  ).rejects.toThrow('does not list');
  listener.close();
});

test('the two halves of a vote key belong together', () => {
  const { keyPem, publicKey } = makeVoteKey();
  expect(createPublicKey(createPrivateKey(keyPem)).export({ format: 'jwk' }).x).toBe(publicKey);
});
