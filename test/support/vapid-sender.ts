/**
 * A sender with a VAPID key pair (RFC 8292), which can also sign what no decent sender would.
 */
import { generateKeyPairSync, sign } from 'node:crypto';

export interface VapidSender {
  /** The uncompressed point, 65 bytes. */
  readonly publicKey: Buffer;
  /** The JWT alone. */
  token(claims: Readonly<Record<string, unknown>>, header?: Readonly<Record<string, unknown>>): string;
  /** The `Authorization` header. */
  header(claims: Readonly<Record<string, unknown>>): string;
}

export function createVapidSender(): VapidSender {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const point = publicKey.export({ format: 'der', type: 'spki' }).subarray(-65);
  const token: VapidSender['token'] = (claims, header = { typ: 'JWT', alg: 'ES256' }) => {
    const signed = `${encoded(header)}.${encoded(claims)}`;
    const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
  };
  return {
    publicKey: point,
    token,
    header: (claims) => `vapid t=${token(claims)}, k=${point.toString('base64url')}`,
  };
}

function encoded(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
