/**
 * One packet in, one reply out, without sockets: for tests of what the nameserver says.
 */
import type { CompiledZone } from '../../healthcheck/dns/compile.ts';
import { COOKIE_BYTES } from '../../healthcheck/dns/cookie.ts';
import { parseResponse, type Rcode, type Response } from '../../healthcheck/dns/message.ts';
import { type PacketDiscard, parseQuery } from '../../healthcheck/dns/query.ts';
import { type RespondContext, respond, respondMalformed } from '../../healthcheck/dns/respond.ts';

export type TestReply =
  | { readonly kind: 'reply'; readonly bytes: Uint8Array; readonly rcode: Rcode }
  | { readonly kind: 'discarded'; readonly reason: PacketDiscard };

/** UDP with a cookie, the first turn and no limit, unless told otherwise. */
export function replyTo(
  packet: Uint8Array,
  zone: CompiledZone | undefined,
  over: Partial<RespondContext> = {},
): TestReply {
  const parsed = parseQuery(packet);
  if (parsed.kind === 'discarded') return parsed;
  const context: RespondContext = {
    transport: 'udp',
    isProven: true,
    turn: 0,
    limit: 'none',
    cookie: new Uint8Array(COOKIE_BYTES),
    serverId: Buffer.from('aws'),
    ...over,
  };
  const out = new Uint8Array(65_535);
  const { length, rcode } =
    parsed.kind === 'query'
      ? respond(packet, parsed, zone, context, out)
      : respondMalformed(packet, parsed.rcode, context, out);
  return { kind: 'reply', bytes: out.slice(0, length), rcode };
}

/** The bytes of a reply; throws when there is none. */
export function bytesOf(reply: TestReply): Uint8Array {
  if (reply.kind !== 'reply') throw new Error(reply.reason);
  return reply.bytes;
}

/** The reply, decoded; throws when there is none or it is malformed. */
export function decoded(reply: TestReply): Response {
  const response = parseResponse(bytesOf(reply));
  if (response === undefined) throw new Error('our own response is malformed');
  return response;
}
