/**
 * Push URLs opened, and those opened lately remembered: opening one takes a key derivation, a decryption and two
 * more keyed hashes, and a sender uses the same one again and again.
 *
 * What is remembered holds for the ring that opened it; after the ring has changed everything is opened anew. Only
 * good push URLs are remembered, so every failure costs the same work.
 */

import { createRecent } from '../../system/recent.ts';
import { ok, type Result } from '../../system/result.ts';
import { type CapabilityFault, openPush, type PushCapability } from '../core/capability.ts';
import type { KeyRing } from '../core/key-ring.ts';
import { type MailboxTag, mailboxTagOf } from '../core/mailbox.ts';
import type { MessageId } from '../core/message.ts';
import { revocationIdOf } from '../core/revocation.ts';

interface PushTarget extends PushCapability {
  readonly tag: MailboxTag;
  /** Its id as text. */
  readonly name: string;
  /** What is acked to revoke this push URL. */
  readonly revocationId: MessageId;
}

/** Opens the text behind `/p/`; `nowSeconds` by the wall clock. */
export type OpenTarget = (text: string, nowSeconds: number) => Result<PushTarget, CapabilityFault>;

const TARGETS_MAX = 8192;

/** Opens push URLs under `ring`, which may get other keys while it is used. */
export function createTargets(ring: KeyRing): OpenTarget {
  let keys = ring.keys;
  let targets = createRecent<string, PushTarget>(TARGETS_MAX);
  return (text, nowSeconds) => {
    if (keys !== ring.keys) {
      keys = ring.keys;
      targets = createRecent(TARGETS_MAX);
    }
    const known = targets.get(text);
    if (known !== undefined && (known.expiresSeconds === 0 || known.expiresSeconds > nowSeconds))
      return ok(known);
    const opened = openPush(text, ring, nowSeconds);
    if (!opened.ok) return opened;
    const { id, vapidKeyHash } = opened.value;
    const target: PushTarget = {
      ...opened.value,
      // Copies: a view would keep the whole buffer that it looks at.
      id: new Uint8Array(id),
      vapidKeyHash: vapidKeyHash && new Uint8Array(vapidKeyHash),
      name: Buffer.from(id).toString('base64url'),
      tag: mailboxTagOf(opened.value.mailbox, ring.pepper),
      revocationId: revocationIdOf(text),
    };
    targets.set(text, target);
    return ok(target);
  };
}
