/**
 * Keys and certificates for a fleet that has no public names yet: a certificate authority of its own for what
 * clients connect to, self-signed identities for what peers pin, and the keys that sign votes.
 *
 * ECDSA P-256 with SHA-256, the profile of RFC 5280. Valid from one hour ago, because clocks differ. What the local
 * authority signs is not valid for long, because its keys live in a temporary directory; what is pinned has no end
 * (RFC 5280 §4.1.2.5), because the manifest says how long a key counts. @peculiar/x509 writes the certificates; it
 * injects its own parts by decorators, which is why reflect-metadata comes before it. Relays and vantages read
 * certificates and make none.
 */
import 'reflect-metadata';
import { createPrivateKey, createPublicKey, generateKeyPairSync, KeyObject, webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  type X509CertificateCreateParamsBase,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { JWK } from 'jose';
import type { PinnedIdentity } from '../system/pinned-tls.ts';
import type { Random } from '../system/random.ts';

/** When and with what chance certificates are made. */
export interface CertificateContext {
  /** Now, milliseconds since 1970. */
  readonly wallMs: number;
  readonly random: Random;
}

/** A local certificate authority. Its key signs, and cannot be exported. */
export interface Authority {
  readonly certificatePem: string;
  readonly certificate: X509Certificate;
  readonly key: webcrypto.CryptoKey;
}

const BACKDATED_MS = 3_600_000;
const VALID_MS = 7 * 86_400_000;
const NO_END = new Date('9999-12-31T23:59:59Z');

const P256 = { name: 'ECDSA', namedCurve: 'P-256' };

/** Makes an authority that clients of the local fleet are told to trust. */
export async function makeAuthority(context: CertificateContext): Promise<Authority> {
  const keys = await webcrypto.subtle.generateKey(P256, false, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...termsOf(context),
    name: commonName('Archipelago local authority'),
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificatePem: pemOf(certificate), certificate, key: keys.privateKey };
}

/** A server certificate for DNS `names` (at least one), signed by the authority. */
export async function issueServerCertificate(
  context: CertificateContext,
  authority: Authority,
  names: readonly string[],
): Promise<PinnedIdentity> {
  const keys = await makeKeys();
  const certificate = await X509CertificateGenerator.create({
    ...termsOf(context),
    subject: commonName(names[0] ?? ''),
    issuer: authority.certificate.subjectName,
    publicKey: keys.publicKey,
    signingKey: authority.key,
    extensions: [
      ...endEntityExtensions(names),
      await AuthorityKeyIdentifierExtension.create(authority.certificate.publicKey),
    ],
  });
  return { certificatePem: pemOf(certificate), keyPem: keyPemOf(KeyObject.from(keys.privateKey)) };
}

/** A self-signed identity that others know by the pin of its key; `name` is only for people who look at it. */
export async function makePinnedIdentity(
  context: CertificateContext,
  name: string,
): Promise<PinnedIdentity & { readonly publicKeySpki: Uint8Array }> {
  const keys = await makeKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...termsOf(context),
    notAfter: NO_END,
    name: commonName(name),
    keys,
    extensions: endEntityExtensions([name]),
  });
  return {
    certificatePem: pemOf(certificate),
    keyPem: keyPemOf(KeyObject.from(keys.privateKey)),
    publicKeySpki: KeyObject.from(keys.publicKey).export({ type: 'spki', format: 'der' }),
  };
}

/**
 * The identity of somebody who is known by an Ed25519 key, a JWK with `d`: what operators show to a vantage. Made anew
 * for each use, since only the key counts.
 */
export async function identityOfKey(context: CertificateContext, key: JWK): Promise<PinnedIdentity> {
  const privateKey = createPrivateKey({ key: { ...key }, format: 'jwk' });
  const keys = {
    privateKey: await importEd25519(privateKey, 'sign'),
    publicKey: await importEd25519(createPublicKey(privateKey), 'verify'),
  };
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...termsOf(context),
    signingAlgorithm: { name: 'Ed25519' },
    name: commonName('operators'),
    keys,
    extensions: endEntityExtensions(['operators']),
  });
  return { certificatePem: pemOf(certificate), keyPem: keyPemOf(privateKey) };
}

/** An Ed25519 key that signs votes: PKCS#8 PEM, and the public half as 32 bytes in base64url for the manifest. */
export function makeVoteKey(): { readonly keyPem: string; readonly publicKey: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return { keyPem: keyPemOf(privateKey), publicKey: publicKey.export({ format: 'jwk' }).x ?? '' };
}

/** The key of an account with a certificate authority, EC on P-256: PKCS#8 PEM. */
export function makeAccountKey(): string {
  return keyPemOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
}

async function importEd25519(key: KeyObject, usage: 'sign' | 'verify'): Promise<webcrypto.CryptoKey> {
  return await webcrypto.subtle.importKey('jwk', key.export({ format: 'jwk' }), 'Ed25519', true, [usage]);
}

async function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
}

/** What every certificate has: a number of its own, a time, and an algorithm. */
function termsOf(context: CertificateContext): X509CertificateCreateParamsBase {
  const serial = context.random.bytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return {
    serialNumber: Buffer.from(serial).toString('hex'),
    notBefore: new Date(context.wallMs - BACKDATED_MS),
    notAfter: new Date(context.wallMs + VALID_MS),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
  };
}

function endEntityExtensions(names: readonly string[]): Extension[] {
  return [
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
    new SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value }))),
  ];
}

/** Spelled out, because the library reads a bare string as RFC 4514 syntax, with escapes. */
function commonName(name: string): Name {
  return new Name([{ CN: [{ utf8String: name }] }]);
}

function pemOf(certificate: X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}

function keyPemOf(privateKey: KeyObject): string {
  return privateKey.export({ type: 'pkcs8', format: 'pem' });
}
