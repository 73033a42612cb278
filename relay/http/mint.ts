/**
 * Making a push URL: `POST /v1/push-urls`. Nothing is written; a push URL is sealed data. An operator's token
 * decides who may have one, because every push URL is a way to fill memory.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Random } from '../../system/random.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import type { Admission } from '../admission.ts';
import { sealPush } from '../core/capability.ts';
import type { KeyRing } from '../core/key-ring.ts';
import { mailboxIdOf, mailboxTagOf } from '../core/mailbox.ts';
import type { Refusal } from '../core/refusal.ts';
import { parsePublicKey, vapidKeyHashOf } from '../core/vapid.ts';
import type { MailboxTokenVerifier } from './mailbox-token.ts';
import type { PublicContext } from './public-context.ts';
import { readBody } from './request-body.ts';

export interface MintDeps {
  readonly ring: KeyRing;
  readonly verify: MailboxTokenVerifier;
  readonly random: Random;
  /** The canonical origin, where push URLs lead. */
  readonly origin: string;
  /** SHA-256 of each operator token of now, 32 bytes; undefined when anybody may mint. */
  readonly operatorTokenHashes: readonly Uint8Array[] | undefined;
  readonly admission: Pick<Admission, 'mayMint' | 'mayReceive'>;
}

const BODY_BYTES_MAX = 4096;
const ANYBODY = '';

/** Gives the push URL. */
export async function mintPushUrl(context: PublicContext, deps: MintDeps): Promise<Result<string, Refusal>> {
  const operator = operatorOf(context.req.header('authorization'), deps.operatorTokenHashes);
  if (operator === undefined) return fail('operator_token_invalid');
  if (operator !== ANYBODY && !deps.admission.mayMint(operator)) return fail('operator_token_too_fast');
  const body = await readBody(context.env.incoming, BODY_BYTES_MAX);
  if (!body.ok) return body;
  const wish = wishIn(body.value.toString('utf8'));
  if (wish === undefined) return fail('request_malformed');
  const publicKey = await deps.verify(wish.token);
  if (publicKey === undefined) return fail('mailbox_token_invalid');
  const mailbox = mailboxIdOf(publicKey);
  if (!deps.admission.mayReceive(mailboxTagOf(mailbox, deps.ring.pepper))) {
    return fail('mailbox_token_too_fast');
  }
  const capability = sealPush(
    {
      id: deps.random.bytes(16),
      mailbox,
      expiresSeconds: 0,
      vapidKeyHash: wish.vapidKeyHash,
    },
    deps.ring,
  );
  return ok(`${deps.origin}/p/${capability}`);
}

/** The hash of the operator token that was shown, if it is a good one; nobody needs one where minting is open. */
function operatorOf(
  authorization: string | undefined,
  hashes: readonly Uint8Array[] | undefined,
): string | undefined {
  if (hashes === undefined) return ANYBODY;
  const token = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(authorization ?? '')?.[1] ?? '';
  const given = createHash('sha256').update(token).digest();
  // Every hash is compared, so the time says nothing about which one was near.
  const isGood = hashes.map((hash) => timingSafeEqual(hash, given)).includes(true);
  return isGood ? given.toString('base64url') : undefined;
}

interface Wish {
  readonly token: string;
  readonly vapidKeyHash: Uint8Array | undefined;
}

function wishIn(text: string): Wish | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const { token, vapid } = value as Readonly<Record<string, unknown>>;
    if (typeof token !== 'string') return undefined;
    if (vapid === undefined) return { token, vapidKeyHash: undefined };
    const vapidKey = typeof vapid === 'string' ? parsePublicKey(vapid) : undefined;
    return vapidKey === undefined ? undefined : { token, vapidKeyHash: vapidKeyHashOf(vapidKey) };
  } catch {
    // Not JSON.
    return undefined;
  }
}
