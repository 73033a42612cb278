/**
 * A new key and the request to certify it (PKCS #10, RFC 2986): P-256, the names as subject alternative names and
 * nothing else, since whatever else a request says authorities leave out. Each certificate has a key of its own.
 * @peculiar/x509 writes the request; it injects its own parts by decorators, which is why reflect-metadata comes first.
 */
import 'reflect-metadata';
import { KeyObject, webcrypto } from 'node:crypto';
import { Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from '@peculiar/x509';

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface SigningRequest {
  /** PKCS #8. */
  readonly keyPem: string;
  /** DER as base64url, as RFC 8555 §7.4 wants it. */
  readonly request: string;
}

/** A request for these DNS names, and the key that it is about. */
export async function makeSigningRequest(names: readonly string[]): Promise<SigningRequest> {
  const keys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const request = await Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: P256,
    extensions: [new SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value })))],
  });
  return {
    keyPem: KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }),
    request: Buffer.from(request.rawData).toString('base64url'),
  };
}
