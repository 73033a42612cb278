/**
 * Relay events written down instead of counted, so that a test can say which of them happened.
 */
import type { RelayEvents } from '../../relay/events.ts';

export interface RecordedEvents extends RelayEvents {
  /** Name and arguments of each event, in order: `refused body_too_large`. */
  readonly happened: string[];
}

export function createRecordedEvents(): RecordedEvents {
  const happened: string[] = [];
  const note =
    (name: string) =>
    (...details: readonly (string | number | boolean)[]): void => {
      happened.push([name, ...details].join(' '));
    };
  return {
    happened,
    // How long it took differs from run to run.
    acceptedIn: (_, accepted) => happened.push(accepted ? 'accepted' : 'not accepted'),
    refused: note('refused'),
    discarded: note('discarded'),
    damagedInStore: note('damagedInStore'),
    unbelieved: note('unbelieved'),
    delivered: note('delivered'),
    acked: note('acked'),
    ackedUnknown: note('ackedUnknown'),
    heldBack: note('heldBack'),
    passedOn: note('passedOn'),
    sessionOpened: note('sessionOpened'),
    sessionClosed: note('sessionClosed'),
    slowed: note('slowed'),
    sentAway: note('sentAway'),
    peerUp: note('peerUp'),
    peerDown: (site) => happened.push(`peerDown ${site}`),
    peerRefused: note('peerRefused'),
    turnedAway: note('turnedAway'),
    noticeLost: note('noticeLost'),
    topicKept: note('topicKept'),
    drained: note('drained'),
    owedNowhere: note('owedNowhere'),
    debtsDropped: note('debtsDropped'),
    outboxFull: note('outboxFull'),
    compared: ({ slices, listed, taken }) => happened.push(`compared ${slices} ${listed} ${taken}`),
    comparisonFailed: note('comparisonFailed'),
    verified: () => undefined,
    recovering: note('recovering'),
    readRepaired: note('readRepaired'),
    readRepairLeft: note('readRepairLeft'),
    burialsAsked: note('burialsAsked'),
    keptBack: note('keptBack'),
    caughtUp: (site) => happened.push(`caughtUp ${site}`),
    clockOff: note('clockOff'),
    clockRight: note('clockRight'),
    // How long it took differs from run to run.
    recoveredIn: () => happened.push('recovered'),
    failed: note('failed'),
  };
}
