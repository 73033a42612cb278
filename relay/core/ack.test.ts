/** Signed acks: only the owner of a mailbox can make one, and its record carries the proof. */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ACK_IDS_MAX, createAck, openAck } from './ack.ts';
import { mailboxIdOf, mailboxTagOf } from './mailbox.ts';

const pepper = new Uint8Array(32).fill(9);
const EXPIRES_MS = 1_800_000_000_000;

interface Owner {
  readonly raw: Buffer;
  readonly privateKey: KeyObject;
}

/** PKCS #8 of an Ed25519 key (RFC 8410 §7), up to the seed. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

function owner(seed: number): Owner {
  const key = Buffer.concat([PKCS8_PREFIX, Buffer.alloc(32, seed)]);
  const privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' });
  const raw = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
  return { raw, privateKey };
}

function signed(privateKey: KeyObject, idBytes: Uint8Array): Buffer {
  return sign(null, Buffer.concat([Buffer.from('archipelago ack v1\n'), idBytes]), privateKey);
}

const alice = owner(1);
const mallory = owner(2);
const ids = Buffer.concat([Buffer.alloc(16, 1), Buffer.alloc(16, 2)]);

describe('an ack signed by the mailbox key', () => {
  test('names its messages and its mailbox', () => {
    const ack = createAck(alice.raw, signed(alice.privateKey, ids), ids, EXPIRES_MS, pepper);
    expect(ack).toMatchObject({
      ok: true,
      value: {
        mailbox: mailboxTagOf(mailboxIdOf(alice.raw), pepper),
        ids: [Buffer.alloc(16, 1).toString('base64url'), Buffer.alloc(16, 2).toString('base64url')],
        expiresMs: EXPIRES_MS,
      },
    });
  });

  test('is the same after a way through a store or a peer', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.maxSafeNat(), (count, expiresMs) => {
        const idBytes = Buffer.alloc(count * 16, count);
        const ack = createAck(alice.raw, signed(alice.privateKey, idBytes), idBytes, expiresMs, pepper);
        expect(ack.ok && openAck(ack.value.record, pepper)).toEqual(ack);
      }),
      { numRuns: 20 },
    );
  });

  test('has the same id whoever stored it and for how long', () => {
    const signature = signed(alice.privateKey, ids);
    const acks = [EXPIRES_MS, EXPIRES_MS + 1].map((ms) => createAck(alice.raw, signature, ids, ms, pepper));
    expect(new Set(acks.map((ack) => (ack.ok ? ack.value.id : ack.fault))).size).toBe(1);
  });

  test('may name as many messages as the protocol allows', () => {
    const most = Buffer.alloc(ACK_IDS_MAX * 16, 1);
    expect(createAck(alice.raw, signed(alice.privateKey, most), most, EXPIRES_MS, pepper).ok).toBe(true);
  });
});

describe('refused is', () => {
  test('a signature by another key', () => {
    const ack = createAck(alice.raw, signed(mallory.privateKey, ids), ids, EXPIRES_MS, pepper);
    expect(ack).toEqual({ ok: false, fault: 'bad_signature' });
  });

  test('a signature over other ids', () => {
    const other = Buffer.alloc(32, 7);
    const ack = createAck(alice.raw, signed(alice.privateKey, other), ids, EXPIRES_MS, pepper);
    expect(ack).toEqual({ ok: false, fault: 'bad_signature' });
  });

  test('a signature over the bare ids, without the line that says what they are', () => {
    const ack = createAck(alice.raw, sign(null, ids, alice.privateKey), ids, EXPIRES_MS, pepper);
    expect(ack).toEqual({ ok: false, fault: 'bad_signature' });
  });

  test.each([0, 1, 15, 17, (ACK_IDS_MAX + 1) * 16])('a list of ids of %i bytes', (length) => {
    const idBytes = Buffer.alloc(length);
    const ack = createAck(alice.raw, signed(alice.privateKey, idBytes), idBytes, EXPIRES_MS, pepper);
    expect(ack).toEqual({ ok: false, fault: 'malformed' });
  });

  test.each([0, 31, 33])('a public key of %i bytes', (length) => {
    const ack = createAck(Buffer.alloc(length, 1), signed(alice.privateKey, ids), ids, EXPIRES_MS, pepper);
    expect(ack).toEqual({ ok: false, fault: 'malformed' });
  });

  test('a record with any one byte changed, unless it only says how long to remember', () => {
    const ack = createAck(alice.raw, signed(alice.privateKey, ids), ids, EXPIRES_MS, pepper);
    if (!ack.ok) throw new Error(ack.fault);
    const expiryAt = 1 + 32 + 64;
    for (let at = 0; at < ack.value.record.length; at += 1) {
      const changed = Buffer.from(ack.value.record);
      changed.writeUInt8(changed.readUInt8(at) ^ 0x5a, at);
      expect(openAck(changed, pepper).ok && (at < expiryAt || at >= expiryAt + 8)).toBe(false);
    }
  });

  test('arbitrary bytes, which never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(openAck(bytes, pepper).ok).toBe(false);
        expect(openAck(Buffer.concat([Buffer.of(1), bytes]), pepper).ok).toBe(false);
      }),
    );
  });
});
