/**
 * Keys and certificates for a fleet that has no public names yet: a certificate authority of its own for what
 * clients connect to, self-signed identities for what peers pin, and the keys that sign votes.
 *
 * ECDSA P-256 with SHA-256, the profile of RFC 5280. Valid from one hour ago, because clocks differ, and not for long,
 * because these keys live in a temporary directory.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { PinnedIdentity } from '../system/pinned-tls.ts';
import type { Random } from '../system/random.ts';
import {
  bits,
  boolean,
  type Der,
  explicit,
  implicit,
  integerFrom,
  objectId,
  octets,
  sequence,
  setOf,
  utcTime,
  utf8,
} from './der.ts';

/** When and with what chance certificates are made. */
export interface CertificateContext {
  /** Now, milliseconds since 1970. */
  readonly wallMs: number;
  readonly random: Random;
}

/** A local certificate authority. Its key signs, and is never written anywhere. */
export interface Authority {
  readonly certificatePem: string;
  readonly name: string;
  readonly key: KeyObject;
  readonly keyId: Uint8Array;
}

const BACKDATED_MS = 3_600_000;
const VALID_MS = 7 * 86_400_000;

const ECDSA_SHA256 = sequence(objectId('1.2.840.10045.4.3.2'));
const KEY_USAGE_CA = Uint8Array.of(0x06); // keyCertSign, cRLSign
const KEY_USAGE_END = Uint8Array.of(0x80); // digitalSignature

/** Makes an authority that clients of the local fleet are told to trust. */
export function makeAuthority(context: CertificateContext): Authority {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = 'Archipelago local authority';
  const keyId = keyIdOf(publicKey);
  const certificatePem = certify(context, {
    subject: name,
    publicKey,
    issuer: name,
    issuerKey: privateKey,
    extensions: [
      extension('2.5.29.19', true, sequence(boolean(true), integerFrom(Uint8Array.of(0)))),
      extension('2.5.29.15', true, bits(KEY_USAGE_CA, 1)),
      extension('2.5.29.14', false, octets(keyId)),
    ],
  });
  return { certificatePem, name, key: privateKey, keyId };
}

/** A server certificate for DNS `names` (at least one), signed by the authority. */
export function issueServerCertificate(
  context: CertificateContext,
  authority: Authority,
  names: readonly string[],
): PinnedIdentity {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificatePem = certify(context, {
    subject: names[0] ?? '',
    publicKey,
    issuer: authority.name,
    issuerKey: authority.key,
    extensions: [
      ...endEntityExtensions(names),
      extension('2.5.29.35', false, sequence(implicit(0, authority.keyId))),
    ],
  });
  return { certificatePem, keyPem: pemOf(privateKey) };
}

/** A self-signed identity that others know by the pin of its key; `name` is only for people who look at it. */
export function makePinnedIdentity(
  context: CertificateContext,
  name: string,
): PinnedIdentity & { readonly publicKeySpki: Uint8Array } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificatePem = certify(context, {
    subject: name,
    publicKey,
    issuer: name,
    issuerKey: privateKey,
    extensions: endEntityExtensions([name]),
  });
  return {
    certificatePem,
    keyPem: pemOf(privateKey),
    publicKeySpki: publicKey.export({ type: 'spki', format: 'der' }),
  };
}

/** An Ed25519 key that signs votes: PKCS#8 PEM, and the public half as 32 bytes in base64url for the manifest. */
export function makeVoteKey(): { readonly keyPem: string; readonly publicKey: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return { keyPem: pemOf(privateKey), publicKey: publicKey.export({ format: 'jwk' }).x ?? '' };
}

interface CertificateOrder {
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly issuer: string;
  readonly issuerKey: KeyObject;
  readonly extensions: readonly Der[];
}

function certify(context: CertificateContext, order: CertificateOrder): string {
  const serial = context.random.bytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const body = sequence(
    explicit(0, integerFrom(Uint8Array.of(2))),
    integerFrom(serial),
    ECDSA_SHA256,
    distinguishedName(order.issuer),
    sequence(utcTime(context.wallMs - BACKDATED_MS), utcTime(context.wallMs + VALID_MS)),
    distinguishedName(order.subject),
    order.publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...order.extensions)),
  );
  const certificate = sequence(body, ECDSA_SHA256, bits(sign('sha256', body, order.issuerKey)));
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function endEntityExtensions(names: readonly string[]): readonly Der[] {
  return [
    extension('2.5.29.15', true, bits(KEY_USAGE_END, 7)),
    extension('2.5.29.37', false, sequence(objectId('1.3.6.1.5.5.7.3.1'), objectId('1.3.6.1.5.5.7.3.2'))),
    extension('2.5.29.17', false, sequence(...names.map((name) => implicit(2, Buffer.from(name, 'ascii'))))),
  ];
}

function extension(id: string, critical: boolean, value: Der): Der {
  return sequence(objectId(id), ...(critical ? [boolean(true)] : []), octets(value));
}

function distinguishedName(commonName: string): Der {
  return sequence(setOf(sequence(objectId('2.5.4.3'), utf8(commonName))));
}

/** RFC 7093 §2, method 1: the first 160 bits of the SHA-256 of the key. */
function keyIdOf(publicKey: KeyObject): Uint8Array {
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest().subarray(0, 20);
}

function pemOf(privateKey: KeyObject): string {
  return privateKey.export({ type: 'pkcs8', format: 'pem' });
}
