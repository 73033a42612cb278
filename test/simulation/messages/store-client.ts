/**
 * The store as a relay of the site uses it: each command travels to the site's disk, may time out, and ends with the
 * process that sent it. Writes go partition by partition, as one script each, so a power cut may come between two.
 */
import type { SignedAck } from '../../../relay/core/ack.ts';
import { type MailboxTag, partitionOf } from '../../../relay/core/mailbox.ts';
import type { Message } from '../../../relay/core/message.ts';
import type { Reference } from '../../../relay/core/reference.ts';
import { type MessageStore, StoreUnavailable } from '../../../relay/ports.ts';
import type { Disk, Effect } from './disk.ts';
import type { Process } from './machine.ts';

/** As long as the production store waits for Redis, milliseconds. */
const COMMAND_TIMEOUT_MS = 800;

export interface StoreClient {
  readonly store: MessageStore;
  /** Something happened to a mailbox, by whichever relay of the site. */
  wake(mailbox: MailboxTag): void;
}

/** The store of `process`; `announce` tells the other relays of the site what changed. */
export function createStoreClient(
  disk: Disk,
  process: Process,
  announce: (mailbox: MailboxTag) => void,
): StoreClient {
  const listeners: Parameters<MessageStore['onChange']>[0][] = [];
  /** The relay that wrote knows what; the others of its site only where. */
  const tell = (mailbox: MailboxTag, what: Message | SignedAck): void => {
    for (const listener of listeners) listener(mailbox, what);
    announce(mailbox);
  };
  const ask = <Result>(action: () => Promise<Result>): Promise<Result> =>
    process.await(
      () =>
        new Promise((resolve, reject) => {
          const cancel = process.clock.after(COMMAND_TIMEOUT_MS, () =>
            reject(new StoreUnavailable('no answer in time')),
          );
          action().then(resolve, reject).finally(cancel);
        }),
    );
  const read = <Result>(run: (store: MessageStore) => Promise<Result>): Promise<Result> =>
    ask(() => disk.read(run));

  /** Nothing is asked about nothing. */
  const readSome = async <Result>(
    references: readonly Reference[],
    run: (store: MessageStore) => Promise<readonly Result[]>,
  ): Promise<readonly Result[]> => (references.length === 0 ? [] : read(run));

  /** One write for each partition; the answers are in the order of the items. */
  const writeEach = async <Item, Result>(
    items: readonly Item[],
    tagOf: (item: Item) => MailboxTag,
    run: (store: MessageStore, some: readonly Item[]) => Promise<readonly Result[]>,
    effectOf: (item: Item, result: Result) => Effect | undefined,
    told: (mailbox: MailboxTag, item: Item) => void,
  ): Promise<readonly Result[]> => {
    const groups = Map.groupBy(items.entries(), ([, item]) => partitionOf(tagOf(item)));
    const results: Result[] = [];
    await ask(() =>
      Promise.all(
        [...groups.values()].map(async (group) => {
          const some = group.map(([, item]) => item);
          const found = await disk.write({
            run: (store) => run(store, some),
            effects: (outcomes) =>
              outcomes.flatMap((outcome, at) => {
                const item = some[at];
                const effect = item === undefined ? undefined : effectOf(item, outcome);
                return effect === undefined ? [] : [effect];
              }),
          });
          for (const [at, [place, item]] of group.entries()) {
            const outcome = found[at];
            if (outcome === undefined) continue;
            results[place] = outcome;
            if (effectOf(item, outcome) !== undefined) told(tagOf(item), item);
          }
        }),
      ),
    );
    return results;
  };

  const store: MessageStore = {
    durable: true,
    insert: (insertions, nowMs) =>
      writeEach(
        insertions,
        ({ message }) => message.mailbox,
        (inner, some) => inner.insert(some, nowMs),
        ({ message }, outcome) =>
          outcome === 'stored' ? { type: 'stored', id: message.id, expiresMs: message.expiresMs } : undefined,
        (mailbox, { message }) => tell(mailbox, message),
      ),
    bury: (burials, nowMs) =>
      writeEach(
        burials,
        ({ ack }) => ack.mailbox,
        (inner, some) => inner.bury(some, nowMs),
        ({ ack }, isNew) => (isNew === true ? { type: 'buried', ids: ack.ids } : undefined),
        (mailbox, { ack }) => tell(mailbox, ack),
      ),
    pending: (mailbox, limit, nowMs) => read((inner) => inner.pending(mailbox, limit, nowMs)),
    load: (references) => readSome(references, (inner) => inner.load(references)),
    missing: (references) => readSome(references, (inner) => inner.missing(references)),
    buriedBy: (messages) => readSome(messages, (inner) => inner.buriedBy(messages)),
    indexed: (messages) => readSome(messages, (inner) => inner.indexed(messages)),
    list: (partition, cursor, limit) => read((inner) => inner.list(partition, cursor, limit)),
    digest: (partitions, fromMs) => read((inner) => inner.digest(partitions, fromMs)),
    verify: (partition, cursor, limit) => read((inner) => inner.verify(partition, cursor, limit)),
    owed: (site, beforeMs, limit) => read((inner) => inner.owed(site, beforeMs, limit)),
    settle: async (settlements) => {
      if (settlements.length === 0) return;
      await ask(() => disk.write({ run: (inner) => inner.settle(settlements), effects: () => [] }));
    },
    debts: (sites) => read((inner) => inner.debts(sites)),
    expire: (nowMs, limit) =>
      ask(() =>
        disk.write({
          run: (inner) => inner.expire(nowMs, limit),
          effects: (count) => (count > 0 ? [{ type: 'expired', nowMs }] : []),
        }),
      ),
    usage: (mailbox) => read((inner) => inner.usage(mailbox)),
    fullness: () => read((inner) => inner.fullness()),
    readEpoch: () => read((inner) => inner.readEpoch()),
    replaceEpoch: (expected, next) =>
      ask(() => disk.write({ run: (inner) => inner.replaceEpoch(expected, next), effects: () => [] })),
    ping: () => read((inner) => inner.ping()),
    onChange: (listener) => void listeners.push(listener),
    pass: async () => undefined,
    onPassed: () => undefined,
    onDamage: () => undefined,
    onReturn: () => undefined,
    onOutboxFull: () => undefined,
    close: async () => undefined,
  };
  return {
    store,
    wake: (mailbox) => {
      for (const listener of listeners) listener(mailbox);
    },
  };
}
