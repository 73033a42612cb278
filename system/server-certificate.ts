/**
 * The certificate that clients are shown, and its key: read, held against each other and against the names that
 * clients use, before it takes the place of one that works. And how a machine keeps one on its disk.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fail, ok, type Result } from './result.ts';
import { writeWhole } from './whole-file.ts';

/** A chain, the server's own certificate first, and the private key of that one; PEM. */
export interface CertificatePair {
  readonly chainPem: string;
  readonly keyPem: string;
}

/** Milliseconds since 1970. */
export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface ServerCertificate extends CertificatePair, Validity {}

const BYTES_MAX = 131_072;
/**
 * The last part of a certificate's life in which people are told. Whoever renews does so at two thirds of it, so this
 * is late enough to be no false alarm, and early enough to mend things: 22 days of 90, 40 hours of 160.
 */
const ENDING_SHARE = 0.25;

/** Fails with a sentence that says what is wrong; whether it is valid now is not asked. */
export function readServerCertificate(
  { chainPem, keyPem }: CertificatePair,
  names: readonly string[],
): Result<ServerCertificate, string> {
  const certificate = certificateOf(chainPem);
  if (certificate === undefined) return fail('the certificate is not a chain in PEM');
  const key = privateKeyOf(keyPem);
  if (key === undefined) return fail('the key is not a private key in PEM');
  if (!certificate.checkPrivateKey(key)) return fail('the key does not belong to the certificate');
  const missing = names.filter((name) => certificate.checkHost(name) === undefined);
  if (missing.length > 0) return fail(`the certificate is not valid for ${missing.join(' and ')}`);
  const notBeforeMs = certificate.validFromDate.getTime();
  const notAfterMs = certificate.validToDate.getTime();
  return ok({ chainPem, keyPem, notBeforeMs, notAfterMs });
}

/** True in the last quarter of its life, and after it. */
export function isEnding({ notBeforeMs, notAfterMs }: Validity, nowMs: number): boolean {
  return notAfterMs - nowMs < (notAfterMs - notBeforeMs) * ENDING_SHARE;
}

/** What was kept at `path`; undefined when there is nothing, or nothing that makes sense. */
export async function readKeptCertificate(path: string): Promise<CertificatePair | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return parseCertificatePair(text);
}

/** Keeps it at `path`, in one file, so that a chain and a key of different certificates never meet. */
export async function keepCertificate(path: string, { chainPem, keyPem }: CertificatePair): Promise<void> {
  await writeWhole(path, JSON.stringify({ chainPem, keyPem } satisfies CertificatePair));
}

/** The JSON `{"chainPem", "keyPem"}`, in which certificates are kept and handed on; undefined when it is not that. */
export function parseCertificatePair(text: string): CertificatePair | undefined {
  if (text.length > BYTES_MAX) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { chainPem, keyPem } = value as Record<string, unknown>;
  return typeof chainPem === 'string' && typeof keyPem === 'string' ? { chainPem, keyPem } : undefined;
}

function certificateOf(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

function privateKeyOf(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}
