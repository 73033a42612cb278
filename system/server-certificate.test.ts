/** Certificates: what takes the place of one that works, what is kept, and when people are told. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { issueServerCertificate, makeAuthority } from '../fleet/certificates.ts';
import { systemRandom } from './random.ts';
import {
  type CertificatePair,
  isEnding,
  keepCertificate,
  parseCertificatePair,
  readKeptCertificate,
  readServerCertificate,
} from './server-certificate.ts';

const NAMES = ['relay.test', 'aws.relay.test'];
const context = { wallMs: 1_800_000_000_000, random: systemRandom };
const authority = await makeAuthority(context);
const [one, other] = [await issue(NAMES), await issue(NAMES)];
const directory = mkdtempSync(join(tmpdir(), 'certificate-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function issue(names: readonly string[]): Promise<CertificatePair> {
  const { certificatePem, keyPem } = await issueServerCertificate(context, authority, names);
  return { chainPem: certificatePem, keyPem };
}

test('a certificate is read with its times, whatever follows it in the chain', () => {
  const chainPem = one.chainPem + authority.certificatePem;
  expect(readServerCertificate({ ...one, chainPem }, NAMES)).toEqual({
    ok: true,
    value: {
      chainPem,
      keyPem: one.keyPem,
      notBeforeMs: context.wallMs - 3_600_000,
      notAfterMs: context.wallMs + 7 * 86_400_000,
    },
  });
});

test.each<[string, CertificatePair, readonly string[]]>([
  ['the certificate is not a chain in PEM', { ...one, chainPem: 'x' }, NAMES],
  ['the key is not a private key in PEM', { ...one, keyPem: one.chainPem }, NAMES],
  ['the key does not belong to the certificate', { ...one, keyPem: other.keyPem }, NAMES],
  ['the certificate is not valid for gcp.relay.test', one, [...NAMES, 'gcp.relay.test']],
])('%s', (fault, pair, names) => {
  expect(readServerCertificate(pair, names)).toEqual({ ok: false, fault });
});

test('what is kept is there again, for its owner only, and damage is nothing', async () => {
  const path = join(directory, 'certificate.json');
  expect(await readKeptCertificate(path)).toBeUndefined();
  await keepCertificate(path, one);
  await keepCertificate(path, other);
  expect(await readKeptCertificate(path)).toEqual(other);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  writeFileSync(path, readFileSync(path, 'utf8').slice(0, -5));
  expect(await readKeptCertificate(path)).toBeUndefined();
});

test('no text makes the parser throw, and only two texts make a pair', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseCertificatePair(text)));
  expect(parseCertificatePair('{"chainPem":"a","keyPem":1}')).toBeUndefined();
  expect(parseCertificatePair('{"chainPem":"a","keyPem":"b"}')).toEqual({ chainPem: 'a', keyPem: 'b' });
});

test('people are told in the last quarter of its life and after it, never before', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10 ** 12 }),
      fc.integer({ min: 1, max: 10 ** 12 }),
      (quarter, later) => {
        const validity = { notBeforeMs: 5000, notAfterMs: 5000 + 4 * quarter };
        expect(isEnding(validity, 5000 + 3 * quarter)).toBe(false);
        expect(isEnding(validity, 5000 + 3 * quarter - later)).toBe(false);
        expect(isEnding(validity, 5000 + 3 * quarter + later)).toBe(true);
      },
    ),
  );
});
