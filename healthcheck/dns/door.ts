/**
 * The door of the nameserver: every packet from outside comes in here and leaves as a reply in the caller's buffer, or
 * is discarded by name. Parse, check the cookie, ask the budget of the source's network, respond.
 *
 * The budget is asked over UDP only, where a source can be forged, and only for sources without a cookie of ours: a
 * client that shows one is where it says it is. Over the budget a client that knows cookies is told BADCOOKIE, with
 * the cookie to use; one that does not is told to come over TCP; and every second one nothing (RFC 7873 §5.2.3).
 */
import type { CompiledZone } from './compile.ts';
import { answerCookie, COOKIE_BYTES, type CookieSecrets } from './cookie.ts';
import type { Rcode } from './message.ts';
import { type PacketDiscard, parseQuery, type Query } from './query.ts';
import { type RateLimit, SHARE_BYTES } from './rate-limit.ts';
import { type RespondContext, respond, respondMalformed } from './respond.ts';
import type { AnswerTransfer } from './transfer.ts';

export type Reply =
  | { readonly kind: 'reply'; readonly length: number; readonly rcode: Rcode }
  | { readonly kind: 'messages'; readonly messages: readonly Uint8Array[]; readonly rcode: Rcode }
  | { readonly kind: 'discarded'; readonly reason: PacketDiscard | 'over_budget' };

export interface Arrival {
  readonly transport: 'udp' | 'tcp';
  /** The address of whoever asks, 4 or 16 bytes. */
  readonly source: Uint8Array;
  /** Monotonic milliseconds; a tenth of a second late is no harm. */
  readonly nowMs: number;
  /** Seconds since 1970, whole. */
  readonly wallSeconds: number;
}

export interface DoorOptions {
  readonly zone: () => CompiledZone | undefined;
  readonly secrets: () => CookieSecrets;
  /** Undefined: no budget. */
  readonly rateLimit: RateLimit | undefined;
  /** Answers requests that are signed with TSIG. */
  readonly transfers: AnswerTransfer;
  /** What NSID says. */
  readonly serverId: Uint8Array;
  /** In [0, 1); where turns begin. */
  readonly firstTurn: number;
}

/** Answers one packet, into a buffer that has room for the largest response of its transport. Never throws. */
export type Door = (packet: Uint8Array, arrival: Arrival, out: Uint8Array) => Reply;

/** Steps of the golden ratio visit every part of [0, 1) evenly, also when A and AAAA queries alternate. */
const TURN_STEP = (Math.sqrt(5) - 1) / 2;
const OVER_BUDGET: Reply = { kind: 'discarded', reason: 'over_budget' };

/** A door of its own turns, cookies and budgets; see the top of this file. */
export function createDoor(options: DoorOptions): Door {
  const { rateLimit, serverId } = options;
  const cookie = new Uint8Array(COOKIE_BYTES);
  let turn = options.firstTurn;
  // One for all packets, filled anew for each: nobody keeps it.
  const context: Draft = { transport: 'udp', isProven: false, turn, limit: 'none', cookie, serverId };
  return (packet, arrival, out) => {
    const parsed = parseQuery(packet);
    if (parsed.kind === 'discarded') return parsed;
    const isProven = parsed.kind === 'query' && provesItself(packet, parsed, arrival, options, cookie);
    let limit: RespondContext['limit'] = 'none';
    const isBudgeted = rateLimit !== undefined && arrival.transport === 'udp' && !isProven;
    if (isBudgeted) {
      const verdict = rateLimit.take(arrival.source, arrival.nowMs);
      if (verdict === 'drop') return OVER_BUDGET;
      if (verdict === 'slip') limit = parsed.kind === 'query' && parsed.cookieAt > 0 ? 'cookie' : 'truncate';
    }
    if (parsed.kind === 'query' && parsed.tsigAt > 0 && limit === 'none') {
      const answered = options.transfers(packet, parsed, arrival.transport, arrival.wallSeconds);
      return { kind: 'messages', ...answered };
    }
    turn += TURN_STEP;
    if (turn >= 1) turn -= 1;
    context.transport = arrival.transport;
    context.isProven = isProven || arrival.transport === 'tcp';
    context.turn = turn;
    context.limit = limit;
    const { length, rcode } =
      parsed.kind === 'query'
        ? respond(packet, parsed, options.zone(), context, out)
        : respondMalformed(packet, parsed.rcode, context, out);
    if (length > SHARE_BYTES && isBudgeted && limit === 'none') rateLimit.weigh(length);
    return { kind: 'reply', length, rcode };
  };
}

type Draft = { -readonly [Field in keyof RespondContext]: RespondContext[Field] };

/** Puts the cookie to answer with into `cookie`; whether the query brought one of ours. */
function provesItself(
  packet: Uint8Array,
  query: Query,
  { source, wallSeconds }: Arrival,
  options: DoorOptions,
  cookie: Uint8Array,
): boolean {
  if (query.cookieAt === 0) return false;
  const context = { source, nowSeconds: wallSeconds, secrets: options.secrets() };
  return answerCookie(packet, query.cookieAt, query.cookieLength, context, cookie);
}
