/**
 * When an authority suggests to renew a certificate (ARI, RFC 9773): it knows of revocations and of its own load. Only
 * a suggestion; without one a certificate is renewed at two thirds of its life.
 */
import 'reflect-metadata';
import { AuthorityKeyIdentifierExtension, X509Certificate } from '@peculiar/x509';
import type { RenewalWindow } from '../core/certificate-plan.ts';
import { objectOf } from './fault.ts';
import { type AcmeSession, parseJson } from './session.ts';

/** The name of a certificate with its authority (RFC 9773 §4.1); undefined when it does not say who issued it. */
export function renewalIdOf(chainPem: string): string | undefined {
  const certificate = new X509Certificate(chainPem);
  const keyId = certificate.getExtension(AuthorityKeyIdentifierExtension)?.keyId;
  if (keyId === undefined) return undefined;
  return `${base64urlOf(keyId)}.${base64urlOf(integerOctets(certificate.serialNumber))}`;
}

/** The window that is suggested; undefined when the authority suggests none, or nothing that makes sense. */
export async function suggestedWindow(
  session: AcmeSession,
  chainPem: string,
): Promise<RenewalWindow | undefined> {
  const base = await session.url('renewalInfo');
  const id = renewalIdOf(chainPem);
  if (base === undefined || id === undefined) return undefined;
  const reply = await session.get(`${base}/${id}`);
  const { start, end } = objectOf(objectOf(parseJson(reply.text))['suggestedWindow']);
  const [startMs, endMs] = [Date.parse(String(start)), Date.parse(String(end))];
  return startMs <= endMs ? { startMs, endMs } : undefined;
}

/** A positive INTEGER has a leading zero octet in DER where its first bit would be a sign; the library drops it. */
function integerOctets(hex: string): string {
  return /^[89a-f]/i.test(hex) ? `00${hex}` : hex;
}

function base64urlOf(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64url');
}
