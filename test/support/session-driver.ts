/**
 * Drives one session as its adapter would, step by step, so that a test decides in which order answers arrive.
 */
import { createDeliveryLoops, type DeliveryLoops } from '../../relay/core/delivery-loops.ts';
import type { Message } from '../../relay/core/message.ts';
import {
  type CloseReason,
  Session,
  type SessionAction,
  type SessionConfig,
  type SessionEvent,
} from '../../relay/core/session.ts';
import type { OpenMailbox } from '../../relay/core/session-mailbox.ts';
import { TEST_PEPPER, type TestMailbox } from './mailbox.ts';

export const SESSION_CONFIG: SessionConfig = {
  site: 'aws',
  audience: 'https://aws.relay.test',
  heartbeatMs: 5000,
  helloWithinMs: 5000,
  lookAgainMs: 30_000,
  ttlMsMax: 60_000,
  pepper: TEST_PEPPER,
  mayVerifyDoubtful: () => true,
};

/** What a recipient was sent, frame by frame: a message's id, or the JSON frame. */
export type Heard = { readonly id: string; readonly mailbox: number } | { readonly t: string };

export class SessionDriver {
  readonly session: Session;
  nowMs = 0;
  wallMs = 10_000;
  readonly heard: Heard[] = [];
  readonly closed: CloseReason[] = [];
  /** Everything the session asked for but sends and closes, oldest first. */
  readonly asked: SessionAction[] = [];

  constructor(config: Partial<SessionConfig> = {}, loops: DeliveryLoops = createDeliveryLoops()) {
    this.session = new Session({ ...SESSION_CONFIG, ...config }, loops, this.nowMs);
    this.handle({ type: 'connected' });
  }

  handle(event: SessionEvent): readonly SessionAction[] {
    const actions = this.session.handle(event, this.nowMs, this.wallMs);
    for (const action of actions) this.#note(action);
    return actions;
  }

  #note(action: SessionAction): void {
    if (action.type === 'close') this.closed.push(action.reason);
    else if (action.type !== 'send') this.asked.push(action);
    else if (action.frame instanceof Uint8Array) {
      const frame = Buffer.from(action.frame);
      this.heard.push({ id: frame.toString('base64url', 3, 19), mailbox: frame.readUInt16BE(1) });
    } else this.heard.push(action.frame);
  }

  /** Says hello and proves the mailboxes; gives the fetches that follow. */
  open(mailboxes: readonly TestMailbox[], window: number): void {
    this.handle({ type: 'text', text: JSON.stringify({ t: 'hello', tokens: ['t'], window }) });
    this.handle({ type: 'verified', mailboxes: mailboxes.map(openMailbox) });
  }

  /** Answers a fetch of the n-th mailbox; undefined: the store is away. */
  fetched(list: readonly Message[] | undefined, place = 0): void {
    this.handle({ type: 'fetched', mailbox: place, messages: list });
  }

  tick(afterMs: number): readonly SessionAction[] {
    this.nowMs += afterMs;
    this.wallMs += afterMs;
    return this.handle({ type: 'tick' });
  }

  /** Takes the oldest action of this type off the list of what was asked. */
  take<Type extends SessionAction['type']>(
    type: Type,
  ): Extract<SessionAction, { readonly type: Type }> | undefined {
    const at = this.asked.findIndex((action) => action.type === type);
    if (at < 0) return undefined;
    return this.asked.splice(at, 1)[0] as Extract<SessionAction, { readonly type: Type }>;
  }

  get ids(): readonly string[] {
    return this.heard.flatMap((frame) => ('id' in frame ? [frame.id] : []));
  }

  said(type: string): number {
    return this.heard.filter((frame) => 't' in frame && frame.t === type).length;
  }
}

/** An open session whose first fetch waits for its answer. */
export function openSession(
  mailboxes: readonly TestMailbox[],
  window = 4,
  config: Partial<SessionConfig> = {},
): SessionDriver {
  const driver = new SessionDriver(config);
  driver.open(mailboxes, window);
  return driver;
}

function openMailbox(mailbox: TestMailbox): OpenMailbox {
  const anyAck = mailbox.ack([mailbox.message('any').id], 0);
  return { tag: mailbox.tag, publicKey: anyAck.record.subarray(1, 33) };
}

/** The binary frame by which a recipient acks these messages of its n-th mailbox. */
export function ackFrame(
  place: number,
  mailbox: TestMailbox,
  ids: Parameters<TestMailbox['ack']>[0],
): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(2, 0);
  head.writeUInt16BE(place, 1);
  head.writeUInt16BE(ids.length, 3);
  const { record } = mailbox.ack(ids, 0);
  return Buffer.concat([head, record.subarray(33, 97), ...ids.map((id) => Buffer.from(id, 'base64url'))]);
}
