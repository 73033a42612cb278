/** Recipients that revoke a push URL, over real HTTPS; and what a relay remembers of it. */
import { sign } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ciphertext } from '../../test/support/ciphertext.ts';
import { eventually } from '../../test/support/eventually.ts';
import { createManualClock } from '../../test/support/manual-clock.ts';
import {
  createRecipient,
  type Recipient,
  type Reply,
  type ServedRelay,
  serveRelay,
} from '../../test/support/served-relay.ts';
import { revocationIdOf } from '../core/revocation.ts';
import { StoreUnavailable } from '../ports.ts';
import { BELIEVED_MS, createRevocations } from './revocations.ts';

let relay: ServedRelay;

beforeEach(async () => {
  relay = await serveRelay();
});

afterEach(() => relay[Symbol.asyncDispose]());

function send(to: Recipient): Promise<Reply> {
  const headers = { TTL: '60', 'Content-Encoding': 'aes128gcm' };
  return relay.ask('POST', to.path, { headers, body: ciphertext('a message') });
}

/** Asks to revoke the push URL of `target` in the name of `signer`. */
function revoke(target: Recipient, signer: Recipient = target, at: ServedRelay = relay): Promise<Reply> {
  const capability = target.path.replace('/p/', '');
  const id = Buffer.from(revocationIdOf(capability), 'base64url');
  const content = Buffer.concat([Buffer.from('archipelago revoke v1\n'), id]);
  const signature = sign(null, content, signer.privateKey).toString('base64url');
  const body = JSON.stringify({ capability, key: signer.publicKey.toString('base64url'), signature });
  return at.ask('POST', '/v1/revocations', { body });
}

test('a push URL that was revoked takes nothing more; other push URLs do', async () => {
  const { recipient } = relay;
  for (const _ of [1, 2]) expect((await revoke(recipient)).status).toBe(204);
  const refused = await send(recipient);
  expect(JSON.parse(refused.body)).toMatchObject({ status: 410, code: 'capability_revoked' });
  expect((await send(createRecipient(relay.ring))).status).toBe(201);
});

test('a revocation outlives every sweep', async () => {
  await revoke(relay.recipient);
  await relay.store.expire(253_000_000_000_000, 1000);
  expect((await send(relay.recipient)).status).toBe(410);
});

test("nobody revokes another's push URL", async () => {
  const reply = await revoke(relay.recipient, createRecipient(relay.ring));
  expect(JSON.parse(reply.body)).toMatchObject({ status: 403, code: 'revocation_not_signed' });
  expect((await send(relay.recipient)).status).toBe(201);
});

test.each([
  ['', 400],
  ['null', 400],
  ['{"capability":"x","key":"x","signature":"y"}', 400],
  [JSON.stringify({ capability: 7, key: 'A'.repeat(43), signature: 'A'.repeat(86) }), 400],
  [JSON.stringify({ capability: 'x', key: 'A'.repeat(43), signature: 'A'.repeat(86) }), 404],
])('%s revokes nothing', async (body, status) => {
  expect((await relay.ask('POST', '/v1/revocations', { body })).status).toBe(status);
});

test('who revokes again and again is too fast, and nobody else is', async () => {
  await using slow = await serveRelay({ asksPerSecond: 1 });
  const [one, other] = [createRecipient(slow.ring), createRecipient(slow.ring)];
  const replies = await Promise.all(Array.from({ length: 40 }, () => revoke(one, one, slow)));
  const [tooFast] = replies.filter(({ status }) => status !== 204);
  expect(JSON.parse(tooFast?.body ?? '{}')).toMatchObject({ status: 429, code: 'mailbox_token_too_fast' });
  expect(replies.filter(({ status }) => status === 204).length).toBeGreaterThanOrEqual(4);
  expect((await revoke(other, other, slow)).status).toBe(204);
});

test('a sender that leaves while the store is asked is named, and is not waited for', async () => {
  const gate = Promise.withResolvers<void>();
  let asked = 0;
  await using slow = await serveRelay({
    wrapStore: (store) => ({
      ...store,
      missing: async (references) => {
        asked += 1;
        await gate.promise;
        return store.missing(references);
      },
    }),
  });
  const gone = Promise.withResolvers<void>();
  slow.http.once('request', (request: IncomingMessage) => {
    request.once('close', () => gone.resolve());
  });
  const socket = await slow.connect();
  const head = `POST ${slow.recipient.path} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Encoding: aes128gcm\r\n`;
  socket.write(`${head}Content-Length: 100\r\n\r\nonly this`);
  await eventually('the question', () => (asked > 0 ? true : undefined));
  socket.destroy();
  await gone.promise;
  gate.resolve();
  await eventually('a name for it', () =>
    slow.events.happened.includes('refused body_incomplete') ? true : undefined,
  );
});

test('what the store said is believed for a moment, and for ever once it is revoked', async () => {
  const clock = createManualClock();
  let asked = 0;
  let isGone = false;
  const revocations = createRevocations(
    {
      missing: async (references) => {
        asked += 1;
        return isGone ? [] : references;
      },
    },
    clock,
  );
  const ask = async (): Promise<boolean> => revocations.isRevoked(relay.recipient.tag, revocationIdOf('x'));
  expect([await ask(), await ask(), asked]).toEqual([false, false, 1]);
  isGone = true;
  clock.advance(BELIEVED_MS - 1);
  expect(await ask()).toBe(false);
  clock.advance(1);
  expect([await ask(), asked]).toEqual([true, 2]);
  clock.advance(1_000_000_000);
  expect([await ask(), asked]).toEqual([true, 2]);
});

test('a store that is away revokes nothing, and is asked again', async () => {
  let asked = 0;
  const revocations = createRevocations(
    {
      missing: async () => {
        asked += 1;
        throw new StoreUnavailable('away');
      },
    },
    createManualClock(),
  );
  for (const _ of [1, 2])
    expect(await revocations.isRevoked(relay.recipient.tag, revocationIdOf('x'))).toBe(false);
  expect(asked).toBe(2);
});
