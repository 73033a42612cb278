/** The name that a certificate has with its authority, against the example of RFC 9773 §4.1. */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { AuthorityKeyIdentifierExtension, X509CertificateGenerator } from '@peculiar/x509';
import { expect, test } from 'vitest';
import { issueServerCertificate, makeAuthority } from '../../fleet/certificates.ts';
import { systemRandom } from '../../system/random.ts';
import { renewalIdOf } from './renewal-info.ts';

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

async function certificate(serialNumber: string, keyId: string | undefined): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const made = await X509CertificateGenerator.createSelfSigned({
    serialNumber,
    keys,
    signingAlgorithm: P256,
    extensions: keyId === undefined ? [] : [new AuthorityKeyIdentifierExtension(keyId)],
  });
  return made.toString('pem');
}

test('the example of the RFC, whose serial number has a leading zero octet', async () => {
  const pem = await certificate('0087654321', '69885b6b87464041e1b37b847ba0ae2cde01c8d4');
  expect(renewalIdOf(pem)).toBe('aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE');
});

test('a chain is named by its first certificate, and one without an issuer key not at all', async () => {
  const context = { wallMs: Date.now(), random: systemRandom };
  const authority = await makeAuthority(context);
  const { certificatePem } = await issueServerCertificate(context, authority, ['relay.test']);
  expect(renewalIdOf(certificatePem + authority.certificatePem)).toBe(renewalIdOf(certificatePem));
  expect(renewalIdOf(await certificate('01', undefined))).toBeUndefined();
});
