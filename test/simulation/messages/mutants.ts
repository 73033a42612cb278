/**
 * Parts that are wrong on purpose, each put where the right one belongs: a simulation that stays green with one of
 * them would prove nothing.
 */
import { createMemoryStore } from '../../../relay/adapters/memory-store.ts';
import type { Epoch, MessageStore } from '../../../relay/ports.ts';
import { createAcceptor } from '../../../relay/replication/acceptor.ts';
import type { Mutation } from './site.ts';

/** The epoch of a store that has been whole for ever, and will be. */
const neverWiped = (others: readonly string[]): Epoch => ({
  id: 'AAAAAAAAAAAAAAAAAAAAAA',
  refilledFrom: others,
  seenMs: Number.MAX_SAFE_INTEGER,
});

interface Mutant extends Mutation {
  readonly wrong: string;
}

export const MUTANTS: Readonly<Record<string, Mutant>> = {
  'no-outbox': {
    wrong: 'inserts and acks owe nothing to anybody',
    wrapStore: (store) => ({
      ...store,
      insert: (insertions, nowMs) =>
        store.insert(
          insertions.map(({ message }) => ({ message, owedTo: [] })),
          nowMs,
        ),
      bury: (burials, nowMs) =>
        store.bury(
          burials.map(({ ack }) => ({ ack, owedTo: [] })),
          nowMs,
        ),
    }),
  },
  'accept-one': {
    wrong: 'a message is accepted as soon as one provider holds it',
    createAcceptor: (config, deps) => createAcceptor({ ...config, copiesNeeded: 1 }, deps),
  },
  'forget-tombstones': {
    wrong: 'a store takes a message again that it has buried',
    createStore: createForgetfulStore,
  },
  'trust-wiped': {
    wrong: 'a store that has lost everything says that it is whole',
    wrapStore: (store, others) => ({
      ...store,
      readEpoch: async () => (await store.readEpoch()) ?? neverWiped(others),
    }),
  },
  'forget-acks': {
    wrong: 'an ack is owed to nobody: who is away just then does not hear of it',
    wrapStore: (store) => ({
      ...store,
      bury: (burials, nowMs) =>
        store.bury(
          burials.map(({ ack }) => ({ ack, owedTo: [] })),
          nowMs,
        ),
    }),
  },
  'forget-shown': {
    wrong: 'a client remembers nothing of what its application has',
    createMemory: () => ({ get: () => undefined, set: () => undefined }),
  },
  'deny-tombstones': {
    wrong: 'a site that is asked before a delivery what was acked knows of nothing',
    wrapService: (service) => (request, from) =>
      request.type === 'buried'
        ? Promise.resolve({ type: 'tombstones', served: request.references.length, acks: [] })
        : service(request, from),
  },
  'owe-nothing-onward': {
    wrong: 'a site that gets a message from a peer owes it to nobody',
    wrapService: (service, sites) => (request, from) =>
      request.type === 'put' || request.type === 'bury'
        ? service(
            { ...request, records: request.records.map(({ record }) => ({ record, holders: sites })) },
            from,
          )
        : service(request, from),
  },
};

/** Remembers acks, and takes what they name again all the same. */
function createForgetfulStore(): MessageStore {
  const store = createMemoryStore();
  const risen = createMemoryStore();
  return {
    ...store,
    insert: async (insertions, nowMs) => {
      const outcomes = await store.insert(insertions, nowMs);
      const buried = insertions.filter((_, at) => outcomes[at] === 'buried');
      await risen.insert(buried, nowMs);
      return outcomes.map((outcome) => (outcome === 'buried' ? 'stored' : outcome));
    },
    pending: async (mailbox, limit, nowMs) => [
      ...(await store.pending(mailbox, limit, nowMs)),
      ...(await risen.pending(mailbox, limit, nowMs)),
    ],
    load: async (references) => {
      const found = await store.load(references);
      const again = await risen.load(references);
      return found.map((each, at) => each ?? again[at]);
    },
  };
}
