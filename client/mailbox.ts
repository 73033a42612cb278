/**
 * A mailbox is a key pair that only the client has, so making one asks nobody: Ed25519 to receive and to ack,
 * P-256 and a shared secret so that Web Push senders can encrypt to it (RFC 8291).
 *
 * Whoever has the exported form can read and delete; keep it like a private key, for it is one.
 */
import type { Random } from '../system/random.ts';
import { type Bytes, concat, fromBase64url, toBase64url, utf8 } from './bytes.ts';
import { AUTH_BYTES, decrypt, type RecipientKeys } from './encryption.ts';
import { UsageError } from './errors.ts';

export interface Mailbox {
  /** SHA-256 of the raw public key, base64url. */
  readonly id: string;
  /** The raw Ed25519 key by which sites verify what it signed, 32 bytes as base64url. */
  readonly publicKey: string;
  /** To be given to senders, together with a push URL. */
  readonly keys: RecipientKeys;
  /** A mailbox token for one audience (docs/protocol.md), good for 150 s from `nowSeconds` since 1970. */
  token(audience: string, nowSeconds: number): Promise<string>;
  /** The signature of an ack of these ids, 16 bytes each, one after the other. */
  signAck(idBytes: Uint8Array): Promise<Bytes>;
  /** The signature that revokes the push URL with this id of 16 bytes (docs/protocol.md). */
  signRevocation(idBytes: Uint8Array): Promise<Bytes>;
  /** Throws `DecryptionError`. */
  decrypt(body: Uint8Array): Promise<Bytes>;
  export(): Promise<MailboxExport>;
}

/** A mailbox as JSON. The keys are JWKs (RFC 7517, RFC 8037). */
export interface MailboxExport {
  readonly format: 'archipelago-mailbox-1';
  readonly signing: { readonly kty: 'OKP'; readonly crv: 'Ed25519'; readonly x: string; readonly d: string };
  readonly encryption: {
    readonly kty: 'EC';
    readonly crv: 'P-256';
    readonly x: string;
    readonly y: string;
    readonly d: string;
  };
  /** 16 bytes as base64url. */
  readonly auth: string;
}

/**
 * How long a mailbox token lives, in seconds. A relay takes up to 300: half of that leaves as much room for a
 * client's clock that is fast as for one that is slow.
 */
const TOKEN_SECONDS = 150;

const ACK_LINE: Bytes = utf8('archipelago ack v1\n');
export const REVOKE_LINE: Bytes = utf8('archipelago revoke v1\n');
const SIGNING = 'Ed25519';
const AGREEMENT = { name: 'ECDH', namedCurve: 'P-256' };

/** Makes a mailbox. Nothing is sent anywhere. */
export async function createMailbox(random: Random): Promise<Mailbox> {
  const [signing, encryption] = await Promise.all([
    crypto.subtle.generateKey(SIGNING, true, ['sign', 'verify']),
    crypto.subtle.generateKey(AGREEMENT, true, ['deriveBits']),
  ]);
  if (!('privateKey' in signing)) throw new UsageError('mailbox_malformed');
  return assemble({
    signingKey: signing.privateKey,
    signingPublic: new Uint8Array(await crypto.subtle.exportKey('raw', signing.publicKey)),
    agreementKey: encryption.privateKey,
    point: new Uint8Array(await crypto.subtle.exportKey('raw', encryption.publicKey)),
    auth: new Uint8Array(random.bytes(AUTH_BYTES)),
  });
}

/** The inverse of `export()`. Throws `UsageError` (mailbox_malformed). */
export async function importMailbox(exported: MailboxExport): Promise<Mailbox> {
  const { signing, encryption } = exported;
  const signingPublic = fromBase64url(signing.x);
  const x = fromBase64url(encryption.x);
  const y = fromBase64url(encryption.y);
  const auth = fromBase64url(exported.auth);
  if (signingPublic?.length !== 32 || x?.length !== 32 || y?.length !== 32 || auth?.length !== AUTH_BYTES) {
    throw new UsageError('mailbox_malformed');
  }
  try {
    return await assemble({
      signingKey: await crypto.subtle.importKey('jwk', { ...signing }, SIGNING, true, ['sign']),
      signingPublic,
      agreementKey: await crypto.subtle.importKey('jwk', { ...encryption }, AGREEMENT, true, ['deriveBits']),
      point: concat(Uint8Array.of(4), x, y),
      auth,
    });
  } catch (error) {
    throw new UsageError('mailbox_malformed', { cause: error });
  }
}

interface Parts {
  readonly signingKey: CryptoKey;
  readonly signingPublic: Bytes;
  readonly agreementKey: CryptoKey;
  readonly point: Bytes;
  readonly auth: Bytes;
}

async function assemble(parts: Parts): Promise<Mailbox> {
  const sign = async (content: Bytes): Promise<Bytes> =>
    new Uint8Array(await crypto.subtle.sign(SIGNING, parts.signingKey, content));
  const publicJwk = { kty: 'OKP', crv: 'Ed25519', x: toBase64url(parts.signingPublic) } as const;
  const header = toBase64url(utf8(JSON.stringify({ alg: 'EdDSA', jwk: publicJwk })));
  const keys = { p256dh: toBase64url(parts.point), auth: toBase64url(parts.auth) };
  return {
    id: toBase64url(new Uint8Array(await crypto.subtle.digest('SHA-256', parts.signingPublic))),
    publicKey: publicJwk.x,
    keys,
    // A compact JWS (RFC 7515 §7.1): two encoded parts and a signature over them.
    token: async (audience, nowSeconds) => {
      const claims = { aud: audience, iat: nowSeconds, exp: nowSeconds + TOKEN_SECONDS };
      const signed = `${header}.${toBase64url(utf8(JSON.stringify(claims)))}`;
      return `${signed}.${toBase64url(await sign(utf8(signed)))}`;
    },
    signAck: (idBytes) => sign(concat(ACK_LINE, idBytes)),
    signRevocation: (idBytes) => sign(concat(REVOKE_LINE, idBytes)),
    decrypt: (body) =>
      decrypt(body, { privateKey: parts.agreementKey, point: parts.point, auth: parts.auth }),
    export: async () => {
      const signing = await crypto.subtle.exportKey('jwk', parts.signingKey);
      const { x, y, d } = await crypto.subtle.exportKey('jwk', parts.agreementKey);
      if (signing.d === undefined || x === undefined || y === undefined || d === undefined) {
        throw new UsageError('mailbox_malformed');
      }
      return {
        format: 'archipelago-mailbox-1',
        signing: { ...publicJwk, d: signing.d },
        encryption: { kty: 'EC', crv: 'P-256', x, y, d },
        auth: keys.auth,
      };
    },
  };
}
